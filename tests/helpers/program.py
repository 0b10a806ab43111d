"""The program as a process of its own, on a small data folder and a toolkit made of shell scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bringup.toolchain.cuda_system import COMPILERS
from helpers.data_root import ROOT


def script(path: Path, body: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_toolkit(root: Path, version: str = "13.0.88", header: int = 13000) -> Path:
    """Make a folder that passes for an installed CUDA toolkit: its compilers only say their version."""
    for name in COMPILERS:
        script(root / name, f"echo 'Cuda compilation tools, release x, V{version}'")
    (root / "include").mkdir()
    (root / "include/cuda.h").write_text(f"#define CUDA_VERSION {header}\n")
    (root / "lib64").mkdir()
    (root / "lib64/libcudart.so").write_text("")
    return root


@dataclass(kw_only=True)
class Done:
    """Exit status and output of a finished run."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(kw_only=True)
class Program:
    """Runs tasks with folders of their own below `folder`."""

    folder: Path
    data: Path
    build_dir: Path
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path, data: Path) -> Program:
        cuda = folder / "cuda"
        if not cuda.exists():
            fake_toolkit(cuda)
        kept = ("PATH", "HOME", "USER", "TMPDIR", "LANG")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        # No package index: these packages need none, and a test must not depend on one.
        env |= {
            "BRINGUP_CACHE": str(folder / "cache"), "BRINGUP_CONFIG": "/nonexistent", "CUDA_HOME": str(cuda),
            "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_CACHE_DIR": str(folder / "uv"), "UV_HTTP_RETRIES": "0",
        }  # fmt: skip
        return cls(folder=folder, data=data, build_dir=folder / "build", env=env)

    def start(self, task: str, *flags: str, target: tuple[str, ...] = ("--gpu", "h200")) -> subprocess.Popen[str]:
        """Start a task that takes a target and return its process."""
        place = ("--data", str(self.data), "--build-dir", str(self.build_dir))
        return self.popen(task, *target, *place, *flags)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start the program with these words alone."""
        return subprocess.Popen(
            [sys.executable, "-m", "bringup.cli", *words],
            cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, task: str, *flags: str, code: int = 0, target: tuple[str, ...] = ("--gpu", "h200")) -> Done:
        """Run a task to its end; check its exit status and that nobody sees a traceback."""
        return finish(self.start(task, *flags, target=target), code)

    def plan(self) -> dict[str, tuple[str, str]]:
        """Return decision and reason by step id, in the order of the plan."""
        document = json.loads(self.run("plan", "--json").out)
        return {f"{one['package']}:{one['phase']}": (one["decision"], one["why"]) for one in document["steps"]}

    def python(self, code: str) -> str:
        """Run Python code in the environment that was built."""
        (env,) = self.build_dir.glob("*/env")
        done = subprocess.run([env / "bin/python", "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()


def finish(process: subprocess.Popen[str], code: int, timeout: float = 60) -> Done:
    """Wait for a process; check exit status and that there is no traceback."""
    out, err = process.communicate(timeout=timeout)
    done = Done(code=process.returncode, out=out, err=err)
    assert done.code == code, f"exit status {done.code} and not {code}\n{done.text[-4000:]}"
    assert "Traceback (most recent call last)" not in done.text
    assert "a bug in bringup" not in done.text
    return done
