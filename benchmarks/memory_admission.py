"""The same heavy nvcc units under a memory limit: how many compilers at a time, by which rule, and who is killed.

    python benchmarks/memory_admission.py --state BUILD/h200-cu130-cp311/work/flashinfer/build/<hash>
        --site SITE_PACKAGES [--limit-mib 3072] [--rules naive-j8,...] [--out benchmarks/results/memory-admission.json]

The units are of FlashInfer, as its build has left them: two of the Hopper prefill (fa3, 1.7 GB) and six smaller ones.
`--site` is a site-packages folder with apache-tvm-ffi. Every rule compiles all of them from nothing in a memory cgroup
of this size, where the kernel kills as it does in a container or a Slurm job. Rules:

    naive-j8       ninja -j8
    ninja-default  ninja, which takes the processors + 2
    memory/N       -j = limit / what the largest unit takes, at least 1: a number fixed before the start
    static-jN      ninja -jN, for the best N found by hand
    bringup        ninja under the job server, the launcher admits by memory; only the recipe's first guesses are known

After a kill ninja goes on with the other units (-k 0); `left` tells how many were not compiled in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import _jobs
from _common import write_result

from bringup.building.unit_history import read_guesses, read_units, write_guesses

UNITS = (
    ("*_sm90", "batch_prefill_sm90_jit_binding.cu"),
    ("*_sm90", "batch_prefill_sm90.cu"),
    ("*f16qk_False", "batch_prefill_jit_binding.cu"),
    ("*f16qk_False", "batch_prefill_paged_kernel_mask_0.cu"),
    ("*f16qk_False", "batch_prefill_paged_kernel_mask_1.cu"),
    ("*f16qk_False", "batch_prefill_ragged_kernel_mask_0.cu"),
    ("*f16qk_False", "batch_prefill.cu"),
    ("batch_decode*", "batch_decode_kernel.cu"),
)
LARGEST_MIB = 1700  # recipes/flashinfer.units.toml


def read_variables(text: str) -> dict[str, str]:
    """Return the variables at the top of a ninja file, with those of its own filled in."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"^(\w+) = (.*)$", text.replace("$\n", " "), re.MULTILINE):
        found[name] = re.sub(r"\$(\w+)", lambda match: found.get(match[1], match[0]), value)
    return found


def unit_lines(state: Path, site: Path, nvcc: str, out: Path) -> list[str]:
    """Return ninja lines that compile UNITS into `out` with the commands of FlashInfer's own build."""
    lines = []
    for number, (folder, source) in enumerate(UNITS):
        module = min((state / "modules").glob(folder))
        text = (module / "units.ninja").read_text()
        known = read_variables(text)
        path = next(
            match[1] for match in re.finditer(r"^build \S+: cuda_compile (\S+)$", text, re.MULTILINE)
            if match[1].endswith(f"/{source}")
        )  # fmt: skip
        flags = re.sub(r"\S+/site-packages/tvm_ffi/", f"{site}/tvm_ffi/", known["cuda_cflags"])
        flags = re.sub(r"-ccbin\s+\S+", "-ccbin g++", flags)
        lines += [
            f"rule r{number}",
            f"  command = {nvcc} {flags} -c $in -o $out",
            f"build {out}/{number}-{Path(source).stem}.o: r{number} {path}",
        ]
    return lines


class Sampler(threading.Thread):
    """The most resident memory of a cgroup, sampled ten times a second."""

    def __init__(self, group: Path) -> None:
        super().__init__(daemon=True)
        self.group, self.peak, self.over = group, 0, threading.Event()

    def run(self) -> None:
        """Sample until it is over."""
        while not self.over.wait(0.1):
            self.peak = max(self.peak, _jobs.resident_mib(self.group))


def run_rule(rule: str, folder: Path, lines: list[str], ninja: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compile all units once; return what came of it."""
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")
    argv = [str(ninja), "-C", str(folder), "-k", "0"]
    jobs = re.fullmatch(r"(?:naive|static)-j(\d+)", rule)
    if jobs:
        argv += [f"-j{jobs[1]}"]
    if rule == "memory/N":
        argv += [f"-j{max(1, options.limit_mib // LARGEST_MIB)}"]
    with _jobs.memory_cgroup(options.limit_mib) as group:
        env, budget = dict(os.environ), None
        if rule == "bringup":
            kernel = folder / "cgroup"
            kernel.write_text(f"0::/{group.name}\n")
            gauges = _jobs.this_machine(_jobs.Kernel(own=kernel, cgroups=group.parent)).gauges
            # What a build takes of its machine without --memory; the rest is for what no table knows of.
            budget = _jobs.Budget(
                _jobs.this_machine().cores, int(options.limit_mib * 0.9), folder=folder, gauges=gauges
            )
            guesses = read_guesses(_jobs.ROOT / "recipes", ["flashinfer"])
            write_guesses(budget.server.folder / "guesses", guesses)
            env = budget.environment("flashinfer", options.state.parent)
        sampler = Sampler(group)
        sampler.start()
        cpu, started = _jobs.cpu_seconds(), time.perf_counter()
        enter = f'echo $$ >{group}/cgroup.procs; exec "$@"'
        log = (folder / "log").open("w")
        running = subprocess.Popen(["sh", "-c", enter, "sh", *argv], env=env, stdout=log, stderr=log)
        if budget:
            budget.roots.append(running.pid)
        running.wait()
        wall = time.perf_counter() - started
        sampler.over.set()
        sampler.join()
        result = {
            "wall_s": round(wall, 1),
            "cpu_s": round(_jobs.cpu_seconds() - cpu, 1),
            "peak_mb": round(sampler.peak * 1.048576),
            "kills": _jobs.kills(group),
            "left": len(UNITS) - len(list((folder / "out").glob("*.o"))),
            "load_1min": round(os.getloadavg()[0], 1),
        }
        if budget:
            units = list(read_units(budget.records))
            result["compiled_again"] = sum(unit.attempt > 1 for unit in units)
            result["waited_s"] = round(sum(unit.wait for unit in units), 1)
            result["units"] = [[unit.name, unit.need_mib, unit.rss_kib >> 10, unit.wall] for unit in units]
            budget.server.close()
    return result


def nvcc_version(nvcc: Path) -> str:
    """Return "V13.0.88"."""
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"V[0-9.]+", said)
    return found[0] if found else said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--limit-mib", type=int, default=3072)
    parser.add_argument("--rules", default="bringup,memory/N,static-j2,naive-j8,ninja-default")
    parser.add_argument("--out", type=Path, default=_jobs.ROOT / "benchmarks/results/memory-admission.json")
    parser.add_argument("--add", action="store_true", help="keep what the result file has of other rules")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if options.add:
        results = json.loads(options.out.read_text())["results"]["rules"]
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        ninja = _jobs.fetch_ninja(base)
        known = read_variables(next(options.state.glob("modules/*/units.ninja")).read_text())
        real = Path(known["cuda_home"]) / "bin/nvcc"
        _jobs.put_in_front(_jobs.launcher(base), base / "bin" / "nvcc", real)
        for rule in options.rules.split(","):
            folder = base / re.sub(r"\W", "-", rule)
            (folder / "out").mkdir(parents=True)
            nvcc = base / "bin" / "nvcc" if rule == "bringup" else real
            lines = unit_lines(options.state, options.site, str(nvcc), folder / "out")
            results[rule] = run_rule(rule, folder, lines, ninja, options)
            print(f"{rule:<14}", {key: value for key, value in results[rule].items() if key != "units"}, flush=True)
            shutil.rmtree(folder)
            versions = {"ninja": _jobs.NINJA, "nvcc": nvcc_version(real), "gcc": _jobs.first_line(["g++", "--version"])}
            found = {"limit_mib": options.limit_mib, "rules": results}
            write_result("memory-admission", versions, found, options.out)


if __name__ == "__main__":
    main()
