"""Two independent packages: one after the other, both at once without coordination, and both under one job budget.

    python benchmarks/packages_parallel.py [--rounds 3] [--out benchmarks/results/packages-parallel.json]

Each package is a ninja build of real C++ units; the first ends with a long one (as a build with one giant does), the
second has many short ones. Sequential leaves processors idle at the first one's end; without coordination there are
twice as many compilers as processors, and twice the memory. The rounds take turns.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import _jobs
from _common import write_result

HEADERS = "#include <regex>\n#include <map>\n#include <string>\n"
SMALL = 'bool f{n}(const std::string &s) {{ return std::regex_match(s, std::regex("a{n}*")); }}\n'
PART = "template class std::map<std::pair<std::string, char[{n}+1]> *, std::regex>;\n"
LONG = 30  # explicit instantiations in the long unit


def write_package(folder: Path, compiler: Path, *, small: int, long: bool) -> None:
    """Write sources and build file."""
    folder.mkdir(parents=True)
    names = []
    if long:
        (folder / "long.cc").write_text(HEADERS + "".join(PART.format(n=n) for n in range(LONG)))
        names.append("long")
    for number in range(small):
        (folder / f"s{number}.cc").write_text(HEADERS + SMALL.format(n=number))
        names.append(f"s{number}")
    lines = ["rule c", f"  command = {compiler} -O1 -c $in -o $out", *[f"build {n}.o: c {n}.cc" for n in names]]
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")


def run_kind(kind: str, base: Path, ninja: Path, launcher: Path) -> dict[str, Any]:
    """Build both packages in one of the three ways."""
    folder = base / kind
    compiler = Path("g++")
    budget = None
    if kind == "bringup":
        compiler = folder / "bin" / "g++"
        _jobs.put_in_front(launcher, compiler, Path(shutil.which("g++") or "g++"))
        budget = _jobs.Budget(_jobs.this_machine().cores, _jobs.this_machine().memory_bytes >> 20, folder=folder)
    write_package(folder / "one", compiler, small=3, long=True)
    write_package(folder / "two", compiler, small=8, long=False)
    roots = budget.roots if budget else []
    cpu, started = _jobs.cpu_seconds(), time.perf_counter()
    with _jobs.Watch(roots) as watch:
        running = []
        for name in ("one", "two"):
            env = budget.environment(name, folder / name) if budget else None
            argv = [str(ninja), *([] if budget else [f"-j{_jobs.this_machine().cores}"])]
            running.append(subprocess.Popen(argv, cwd=folder / name, env=env, stdout=subprocess.DEVNULL))
            roots.append(running[-1].pid)
            if kind == "sequential":
                running[-1].wait()
        failed = [one.wait() for one in running]
    wall = time.perf_counter() - started
    if budget:
        budget.server.close()
    if any(failed):
        raise SystemExit(f"{kind} failed")
    shutil.rmtree(folder)
    return {"wall_s": round(wall, 2), "cpu_s": round(_jobs.cpu_seconds() - cpu, 2), "peak_mb": watch.peak_kib // 977}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=_jobs.ROOT / "benchmarks/results/packages-parallel.json")
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ("sequential", "uncoordinated", "bringup")}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        ninja, launcher = _jobs.fetch_ninja(base), _jobs.launcher(base)
        for _ in range(options.rounds):
            for kind, found in rounds.items():
                found.append(run_kind(kind, base, ninja, launcher))
                print(f"{kind:<14}", found[-1], flush=True)
    medians = {
        kind: {key: sorted(one[key] for one in found)[len(found) // 2] for key in found[0]}
        for kind, found in rounds.items()
    }
    first = medians["sequential"]["wall_s"]
    for kind, median in medians.items():
        median["ratio"] = round(median["wall_s"] / first, 3)
        print(f"{kind:<14} {median['wall_s']:7.1f} s  {median['ratio']:.2f}  {median['peak_mb']:6} MB")
    versions = {"ninja": _jobs.NINJA, "gcc": _jobs.first_line(["g++", "--version"])}
    write_result("packages-parallel", versions, {"medians": medians, "rounds": rounds}, options.out)


if __name__ == "__main__":
    main()
