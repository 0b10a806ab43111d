"""A stand-in nvcc that notes its starts; the real one is a shell script here."""

import subprocess
from pathlib import Path

import nvcc_watch
import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    toolkit = tmp_path / "tool kit"
    (toolkit / "bin").mkdir(parents=True)
    (toolkit / "include").mkdir()
    (toolkit / "bin/nvcc").write_text("#!/bin/sh\necho real $1\n")
    (toolkit / "bin/nvcc").chmod(0o755)
    (toolkit / "bin/ptxas").write_text("")
    return toolkit


def test_starts_are_noted_and_questions_for_the_version_are_not(home: Path, tmp_path: Path):
    env = {"CUDA_HOME": str(home), "PATH": "/usr/bin:/bin", "FLASHINFER_NVCC": str(home / "bin/nvcc")}
    watch = nvcc_watch.NvccWatch(tmp_path / "watch", env)
    assert "FLASHINFER_NVCC" not in env
    assert Path(env["CUDA_HOME"], "include").resolve() == home / "include"
    assert Path(env["CUDA_HOME"], "bin/ptxas").resolve() == home / "bin/ptxas"

    def nvcc(*words: str) -> str:
        return subprocess.run(["nvcc", *words], env=env, check=True, capture_output=True, text=True).stdout

    assert nvcc("--version") == "real --version\n"
    assert watch.starts() == []
    assert nvcc("-c", "x.cu") == "real -c\n"
    assert watch.starts() == ["-c x.cu"]


def test_without_a_toolkit_a_start_is_noted_too(tmp_path: Path):
    env: dict[str, str] = {"PATH": "/usr/bin:/bin"}
    watch = nvcc_watch.NvccWatch(tmp_path / "watch", env)
    assert subprocess.run(["nvcc", "x.cu"], env=env, check=False, capture_output=True).returncode != 0
    assert watch.starts() == ["x.cu"]
