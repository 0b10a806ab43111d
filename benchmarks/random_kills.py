"""Builds with scripted compilers whose processes are killed at random: does the end result stay what it should be?

    python benchmarks/random_kills.py [--kills 1000] [--seed 1] [--out benchmarks/results/random-kills.json]

A ninja build under the job server and the launcher; every few hundredths of a second a random process of it gets
SIGKILL: ninja itself, a shell, a launcher, a compiler or a part of it. Each build is started six times, with kills, and
then ends undisturbed; all outputs are compared with those of a build without kills. After each start, once its
processes are gone, the job server must be whole within 2.5 s: all tokens there, no launcher in the table.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import _jobs
from _common import write_result

from bringup.system.jobtable import read_table

# Computes its output in steps, in a file of its own that is renamed in the end, as compilers' drivers do.
COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -o) out=$2; shift;; -*) ;; *) in=$1;; esac; shift; done
sh -c 'sleep 0.02; cksum <"$1" >"$2.part"' sh "$in" "$out" && sleep 0.01 && mv "$out.part" "$out"
"""


def write_build(folder: Path, compiler: Path, units: int) -> None:
    """Write sources and build file: every ten units are linked."""
    lines = [
        "rule c",
        f"  command = {compiler} -c $in -o $out",
        "rule l",
        "  command = cat $in >$out.part && mv $out.part $out",
    ]
    for number in range(units):
        (folder / f"u{number}.c").write_text(f"unit {number}\n")
        lines.append(f"build u{number}.o: c u{number}.c")
    for first in range(0, units, 10):
        lines.append(f"build lib{first}: l " + " ".join(f"u{number}.o" for number in range(first, first + 10)))
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")


def outputs(folder: Path) -> str:
    """Return a digest of everything that was made."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.o"), *folder.glob("lib*[0-9]")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def clear(folder: Path) -> None:
    """Remove what was made."""
    for path in [*folder.glob("*.o"), *folder.glob("lib*"), *folder.glob("*.part"), folder / ".ninja_log"]:
        path.unlink(missing_ok=True)


def below(pid: int) -> list[int]:
    """Return the process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in below(int(child)))]


class Run:
    """Builds again and again, killing."""

    def __init__(self, folder: Path, ninja: Path, budget: _jobs.Budget, seed: int) -> None:
        self.folder, self.ninja, self.budget = folder, ninja, budget
        self.rng = random.Random(seed)
        self.killed: dict[str, int] = {}
        self.slowest = 0.0

    def build(self, kills: int, pause: float = 0.03) -> tuple[int, int]:
        """Build once and kill up to so many; return the status and the kills."""
        env = self.budget.environment("kills", self.folder)
        argv = [str(self.ninja), "-k", "0"]
        running = subprocess.Popen(
            argv, cwd=self.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.budget.roots[:] = [running.pid]
        done = 0
        while running.poll() is None and done < kills:
            time.sleep(self.rng.uniform(0, pause))
            victims = below(running.pid)
            victim = self.rng.choice(victims) if victims else 0
            if victim:
                done += self.kill(victim)
        status = running.wait()
        self.settle(running.pid)
        return status, done

    def kill(self, pid: int) -> int:
        """Send SIGKILL; return 1 if there was such a process."""
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            os.kill(pid, signal.SIGKILL)
        except (OSError, ProcessLookupError):
            return 0
        self.killed[name] = self.killed.get(name, 0) + 1
        return 1

    def settle(self, session: int) -> None:
        """Wait for what a killed ninja left, then for the job server to be whole."""
        limit = time.monotonic() + 20
        while any(in_session(int(path.name), session) for path in Path("/proc").glob("[0-9]*")):
            if time.monotonic() > limit:
                raise SystemExit("processes of a killed build go on and on")
            time.sleep(0.01)
        started = time.monotonic()
        tokens = self.budget.server.makeflags.split()[0].removeprefix("-j")
        while self.budget.server.level() != int(tokens) - 1 or read_table(self.budget.server.table) != ([], 0):
            if time.monotonic() - started > 2.5:
                raise SystemExit(f"tokens: {self.budget.server.level()}, table: {read_table(self.budget.server.table)}")
            time.sleep(0.01)
        self.slowest = max(self.slowest, time.monotonic() - started)


def in_session(pid: int, session: int) -> bool:
    """Tell whether a process belongs to a session and is not just waiting to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[3]) == session and fields[0] not in "ZX"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=_jobs.ROOT / "benchmarks/results/random-kills.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "compiler").write_text(COMPILER)
        (folder / "compiler").chmod(0o755)
        _jobs.put_in_front(_jobs.launcher(folder), folder / "bin/gcc", folder / "compiler")
        ninja = _jobs.fetch_ninja(folder)
        write_build(folder, folder / "bin/gcc", options.units)
        # Memory for three of the units that are thought to take 150 MiB: some always wait, with their tokens put back.
        budget = _jobs.Budget(6, 500, folder=folder)
        run = Run(folder, ninja, budget, options.seed)
        if run.build(0)[0]:
            raise SystemExit("the undisturbed build failed")
        wanted = outputs(folder)
        total = builds = wrong = 0
        while total < options.kills:
            clear(folder)
            for _ in range(6):  # killed, started again, killed ...
                total += run.build(min(25, options.kills - total))[1]
                builds += 1
            if run.build(0)[0]:
                raise SystemExit("a build without kills failed after builds with kills")
            wrong += outputs(folder) != wanted
        budget.server.close()
    results = {
        "kills": total, "by_name": dict(sorted(run.killed.items())), "builds": builds, "results_wrong": wrong,
        "slowest_recovery_s": round(run.slowest, 2), "said": len(budget.said),
    }  # fmt: skip
    print(results)
    write_result("random-kills", {"ninja": _jobs.NINJA}, results, options.out)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
