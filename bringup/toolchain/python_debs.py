"""Python from Debian's packages, unpacked without root."""

from __future__ import annotations

from pathlib import Path

from bringup.model.toolchain import PythonRelease
from bringup.system.fs import storage_errors
from bringup.system.host import require_glibc
from bringup.toolchain.assemble import assemble, merge
from bringup.toolchain.debs import remove_dangling, unpack_debs
from bringup.toolchain.elf_rpath import set_rpath
from bringup.toolchain.interpreter import Interpreter, PythonPlaces, python_debs, python_identity

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def unpacked_python(release: PythonRelease, places: PythonPlaces, *, headers: bool = True) -> Interpreter:
    """Return the interpreter of Debian's packages, unpacked if it is not there.

    Raises:
        TargetError: no mirror is known, or this machine's C library is too old for it.
        FetchError: a package is missing, gone or damaged.
        StorageError: disk full or no permission.
    """
    require_glibc(release.debs.glibc, f"Debian's Python {release.version}")
    identity = python_identity(release, headers=headers)
    program = f"usr/bin/python{release.version}"

    def make(made: Path, home: Path) -> None:
        del home
        unpack_debs(
            release.debs,
            python_debs(release, headers=headers),
            made,
            cache=places.cache,
            mirror=places.mirror,
            offline=places.offline,
            on_bytes=places.on_bytes,
        )
        with storage_errors(made, every=True):
            if (made / "lib/x86_64-linux-gnu").is_dir():
                merge(made / "lib/x86_64-linux-gnu", made / LIBRARIES)
            remove_dangling(made / "usr")
            _link_platform_headers(made, release.version)
        # The modules' libraries are found through the program's own path: no variable has to be set for it.
        set_rpath(made / program, "$ORIGIN/../lib/x86_64-linux-gnu")

    home = assemble(places.dest_root, f"python-{release.version}-debs", identity, make)
    version = next(package.version for package in release.debs.packages if package.name == f"python{release.version}")
    include = home / f"usr/include/python{release.version}"
    return Interpreter(
        provider="debs",
        version=version.partition("-")[0],
        executable=home / program,
        include=include if (include / "Python.h").is_file() else None,
        identity=identity,
    )


def _link_platform_headers(made: Path, version: str) -> None:
    """Make Debian's Python.h find its pyconfig.h: it includes it by a path that only /usr/include has searched."""
    headers = made / f"usr/include/python{version}"
    platform = made / "usr/include/x86_64-linux-gnu"
    if headers.is_dir() and platform.is_dir():
        (headers / platform.name).symlink_to(f"../{platform.name}")
