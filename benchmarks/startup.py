"""How long `list`, `plan` and a build with nothing to do take, and what of it is starting Python and importing.

    python benchmarks/startup.py [--runs 9] [--build-dir build] [--out benchmarks/results/startup.json]

Every run is a process of its own, through ./invokew where its .venv is there. The least of all runs counts: what others
do on the machine only ever adds. CPU seconds are given too, and ratios to the start of the same Python doing nothing,
which hold on other machines. The no-op is measured only if the build directory holds a finished target.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAUNCHED = (ROOT / ".venv/bin/python").exists()
TARGET = ("--gpu", "h200", "--stack", "kernels")
GROUPS = ("invoke", "msgspec", "packaging", "bringup")


def command(words: tuple[str, ...]) -> list[str]:
    """Return the program with these words; without a .venv this Python stands in for the launcher's."""
    if LAUNCHED:
        return [str(ROOT / "invokew"), *words]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bringup.cli import main; main()"
    return [sys.executable, "-I", "-c", code, *words]


def timed(argv: list[str], runs: int) -> dict[str, float]:
    """Return the least wall and CPU seconds of several runs."""
    walls, cpus = [], []
    for _ in range(runs):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"wall_s": round(min(walls), 3), "cpu_s": round(min(cpus), 3)}


def imports(words: tuple[str, ...]) -> dict[str, Any]:
    """Return how many modules a command imports and how many of each library, from `-X importtime`."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bringup.cli import main; main()"
    argv = [sys.executable, "-I", "-X", "importtime", "-c", code, *words]
    done = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    rows = [line for line in done.stderr.splitlines() if line.startswith("import time:") and "[us]" not in line]
    names = [row.split("|")[2].strip() for row in rows]
    own = {name: sum(one.partition(".")[0] == name for one in names) for name in GROUPS}
    return {"modules": len(names), **own}


def nothing_to_do(place: tuple[str, ...]) -> bool:
    """Return whether a build here would run no step: only then is it measured, and never begun."""
    argv = command(("plan", *TARGET, *place, "--json"))
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    return all(step["decision"] != "run" for step in json.loads(done.stdout)["steps"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/startup.json")
    given = parser.parse_args()
    place = ("--build-dir", str(given.build_dir.resolve()))
    cases = {"list gpus": ("list", "gpus"), "plan": ("plan", *TARGET, *place)}
    if nothing_to_do(place):
        cases["build with nothing to do"] = ("build", *TARGET, *place)
    nothing = timed([sys.executable, "-I", "-c", "pass"], given.runs)
    results: dict[str, Any] = {"python alone": nothing}
    results["import invoke"] = timed([sys.executable, "-I", "-c", "import invoke"], given.runs)
    for name, words in cases.items():
        figures = timed(command(words), given.runs)
        results[name] = {**figures, "times_python_alone": round(figures["cpu_s"] / nothing["cpu_s"], 1)}
        results[name]["imports"] = imports(words)
    document = {
        "schema": 1,
        "name": "startup",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "arch": platform.machine()},
        "versions": {"python": platform.python_version()},
        "command": f"python benchmarks/startup.py --runs {given.runs}",
        "results": {**results, "launcher": LAUNCHED, "note": given.note},
    }
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["results"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
