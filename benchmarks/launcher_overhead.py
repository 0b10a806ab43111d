"""What the compiler launcher costs: ninja alone against ninja with launcher and job server, on short units.

    python benchmarks/launcher_overhead.py [--units 500] [--pairs 10] [--out benchmarks/results/launcher-overhead.json]

Each unit computes for 0.1 to 0.3 s of CPU time, as a small C file does. The units are divided into pairs of portions:
one with ninja alone, one with the launcher, in turns, so that what else the machine does hits both alike. Both use as
many jobs as there are processors. The CPU seconds hardly depend on other load; the wall seconds do.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
from pathlib import Path

import _jobs
from _common import write_result

COMPILER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
int main(int argc, char **argv) {
    const char *out = NULL, *in = NULL;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "-o")) out = argv[++i]; else if (argv[i][0] != '-') in = argv[i];
    double seconds = 0; FILE *f = fopen(in, "r");
    if (!f || fscanf(f, "%lf", &seconds) != 1) return 2;
    struct timespec t; volatile unsigned long x = 1;
    do {
        for (int i = 0; i < 20000; i++) x = x * 6364136223846793005UL + 1;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    } while ((double)t.tv_sec + (double)t.tv_nsec / 1e9 < seconds);
    f = fopen(out, "w"); return f ? fclose(f) : 3;
}
"""


def prepare(folder: Path, compiler: Path, launcher: Path, units: int) -> None:
    """Write sources and the two build files."""
    rng = random.Random(1)
    _jobs.put_in_front(launcher, folder / "bin" / "gcc", compiler)
    for number in range(units):
        (folder / f"u{number}.c").write_text(f"{rng.uniform(0.1, 0.3):.4f}\n")
    for name, program in (("bare", compiler), ("launched", folder / "bin" / "gcc")):
        lines = ["rule c", f"  command = {program} -c $in -o $out"]
        lines += [f"build {name}/u{number}.o: c u{number}.c" for number in range(units)]
        (folder / f"{name}.ninja").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=_jobs.ROOT / "benchmarks/results/launcher-overhead.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiler = folder / "compiler"
        (folder / "compiler.c").write_text(COMPILER)
        subprocess.run(["cc", "-O2", "-o", compiler, folder / "compiler.c"], check=True)
        ninja = _jobs.fetch_ninja(folder)
        prepare(folder, compiler, _jobs.launcher(folder), options.units)
        results = measure(folder, ninja, options)
    print("         wall s    CPU s")
    for kind in ("bare", "launched"):
        print(f"{kind:<9}{results[kind]['wall_s']:7.1f}  {results[kind]['cpu_s']:7.1f}")
    print(f"ratio    {results['wall_ratio']:7.3f}  {results['cpu_ratio']:7.3f}")
    print(f"median of the pairs' ratios: {results['median_pair']:.3f}")
    write_result("launcher-overhead", {"ninja": _jobs.NINJA}, results, options.out)


def measure(folder: Path, ninja: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run the portions in turns."""
    jobs = _jobs.this_machine().cores
    budget = _jobs.Budget(jobs, 1 << 20, folder=folder)
    sums: dict[str, dict[str, float]] = {kind: {"wall_s": 0.0, "cpu_s": 0.0} for kind in ("bare", "launched")}
    pairs = []
    size = options.units // options.pairs
    for pair in range(options.pairs):
        walls = {}
        for kind in ("bare", "launched") if pair % 2 == 0 else ("launched", "bare"):
            targets = [f"{kind}/u{number}.o" for number in range(pair * size, (pair + 1) * size)]
            argv = [str(ninja), "-f", f"{kind}.ninja", *([f"-j{jobs}"] if kind == "bare" else []), *targets]
            env = budget.environment("bench", folder) if kind == "launched" else None
            cpu, started = _jobs.cpu_seconds(), time.perf_counter()
            running = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.DEVNULL)
            budget.roots[:] = [running.pid] if kind == "launched" else []
            if running.wait():
                raise SystemExit(f"{kind} failed")
            walls[kind] = time.perf_counter() - started
            sums[kind]["wall_s"] += walls[kind]
            sums[kind]["cpu_s"] += _jobs.cpu_seconds() - cpu
        pairs.append(walls["launched"] / walls["bare"])
    budget.server.close()
    return {
        **{kind: {name: round(value, 2) for name, value in one.items()} for kind, one in sums.items()},
        "units": size * options.pairs,
        "jobs": jobs,
        "wall_ratio": round(sums["launched"]["wall_s"] / sums["bare"]["wall_s"], 4),
        "cpu_ratio": round(sums["launched"]["cpu_s"] / sums["bare"]["cpu_s"], 4),
        "median_pair": round(sorted(pairs)[len(pairs) // 2], 4),
    }


if __name__ == "__main__":
    main()
