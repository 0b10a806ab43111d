"""What a build of PyTorch from source cost, from the files that tests/gpu/pytorch_from_source.sh leaves.

    python benchmarks/pytorch_from_source.py OUT [--json benchmarks/results/pytorch-from-source.json]

Compilers' CPU seconds, memory and times come from the product's own launcher (units.jsonl), memory of the whole node
from progress.tsv. Share of cores busy = compilers' CPU seconds / (cores x seconds from the first compile to the last),
where pauses between attempts do not count: a pause is a gap in which no compiler ran for longer than a minute.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bringup.building.ninja_order import read_costs  # noqa: E402 - found through the line above
from bringup.building.unit_history import Unit, read_units  # noqa: E402

PAUSE_SECONDS = 60.0
WORST = 10


def spans(units: Sequence[Unit]) -> list[tuple[float, float]]:
    """Return from when to when compilers ran, without the pauses."""
    found: list[tuple[float, float]] = []
    for one in sorted(units, key=lambda unit: unit.start):
        end = one.start + one.wall
        if found and one.start - found[-1][1] <= PAUSE_SECONDS:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((one.start, end))
    return found


def costs(units: Sequence[Unit], cores: int) -> dict[str, Any]:
    """Return the figures of one package's units; those that were ended and compiled again count with what both took."""
    compiled = [one for one in units if one.lang != "link"]
    links = [one for one in units if one.lang == "link"]
    done = [one for one in compiled if one.exit == 0]
    whole = {one.key: one for one in done}
    wall = sum(end - start for start, end in spans(compiled))
    cpu = sum(one.cpu for one in compiled)
    by_cost = sorted(whole.values(), key=lambda one: -one.cpu)[:WORST]
    by_memory = sorted(whole.values(), key=lambda one: -one.rss_kib)[:WORST]
    return {
        "units": len(whole),
        "compiled_again": len(done) - len(whole),
        "ended_unfinished": len(compiled) - len(done),
        "compile_cpu_s": round(cpu, 1),
        "compile_wall_s": round(wall, 1),
        "attempts": len(spans(compiled)),
        "cores": cores,
        "busy_share": round(cpu / (cores * wall), 4) if wall else 0.0,
        "waited_s": round(sum(one.wait for one in units), 1),
        "link_cpu_s": round(sum(one.cpu for one in links), 1),
        "links": len(links),
        "longest_units": [{"unit": one.name, "cpu_s": round(one.cpu, 1)} for one in by_cost],
        "largest_units": [{"unit": one.name, "peak_mib": one.rss_kib >> 10} for one in by_memory],
    }


def against_recorded(units: Sequence[Unit]) -> dict[str, float]:
    """Return how many of the units have a recorded cost (recipes/units), and the median of seconds now over then."""
    table = read_costs(ROOT / "recipes/units/pytorch.toml").units
    known = {name: seconds for name, seconds, _ in table}
    ratios = [
        one.cpu / known[name]
        for one in units
        if one.exit == 0 and (name := one.key.rpartition("|")[2].removeprefix("source/build/")) in known
    ]
    return {"units": len(ratios), "median_ratio": round(statistics.median(ratios), 3)} if ratios else {}


def node(progress: Path) -> dict[str, Any]:
    """Return what the samples tell of the whole node: its memory, and seconds by stage."""
    rows = [line.split("\t") for line in progress.read_text().splitlines()] if progress.exists() else []
    rows = [row for row in rows if len(row) >= 7 and row[2].isdigit()]
    stages: dict[str, float] = {}
    for before, row in itertools.pairwise(rows):
        step = float(row[0]) - float(before[0])
        if step < PAUSE_SECONDS:
            stages[before[6]] = stages.get(before[6], 0.0) + step
    peak = max((int(row[2]) for row in rows), default=0)
    return {"peak_memory_mib": peak >> 10, "stage_s": {name: round(value) for name, value in stages.items()}}


def read(path: Path) -> Any:
    """Return a JSON document without what makes it long; {} if it is not there."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text())
    if path.name == "operators.json":
        document["cases"] = [case for case in document["cases"] if case["status"] == "FAIL"]
    return document


def tool_version(out: Path, name: str) -> str:
    """Return the version that the record of a tool's step begins with: "nvcc 12.4.131 (debs)"; "" without one."""
    found = re.match(r"\w+ ([\d.]+)", read(out / "records" / f"{name}.prepare.json").get("note", ""))
    return found[1] if found else ""


def collect(out: Path) -> dict[str, Any]:
    """Return the whole result of one node's files.

    Raises:
        FileNotFoundError: there is no units.jsonl or machine.txt among them.
    """
    lines = (out / "machine.txt").read_text().splitlines()
    cores = int(lines[0])
    units = list(read_units(out / "units.jsonl"))
    if not units:
        raise FileNotFoundError(out / "units.jsonl")
    packages = sorted({unit.package for unit in units} - {"pytorch"})
    named = dict(line.split("=", 1) for line in lines if "=" in line and " " not in line.split("=", 1)[0])
    wheels = [line.split() for line in (out / "wheels.txt").read_text().splitlines()]
    last = max(unit.start + unit.wall for unit in units)
    facts = read(out / "facts.json")
    return {
        "schema": 1,
        "name": "pytorch-from-source",
        "date": dt.datetime.fromtimestamp(last, tz=dt.UTC).date().isoformat(),
        "command": (out / "command.txt").read_text().strip(),
        "machine": {
            "cores": cores,
            "cpu": next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""),
            "os": named.get("PRETTY_NAME", "").strip('"'),
            "gpu": lines[-1],
        },
        "versions": {
            "torch": facts.get("torch", ""),
            "cuda": tool_version(out, "cuda"),
            "gcc": tool_version(out, "gcc"),
        },
        "results": {
            **costs([unit for unit in units if unit.package == "pytorch"], cores),
            "against_recorded": against_recorded([unit for unit in units if unit.package == "pytorch"]),
            "others": {name: costs([unit for unit in units if unit.package == name], cores) for name in packages},
            **node(out / "progress.tsv"),
            "wheels": {Path(row[8]).name: int(row[4]) for row in wheels if len(row) > 8},
            "attempts_exit": [line.split("\t") for line in (out / "attempts.tsv").read_text().splitlines()],
            "operators": read(out / "operators.json"),
            "facts": facts,
            "all_reduce": read(out / "all_reduce.json"),
            "verification": {level["level"]: level["status"] for level in read(out / "verify.json").get("levels", [])},
        },
    }


def main() -> int:
    """Print the figures, and write them where --json says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--note", action="append", default=[], help="what a reader has to know; may be repeated")
    args = parser.parse_args()
    document = collect(args.out)
    document["results"]["notes"] = args.note
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    short = {key: value for key, value in document["results"].items() if isinstance(value, (int, float))}
    print(json.dumps(short, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
