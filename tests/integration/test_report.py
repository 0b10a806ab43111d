"""Report as the user starts it: a file, nothing private in it, nothing sent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOG = """$ ninja -C {home}/w
Capture cuda graph begin.
{home}/w/vec_dtypes.cuh:24:10: fatal error: cuda_fp8.h: No such file or directory
compilation terminated.
fetched from https://bob:hunter2hunter2@pkg.example.org/simple
"""


def report(tmp_path, *words):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (tmp_path / "failed.log").write_text(LOG.format(home=home))
    env = {**os.environ, "HOME": str(home), "SERVICE_TOKEN": "top-secret-value", "NCCL_DEBUG": "top-secret-value"}
    argv = [sys.executable, "-m", "bringup.cli", "report", "--gpu", "h200", "--stack", "kernels", *words]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_a_file_is_written_without_secrets(tmp_path):
    out = tmp_path / "issue.md"
    log = str(tmp_path / "failed.log")
    done = report(tmp_path, "--log", log, "--upstream", "flashinfer", "--output", str(out))
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "## Minimal reproduction" in text
    assert "~/w/vec_dtypes.cuh:24:10: fatal error: cuda_fp8.h" in text
    assert "flashinfer-jit-cuda-fp8-header-missing" in text
    for secret in ("hunter2hunter2", "top-secret-value", str(tmp_path / "home")):
        assert secret not in text


def test_without_a_log_it_describes_the_machine(tmp_path):
    done = report(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "## System" in done.stdout


def test_an_unknown_project_is_wrong_use(tmp_path):
    done = report(tmp_path, "--upstream", "vllm")
    assert done.returncode == 2
    assert "known are" in done.stderr


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="a GPU may be visible here")
def test_without_a_build_and_a_gpu_it_has_to_be_named(tmp_path):
    argv = [sys.executable, "-m", "bringup.cli", "report", "--build-dir", str(tmp_path / "none")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "report needs --gpu" in done.stderr
