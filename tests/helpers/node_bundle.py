"""A bundle of a few kilobytes with a real install.sh and real parts, and the PyTorch of a node as files."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bringup.bundling.parts import SUMS, write_parts
from bringup.bundling.script import install_script
from bringup.model.frozen import Frozen

FROZEN = Frozen(
    schema=1, target="h200-cu130-cp311", gpu="h200", stack="kernels", cuda="13.0", toolkit="wheels", variants={},
    full=False, python="cp311", nvcc="n", gcc="g", environment="e", with_toolkit=False, driver="580.65.06",
    glibc="2.28", machine=os.uname().machine, date="2026-11-21", version="0.1.0", title="NVIDIA H200", capability="9.0",
)  # fmt: skip
PYTHON = """#!/bin/sh
# Stands for the bundle's Python: $2 is setup_node.py, $3 the destination.
[ ! -e "$3/fail" ] || exit 1
[ ! -e "$3/full" ] || exit 14
[ ! -e "$3/slow" ] || sleep 30
mkdir "$3/bin" && echo installed > "$3/bin/bringup" && chmod +x "$3/bin/bringup"
"""
VERSION_PY = """from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']
__version__ = '{version}'
debug = False
cuda: Optional[str] = {cuda}
git_version = '70d99e998b4955e0049d13a98d77ae1b14db1f45'
hip: Optional[str] = None
"""


class Bundle:
    """A bundle in a folder, and the command that installs it."""

    def __init__(
        self, folder: Path, *, extra: str = "", frozen: Frozen = FROZEN, need: int = 1000, size: int = 8192
    ) -> None:
        tree = folder / "tree"
        program = tree / "build/toolchains/python-3.11-debs-0/usr/bin/python3.11"
        program.parent.mkdir(parents=True)
        program.write_text(PYTHON)
        program.chmod(0o755)
        (tree / "payload").write_bytes(os.urandom(20_000))
        files = [("build", tree / "build"), ("payload", tree / "payload")]
        if extra:
            (tree / extra).touch()
            files.append((extra, tree / extra))
        self.folder = folder / "h200.bundle"
        self.parts = write_parts(self.folder, files, size)
        self.script = self.folder / "install.sh"
        self.script.write_text(install_script(frozen, need, (self.folder / SUMS).read_bytes()))
        self.dest = folder / "node" / "h200"
        self.root = folder / "root"

    def command(self, *arguments: str | Path) -> list[str]:
        return ["/bin/sh", str(self.script), *(str(word) for word in arguments or (self.dest,))]

    def install(
        self, code: int, *arguments: str | Path, path: str = "/usr/bin:/bin", cwd: Path | None = None, **more: str
    ) -> str:
        env = {"PATH": path, "HOME": "/nonexistent", "BRINGUP_ROOT": str(self.root), **more}
        done = subprocess.run(
            self.command(*arguments), env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def driver(self, text: str) -> None:
        """Let the kernel module say something."""
        file = self.root / "proc/driver/nvidia/version"
        file.parent.mkdir(parents=True)
        file.write_text(text)


def program(folder: Path, name: str, text: str) -> str:
    """Write a script and return a PATH that begins with its folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}")
    (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def write_distribution(site: Path, name: str, version: str, files: dict[str, str], tag: str = "py3-none-any") -> Path:
    """Write an installed distribution with METADATA, WHEEL and RECORD; returns its dist-info."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    lines = []
    for path, text in files.items():
        file = site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(text.encode())}")
    (site / info / "RECORD").write_text("\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
    return site / info


def write_torch(
    site: Path, version: str = "2.11.0+cu130", cuda: str | None = "13.0", tag: str = "", libraries: Sequence[str] = ()
) -> Path:
    """Write a torch of a few files, and NVIDIA's distributions that it needs; returns torch's dist-info."""
    for name in libraries:
        write_distribution(site, name, "1.0", {f"nvidia/cu13/lib/lib{name}.so.1": name})
    files = {
        "torch/__init__.py": "from torch import version\n__version__ = version.__version__\n",
        "torch/version.py": VERSION_PY.format(version=version, cuda=repr(cuda)),
        "torch/lib/libtorch.so": "library",
    }
    return write_distribution(site, "torch", version.partition("+")[0], files, tag or "cp311-cp311-linux_x86_64")
