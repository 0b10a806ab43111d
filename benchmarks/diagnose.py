"""Seconds and peak memory of `diagnose` on a log of 100 MB whose one error is at its end.

    python benchmarks/diagnose.py [--megabytes 100] [--runs 3] [--out benchmarks/results/diagnose.json]

The log is that of a build with ninja: compile commands with -Werror and files that have "error" in their names, some
warnings, some feature checks that failed. Each run is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "/w/pytorch/aten/src/ATen/native"
MEASURE = """
import json, resource, sys, time
from bringup.diagnose import diagnose_paths
wall, cpu = time.perf_counter(), time.process_time()
answer = diagnose_paths([sys.argv[1]])[0]
print(json.dumps({
    "seconds": round(time.perf_counter() - wall, 2),
    "cpu_seconds": round(time.process_time() - cpu, 2),
    "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    "lines": answer.lines,
    "root_line_no": answer.findings[0].line_no,
    "id": answer.findings[0].id,
}))
"""


def write_log(path: Path, size: int) -> None:
    """Write a log of about `size` bytes."""
    flags = "-O3 -Wall -Wextra -Werror=return-type -Wno-error=unused-result -std=gnu++17"
    with path.open("w", encoding="utf-8") as out:
        number = written = 0
        while written < size:
            number += 1
            file = f"{SOURCE}/f{number}_error.cpp"
            rows = [
                f"[{number % 9000}/9001] /usr/bin/c++ -DERROR_CHECK -I{SOURCE} {flags} -o f{number}_error.o -c {file}"
            ]
            if number % 40 == 0:
                rows += [
                    f"{file}:{number % 700}:12: warning: unused variable 'error' [-Wunused-variable]",
                    "   12 | int error;",
                ]
            if number % 97 == 0:
                rows.append(f"-- Performing Test HAS_FLAG_{number} - Failed")
            written += out.write("\n".join(rows) + "\n")
        out.write("FAILED: attention.o\n/w/a.cuh:21:10: fatal error: cuda_fp8.h: No such file or directory\n")
        out.write("ninja: build stopped: subcommand failed.\n")


def measure(path: Path) -> dict[str, object]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], env=env, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "diagnose.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "build.log")
        write_log(path, args.megabytes * 1_000_000)
        runs = [measure(path) for _ in range(args.runs)]
        size = path.stat().st_size
    document = {
        "schema": 1,
        "name": "diagnose",
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "machine": {"cores": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 1), "system": platform.platform()},
        "versions": {"python": platform.python_version()},
        "command": f"python benchmarks/diagnose.py --megabytes {args.megabytes} --runs {args.runs}",
        "results": {
            "bytes": size,
            "median_seconds": statistics.median(run["seconds"] for run in runs),
            "median_cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
            "peak_mib": max(run["peak_mib"] for run in runs),
            "runs": runs,
        },
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document["results"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
