"""gcc from Debian's packages, for machines without a host compiler that CUDA accepts; no root."""

from __future__ import annotations

import shlex
from pathlib import Path

from bringup.errors import PrepareError
from bringup.model.toolchain import GccRelease
from bringup.system.apt_sources import DebianMirror
from bringup.system.download import OnBytes
from bringup.system.downloads import DownloadCache
from bringup.system.fs import storage_errors
from bringup.system.host import require_glibc
from bringup.toolchain.assemble import assemble
from bringup.toolchain.debs import remove_dangling, unpack_debs
from bringup.toolchain.elf_rpath import set_rpath
from bringup.toolchain.host_compiler import Gcc
from bringup.toolchain.links import BINUTILS, write_script
from bringup.toolchain.toolkit import GCC_OWN, gcc_identity

TRIPLE = "x86_64-linux-gnu"
HOST_LIBRARIES = "host-lib"


def provide_gcc(
    release: GccRelease,
    *,
    dest_root: Path,
    cache: DownloadCache,
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Gcc:
    """Return the compiler, unpacked if it is not there.

    It builds against the headers and libraries of its own tree (--sysroot), so that what it makes does not depend on
    the machine and runs from that tree's C library on.

    Raises:
        TargetError: no mirror is known, or this machine's C library is too old for it.
        FetchError: a package is missing, gone or damaged.
        PrepareError: what came out is not a compiler.
        StorageError: disk full or no permission.
    """
    require_glibc(release.debs.glibc, f"Debian's gcc-{release.version}")
    identity = gcc_identity(release)

    def make(made: Path, home: Path) -> None:
        unpack_debs(
            release.debs,
            release.debs.packages,
            made,
            cache=cache,
            mirror=mirror,
            offline=offline,
            on_bytes=on_bytes,
        )
        with storage_errors(made, every=True):
            remove_dangling(made)
            _own_libraries(made)
            _tools(made)
            _wrappers(made, home, release.version)

    home = assemble(dest_root, f"gcc-{release.version}-debs", identity, make)
    version = next(package.version for package in release.debs.packages if package.name == f"gcc-{release.version}")
    return Gcc(
        major=release.version,
        version=version.partition("-")[0],
        gcc=home / "bin/gcc",
        gxx=home / "bin/g++",
        identity=identity,
        tools=home / "usr/bin",
    )


def _own_libraries(made: Path) -> None:
    """Gather the libraries of the compiler's programs in one folder and give each program a path to it."""
    folder = made / HOST_LIBRARIES
    folder.mkdir()
    for place in (made / "usr/lib" / TRIPLE, made / "lib" / TRIPLE):
        for path in sorted(place.iterdir()):
            if path.name.startswith(GCC_OWN) and ".so." in path.name + "." and not (folder / path.name).exists():
                (folder / path.name).symlink_to(Path("..") / path.relative_to(made))
    for program in [*(made / "usr/bin").iterdir(), *(made / "usr/lib/gcc" / TRIPLE).glob("*/*")]:
        if program.is_file() and not program.is_symlink() and _is_program(program):
            up = "/".join(".." for _ in program.parent.relative_to(made).parts)
            set_rpath(program, f"$ORIGIN/{up}/{HOST_LIBRARIES}")


def _is_program(path: Path) -> bool:
    """Tell whether a file is a program that is linked dynamically (not an object, archive or script)."""
    with path.open("rb") as file:
        head = file.read(4096)
    return head[:4] == b"\x7fELF" and b"/ld-linux" in head


def _tools(made: Path) -> None:
    """Put the assembler and linker where gcc looks for those of its target before it looks at PATH."""
    folder = made / "usr" / TRIPLE / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*BINUTILS, "ld.bfd", "ld.gold"):
        if (made / "usr/bin" / f"{TRIPLE}-{name}").exists():
            (folder / name).symlink_to(f"../../bin/{TRIPLE}-{name}")


def _wrappers(made: Path, home: Path, major: int) -> None:
    (made / "bin").mkdir(exist_ok=True)
    for name in ("gcc", "g++"):
        driver = f"usr/bin/{TRIPLE}-{name}-{major}"
        if not (made / driver).is_file():
            msg = f"the packages of toolchains/gcc/{major}.toml hold no {driver}"
            raise PrepareError(msg)
        sysroot, program = shlex.quote(f"--sysroot={home}"), shlex.quote(str(home / driver))
        write_script(made / "bin" / name, f'exec {program} {sysroot} "$@"\n')
