"""Python interpreters of this machine, and those that uv has or can install."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import BringupError, TargetError
from bringup.system.environ import base_environment

# Run with -I, so that nothing of the user's gets in; -S would hide that we are inside a virtual environment.
QUESTION = """
import importlib.util, json, os, sys, sysconfig
library = os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
print(json.dumps({
    "version": ".".join(str(part) for part in sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "executable": os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable),
    "include": sysconfig.get_path("include", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}) or "",
    "library": library if sysconfig.get_config_var("Py_ENABLE_SHARED") and os.path.isfile(library) else "",
    "missing": " ".join(name for name in ("_ctypes", "zlib", "_hashlib") if importlib.util.find_spec(name) is None),
}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What an interpreter says about itself.

    Attributes:
        version: full version, "3.11.7".
        implementation: "cpython", "pypy".
        executable: the real program behind a virtual environment or a pyenv shim.
        include: folder of its headers, with or without Python.h in it.
        library: its shared library, "" if it is linked statically.
        missing: modules of the standard library that it was built without.
    """

    version: str
    implementation: str
    executable: str
    include: str
    library: str
    missing: str


def probe(executable: Path, env: Mapping[str, str]) -> Probe | None:
    """Ask an interpreter what it is; None if it does not run (a pyenv shim for a version that is not there)."""
    from bringup.system.process import run  # noqa: PLC0415 - what is known is not asked again

    try:
        done = run([executable, "-I", "-c", QUESTION], env=env, check=False, error=TargetError, timeout=30)
        answer = json.loads(done.output.strip().splitlines()[-1]) if done.returncode == 0 else None
        return Probe(**answer) if answer else None
    except (BringupError, ValueError, IndexError, TypeError):
        return None


def on_path(minor: str, search: str) -> Iterator[Path]:
    """Yield what may be Python of a version in the folders of a PATH: `python3.11` everywhere, then plain names."""
    folders = [Path(folder) for folder in search.split(":") if folder.startswith("/")]
    for name in (f"python{minor}", "python3", "python"):
        for folder in folders:
            path = folder / name
            if path.is_file():
                yield path


def uv_folder() -> Path:
    """Return the folder where uv keeps the interpreters that users install."""
    from bringup.system.process import run  # noqa: PLC0415
    from bringup.system.pypi import find_uv  # noqa: PLC0415

    done = run([find_uv(), "python", "dir"], env=base_environment(), error=TargetError, timeout=60)
    return Path(done.output.strip().splitlines()[-1])


def uv_python(version: str, folder: Path, *, install: bool) -> Path | None:
    """Return a Python that uv manages, installed below `folder` if asked for; None if it cannot be had.

    Args:
        version: "3.11" for whatever is there, "3.11.18" to install.
        folder: where uv puts interpreters that we ask for.
        install: download it if it is not there.
    """
    from bringup.system.process import run  # noqa: PLC0415 - mostly the PATH has one
    from bringup.system.pypi import find_uv  # noqa: PLC0415

    for managed in (None, folder):
        env = base_environment()
        if managed is not None:
            env |= {"UV_PYTHON_INSTALL_DIR": str(managed), "UV_HTTP_RETRIES": "1"}
            if install:
                command: list[str | Path] = [find_uv(), "python", "install", "--no-config", "--no-bin", version]
                run(command, env=env, check=False, error=TargetError, timeout=600)
        command = [find_uv(), "python", "find", "--no-config", "--managed-python", "--no-python-downloads", version]
        done = run(command, env=env, check=False, error=TargetError, timeout=60)
        found = Path(done.output.strip().splitlines()[-1]) if done.returncode == 0 and done.output.strip() else None
        if found is not None and found.is_file():
            return found
    return None
