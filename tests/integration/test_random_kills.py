"""A few dozen random kills with a real ninja; benchmarks/random_kills.py does a thousand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.network


def test_builds_whose_processes_are_killed_end_with_the_same_files(tmp_path):
    out = tmp_path / "result.json"
    argv = [sys.executable, ROOT / "benchmarks/random_kills.py", "--kills", "40", "--units", "30", "--out", out]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())["results"]
    assert results["kills"] == 40
    assert results["results_wrong"] == 0
    assert {"ninja", "gcc"} <= set(results["by_name"]), "launchers are called as the compiler they stand before"
