"""`benchmarks/check` as a program; what it finds is tested in tests/unit/benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def check(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "benchmarks/check"), *map(str, words)]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


def test_the_exit_code_tells_what_was_found(tmp_path: Path) -> None:
    done = check(ROOT / "benchmarks/results/startup.json")
    assert (done.returncode, done.stdout) == (0, "startup.json: nothing contradicts its evidence\n")
    (tmp_path / "x.json").write_text("{}")
    assert check(tmp_path / "x.json").returncode == 9
    (tmp_path / "x.json").write_text("{")
    assert check(tmp_path / "x.json").returncode == 2
