"""The target's Python: the system's, uv's, or Debian's packages unpacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bringup.errors import FetchError, PrepareError, TargetError
from bringup.model.toolchain import PinnedDeb, PythonRelease
from bringup.system.apt_sources import DebianMirror
from bringup.system.download import OnBytes
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment
from bringup.system.fs import storage_errors
from bringup.system.host import distribution, require_glibc
from bringup.system.interpreters import Probe, on_path, probe, uv_python
from bringup.toolchain.assemble import assemble, identity_of, merge
from bringup.toolchain.debs import remove_dangling, unpack_debs
from bringup.toolchain.elf_rpath import set_rpath
from bringup.toolchain.facts import FactCache
from bringup.toolchain.toolkit import pins_identity

PythonProvider = Literal["system", "uv", "debs"]
# Counted up when the same packages are laid out in another way.
PYTHON_LAYOUT = "2"

LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python that virtual environments are made from.

    Attributes:
        provider: where it came from.
        version: full version, "3.11.7".
        executable: the program, never a shim or a virtual environment's link.
        include: folder that holds Python.h; None if the headers are not there.
        identity: hash of what it is, the same wherever it lies.
    """

    provider: PythonProvider
    version: str
    executable: Path
    include: Path | None
    identity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonPlaces:
    """Where interpreters are looked for, kept and fetched from.

    Attributes:
        dest_root: folder of assembled trees and of uv's interpreters.
        cache: downloads.
        facts: what is known about interpreters seen before.
        user_env: the user's environment, for PATH and pyenv.
        mirror: Debian mirror; that of the machine if None.
        offline: fetch nothing.
        on_bytes: told how many bytes have arrived.
    """

    dest_root: Path
    cache: DownloadCache
    facts: FactCache
    user_env: Mapping[str, str]
    mirror: DebianMirror | None = None
    offline: bool = False
    on_bytes: OnBytes | None = None


def provide_python(
    release: PythonRelease,
    places: PythonPlaces,
    *,
    providers: Sequence[PythonProvider] = ("system", "uv", "debs"),
    headers: bool = True,
) -> Interpreter:
    """Return the first interpreter that one of the providers has.

    Args:
        release: which Python.
        places: where to look.
        providers: ways to try, in this order.
        headers: Python.h must be there (Triton compiles against it at run time, extensions when they are built).

    Raises:
        TargetError: none can be had; the message says for each way why.
        StorageError: disk full or no permission.
    """
    refused = []
    for provider in providers:
        try:
            if provider == "debs":
                return unpacked_python(release, places, headers=headers)
            found = _system(release, places, headers) if provider == "system" else _uv(release, places, headers)
        except (TargetError, FetchError, PrepareError) as exc:
            found = exc.message
        if isinstance(found, Interpreter):
            return found
        refused.append(f"\n  {provider}: {found}")
    msg = f"no Python {release.version} for the target environment:{''.join(refused)}"
    apt = apt_command(release, release.version, distribution())
    unpack = "--debian-mirror URL, to unpack Debian's packages without root"
    ways = [*([apt] if apt else []), f"uv python install {release.version}", unpack]
    raise TargetError(msg, hint=f"one of: {'; '.join(ways)}")


def apt_command(release: PythonRelease, version: str, where: str) -> str:
    """Return what installs a Python with its headers by apt; "" where the distribution does not have it.

    Args:
        release: knows what the distributions have.
        version: minor version, "3.13".
        where: release of the distribution, from `bringup.system.host.distribution`.
    """
    if version not in release.packaged.get(where, ()):
        return ""
    return f"apt-get install python{version} python{version}-dev python{version}-venv"


def require_python(release: PythonRelease, asked: str) -> None:
    """Check a version that was asked for by name.

    Raises:
        TargetError: it is another one; the message says why there is only one.
    """
    if asked and asked != release.version and not asked.startswith(f"{release.version}."):
        msg = f"Python {asked} was asked for, but target environments are made of {release.version}: {release.why}"
        raise TargetError(msg, hint=f"leave the version out; the engine itself runs on {release.version} and newer")


def python_identity(release: PythonRelease, *, headers: bool = True) -> str:
    """Return the identity of the unpacked interpreter, from the pins alone."""
    return pins_identity("python", python_debs(release, headers=headers), *sorted(release.debs.drop), PYTHON_LAYOUT)


def python_debs(release: PythonRelease, *, headers: bool = True) -> list[PinnedDeb]:
    """Return the packages that the unpacked interpreter is made of."""
    groups = {"", "dev"} if headers else {""}
    return [package for package in release.debs.packages if package.group in groups]


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


def _system(release: PythonRelease, places: PythonPlaces, headers: bool) -> Interpreter | str:
    seen: list[str] = []
    for path in on_path(release.version, places.user_env.get("PATH", "/usr/local/bin:/usr/bin:/bin")):
        found = _examine(path, release, places, headers, "system")
        if isinstance(found, Interpreter):
            return found
        if found and found not in seen:
            seen.append(found)
    return "; ".join(seen) or "no python3 on PATH"


def _uv(release: PythonRelease, places: PythonPlaces, headers: bool) -> Interpreter | str:
    folder = places.dest_root / "uv-python"
    path = uv_python(release.version, folder, install=False)
    if path is None and not places.offline:
        path = uv_python(release.uv, folder, install=True)
    if path is None:
        way = "--offline forbids fetching one" if places.offline else f"its download site did not give {release.uv}"
        return f"uv manages no Python {release.version}, and {way}"
    return _examine(path, release, places, headers, "uv")


def _examine(
    path: Path, release: PythonRelease, places: PythonPlaces, headers: bool, provider: PythonProvider
) -> Interpreter | str:
    """Return the interpreter behind a path, or why it is none for the target."""
    env = base_environment(places.user_env)
    env["PATH"] = f"{places.user_env.get('PATH', '')}:{env['PATH']}"  # pyenv's shims start pyenv by its name

    def ask() -> tuple[dict[str, str], list[Path]]:
        answer = probe(path, env)
        if answer is None:
            return {"version": ""}, [path]
        real = [Path(answer.executable), *([Path(answer.library)] if answer.library else [])]
        parts = [places.facts.sha256(file) for file in real]
        return asdict(answer) | {"identity": identity_of("python", answer.version, *parts)}, [path, *real]

    known = places.facts.know(f"python {path}", ask)
    if not known["version"]:
        return f"{path} does not run"
    identity = known.pop("identity")
    answer = Probe(**known)
    if answer.implementation != "cpython" or not f"{answer.version}.".startswith(f"{release.version}."):
        return f"{path} is {answer.implementation} {answer.version}"
    if answer.missing:
        return f"{path} was built without {answer.missing}"
    include = Path(answer.include) if (Path(answer.include) / "Python.h").is_file() else None
    if headers and include is None:
        return f"{path} has no Python.h (Debian: python{release.version}-dev)"
    return Interpreter(
        provider=provider,
        version=answer.version,
        executable=Path(answer.executable),
        include=include,
        identity=identity,
    )
