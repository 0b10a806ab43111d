"""What `./invokew test --quick` costs: wall and processor seconds, and how busy the machine was with other work.

    python benchmarks/unit_tests.py [--runs 3] [--cores 2] [--out benchmarks/results/unit-tests.json]

Processor seconds are those of all that is started, as the kernel counts them. Other work on the machine adds to the
wall seconds, so what the processors did besides is counted too (`others_s`, with what the host took away). Two
processes that share a core take more seconds for the same tests as well: a loop of plain Python is timed before each
run, and what it takes on a quiet core (`--quiet-loop`, if known) tells by how much the machine was slower.
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


def busy_seconds() -> float:
    """Return the seconds that all processors have worked since the machine was started, stolen ones included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, fields)
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def measure() -> dict[str, Any]:
    """Run the tests once and return the figures."""
    loop = loop_seconds()
    before, busy = resource.getrusage(resource.RUSAGE_CHILDREN), busy_seconds()
    started = time.monotonic()
    argv = [sys.executable, "-m", "bringup.cli", "test", "--quick", "--args=-q"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    passed = re.findall(r"(\d+) passed", done.stdout)
    if done.returncode or not passed:
        sys.exit(done.stdout + done.stderr)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "tests": sum(map(int, passed)),
        "processes": len(passed),
        "wall_s": round(wall, 2),
        "user_s": round(user, 2),
        "sys_s": round(system, 2),
        "others_s": round(max(0.0, busy_seconds() - busy - user - system), 2),
        "loop_s": round(loop, 3),
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2, help="processors to use")
    parser.add_argument("--quiet-loop", type=float, default=0.0, help="seconds of the loop on a quiet core")
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/unit-tests.json")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
    runs = [measure() for _ in range(given.runs)]
    best = min(runs, key=lambda run: run["user_s"] + run["sys_s"])
    document = {
        "schema": 1,
        "name": "unit-tests",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.system(),
            "arch": platform.machine(),
            "note": given.note,
        },
        "versions": {"python": platform.python_version()},
        "command": f"python benchmarks/unit_tests.py --runs {given.runs} --cores {given.cores}",
        "results": {
            "runs": runs,
            "least_wall_s": min(run["wall_s"] for run in runs),
            "least_cpu_s": round(best["user_s"] + best["sys_s"], 2),
            "quiet_loop_s": given.quiet_loop,
        },
    }
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["results"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
