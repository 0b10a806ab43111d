"""Random kills: dozens of a real ninja, some of whole builds; the benchmarks random_kills and real_kills do more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NVCC = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda-13.0")) / "bin/nvcc"
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.network


@pytest.mark.compile
@pytest.mark.skipif(not NVCC.exists(), reason="needs an installed CUDA 13.0 toolkit")
def test_whole_builds_with_real_compilers_end_with_the_same_wheels(tmp_path):
    out = tmp_path / "result.json"
    argv = [sys.executable, ROOT / "benchmarks/real_kills.py", "--kills", "3", "--out", out]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())["results"]
    assert (results["kills"], results["results_wrong"]) == (3, 0)
    assert results["wheels"] == 4


def test_builds_whose_processes_are_killed_end_with_the_same_files(tmp_path):
    out = tmp_path / "result.json"
    argv = [sys.executable, ROOT / "benchmarks/random_kills.py", "--kills", "40", "--units", "30", "--out", out]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())["results"]
    assert results["kills"] == 40
    assert results["results_wrong"] == 0
    assert {"ninja", "gcc"} <= set(results["by_name"]), "launchers are called as the compiler they stand before"
