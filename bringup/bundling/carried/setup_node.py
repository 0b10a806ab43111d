"""Run by install.sh with the bundle's Python: makes the engine's environment, the target's, and bin/bringup last."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

LAUNCHER = """#!/bin/sh
# Runs bringup on the target installed in this folder.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
if [ "$root" != {root} ]; then
    echo "bringup: this installation was moved from" {root}"; install the bundle again" >&2
    exit 8
fi
BRINGUP_BUNDLE=$root BRINGUP_COMMAND=$0 exec "$root/engine/bin/python" -I -m bringup.cli "$@"
"""


def main(dest: Path) -> int:
    """Set up the node below `dest` and return the exit code."""
    wheels = dest / "engine-wheels"
    uv = unpack_uv(next(wheels.glob("uv-*.whl")), dest / "tools")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "PYTHON"))}
    env = {**clean, "UV_CACHE_DIR": str(dest / "cache/uv"), "UV_NO_INDEX": "1", "UV_PYTHON_DOWNLOADS": "never"}
    python = dest / "engine/bin/python"
    steps = [
        [uv, "venv", "--quiet", "--python", sys.executable, dest / "engine"],
        [uv, "pip", "install", "--quiet", "--offline", "--find-links", wheels, "--python", python, "bringup"],
    ]
    for argv in steps:
        if code := call([str(word) for word in argv], env, dest):
            return code
    install = [str(python), "-I", "-m", "bringup.bundling.install_node"]
    if code := call(install, {**clean, "BRINGUP_BUNDLE": str(dest)}, dest):
        return code
    sources = json.loads((dest / "bundle.json").read_text()).get("sources", False)
    for used_up in ("engine-wheels", "tools", *(() if sources else ("cache/uv", "cache/downloads", "wheels"))):
        shutil.rmtree(dest / used_up, ignore_errors=True)
    program = dest / "bin/bringup"
    program.parent.mkdir()
    fresh = program.with_name(".bringup.new")
    fresh.write_text(LAUNCHER.format(root=shlex.quote(str(dest))))
    fresh.chmod(0o755)
    fresh.rename(program)
    return 0


def call(argv: list[str], env: dict[str, str], cwd: Path) -> int:
    """Run a program to its end and return its status.

    A signal to the process group reaches it as well, and it ends its own children. Not waiting for that would leave
    them writing into a folder that install.sh removes meanwhile.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a function: an ignored signal would be ignored by the program too
    return subprocess.Popen(argv, env=env, cwd=cwd).wait()


def unpack_uv(wheel: Path, folder: Path) -> Path:
    """Take the program out of uv's wheel, which has no installer to run it yet."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as box:
        name = next(one for one in box.namelist() if one.endswith("/scripts/uv"))
        target = folder / "uv"
        target.write_bytes(box.read(name))
    target.chmod(0o755)
    return target


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
