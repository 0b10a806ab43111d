"""The target's Python: the system's, uv's, or that of `python_debs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bringup.errors import FetchError, PrepareError, TargetError
from bringup.model.toolchain import PythonRelease
from bringup.system.environ import base_environment
from bringup.system.interpreters import Probe, on_path, probe, uv_folder, uv_python
from bringup.toolchain.assemble import identity_of
from bringup.toolchain.interpreter import Interpreter, PythonPlaces, PythonProvider


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
                from bringup.toolchain.python_debs import unpacked_python  # noqa: PLC0415 - not needed to look

                return unpacked_python(release, places, headers=headers)
            found = _system(release, places, headers) if provider == "system" else _uv(release, places, headers)
        except (TargetError, FetchError, PrepareError) as exc:
            found = exc.message
        if isinstance(found, Interpreter):
            return found
        refused.append(f"\n  {provider}: {found}")
    msg = f"no Python {release.version} for the target environment:{''.join(refused)}"
    from bringup.system.host import distribution  # noqa: PLC0415

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

    def ask() -> tuple[dict[str, str], list[Path]]:
        found = uv_python(release.version, folder, install=False)
        # What is installed or removed later changes the folder's times.
        return {"path": str(found or "")}, [folder, uv_folder(), *([found] if found else [])]

    known = places.facts.know(f"uv's python {release.version} {folder}", ask)["path"]
    path = Path(known) if known else None
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
