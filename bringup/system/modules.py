"""Environment modules (Lmod, Environment Modules): what loading one would set, without loading it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from bringup.errors import BringupError
from bringup.system.environ import base_environment
from bringup.system.process import run

# Where distributions put the program behind the shell function `module`, after what the shell's set-up names.
PLACES = (
    "/usr/share/lmod/lmod/libexec/lmod",
    "/usr/lib/x86_64-linux-gnu/modulecmd.tcl",
    "/usr/libexec/modulecmd.tcl",
    "/usr/share/Modules/libexec/modulecmd.tcl",
    "/usr/share/modules/libexec/modulecmd.tcl",
)
SETTING = re.compile(r"os\.environ\[(['\"])(\w+)\1\]\s*=\s*(['\"])(.*?)\3")


def module_environment(module: str, user_env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that loading a module would set; {} if there are no modules or not this one.

    Args:
        module: its name, "cuda/12.4".
        user_env: the user's environment, with MODULEPATH.
    """
    if not user_env.get("MODULEPATH"):
        return {}
    command = _command(user_env)
    if command is None or not _listed(module, user_env["MODULEPATH"]):
        return {}
    env = base_environment() | {
        name: value
        for name, value in user_env.items()
        if name.startswith(("MODULE", "LMOD", "__MODULES", "LOADEDMODULES", "_LMFILES"))
    }
    try:
        done = run([*command, "python", "load", module], env=env, error=BringupError, check=False, timeout=20)
    except BringupError:
        return {}
    return {name: value for _, name, _, value in SETTING.findall(done.output)}


def _command(user_env: Mapping[str, str]) -> list[str] | None:
    for name in ("LMOD_CMD", "MODULES_CMD"):
        if Path(user_env.get(name, "")).is_file():
            return [user_env[name]]
    found = next((place for place in PLACES if Path(place).is_file()), None) or shutil.which("modulecmd")
    return None if found is None else [found]


def _listed(module: str, module_path: str) -> bool:
    """Tell cheaply whether a module file of that name is there, before a program is started for each guess."""
    folders = [Path(folder) for folder in module_path.split(":") if folder]
    return any((folder / name).is_file() for folder in folders for name in (module, f"{module}.lua"))
