"""What the unit tests cost: wall and processor seconds, and how busy the machine was with other work.

    python benchmarks/unit_tests.py [--runs 3] [--processes 2] [--out benchmarks/results/unit-tests.json]

Processor seconds are those of pytest and all that it starts, as the kernel counts them. Two processes that share a core
with other work take more of them for the same tests, so a loop of plain Python is timed before each run: what it takes
on a quiet core (`--quiet-loop`, if known) tells by how much the machine was slower.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def loop_seconds() -> float:
    """Return the processor seconds of a loop of plain Python."""
    started, total = time.process_time(), 0
    for number in range(6_000_000):
        total += number * number
    return time.process_time() - started


def measure(processes: int) -> dict[str, Any]:
    """Run the tests once and return the figures."""
    loop = loop_seconds()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, "-m", "pytest", "tests/unit", "-q", "-n", str(processes)]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    passed = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or not passed:
        sys.exit(done.stdout[-2000:])
    return {
        "tests": int(passed[1]),
        "wall_s": round(wall, 2),
        "user_s": round(after.ru_utime - before.ru_utime, 2),
        "sys_s": round(after.ru_stime - before.ru_stime, 2),
        "loop_s": round(loop, 3),
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quiet-loop", type=float, default=0.0, help="seconds of the loop on a quiet core")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/unit-tests.json")
    given = parser.parse_args()
    runs = [measure(given.processes) for _ in range(given.runs)]
    best = min(runs, key=lambda run: run["user_s"] + run["sys_s"])
    document = {
        "schema": 1,
        "name": "unit-tests",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "arch": platform.machine()},
        "versions": {"python": platform.python_version()},
        "command": f"python benchmarks/unit_tests.py --runs {given.runs} --processes {given.processes}",
        "results": {
            "runs": runs,
            "least_cpu_s": round(best["user_s"] + best["sys_s"], 2),
            "quiet_loop_s": given.quiet_loop,
        },
    }
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["results"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
