"""Predicts how long a build.ninja takes on many cores, and how busy it keeps them, from known costs of its units.

    python benchmarks/simulate_build.py BUILD.NINJA UNITS.CSV --cores 64 [--speed 1.0]

UNITS.CSV has an object file and its CPU seconds in each line. The simulation does what ninja 1.11 does: of the
statements whose inputs are there, the one that stands first in the file starts first, and a pool's depth is kept.
Sources are generated before. What is in neither the file nor recipes/units counts as 3 s for an object, 1 s for an
archive or a command, 20 s for a library.
"""

from __future__ import annotations

import argparse
import heapq
import json
import re
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bringup.building.ninja_order import read_costs  # noqa: E402 - found through the line above

UNKNOWN = {".o": 3.0, ".a": 1.0, ".so": 20.0}


@dataclass(kw_only=True, slots=True)
class Edge:
    """One build statement: its first output, what it waits for, and what it costs."""

    name: str
    outputs: list[str]
    inputs: list[str]
    phony: bool
    pool: str = ""
    seconds: float = 0.0
    missing: int = 0
    after: list[int] = field(default_factory=list)


def read_ninja(path: Path) -> tuple[list[Edge], dict[str, int]]:
    """Return the statements of a build.ninja in their order, and the depths of its pools."""
    edges: list[Edge] = []
    pools: dict[str, int] = {}
    pool = ""
    for line in path.read_text().replace("$\n", " ").splitlines():
        if line.startswith("build "):
            left, _, right = line[6:].replace("$ ", "\0").replace("$:", "\1").partition(":")
            words = [word for word in right.split() if word not in ("|", "||")]
            outputs = [word for word in left.split() if word != "|"]
            edges.append(Edge(name=outputs[0], outputs=outputs, inputs=words[1:], phony=words[0] == "phony"))
        elif line.startswith("pool "):
            pool = line[5:].strip()
        elif line.startswith("  depth = ") and pool:
            pools[pool] = int(line[10:])
        elif line.startswith("  pool = ") and edges:
            edges[-1].pool = line[9:].strip()
    return edges, pools


def price(edges: list[Edge], units: Path) -> float:
    """Give every statement its seconds; return the sum of all objects'."""
    known = {}
    for line in units.read_text().splitlines():
        if not line.startswith("#"):
            name, seconds, *_ = line.split(",")
            known[name] = float(seconds)
    costs = read_costs(ROOT / "recipes/units/pytorch.toml").units
    patterns = [(name, seconds) for name, seconds, _ in costs if "*" in name]
    exact = {name: float(seconds) for name, seconds, _ in costs}
    total = 0.0
    for edge in edges:
        if edge.phony:
            continue
        guess = next((float(seconds) for name, seconds in patterns if fnmatchcase(edge.name, name)), None)
        suffix = re.search(r"\.(o|a|so)(?:\.[\d.]+)?$", edge.name)
        default = UNKNOWN[f".{suffix[1]}"] if suffix else 1.0
        edge.seconds = known.get(edge.name, exact.get(edge.name, guess if guess is not None else default))
        total += edge.seconds if edge.name.endswith(".o") else 0.0
    return total


def wanted_edges(edges: list[Edge], target: str) -> set[int]:
    """Return the statements that a target needs."""
    made = {name: number for number, edge in enumerate(edges) for name in edge.outputs}
    needed: set[int] = set()
    open_names = [target]
    while open_names:
        number = made.get(open_names.pop())
        if number is not None and number not in needed:
            needed.add(number)
            open_names += edges[number].inputs
    for number in needed:
        for before in {made[name] for name in edges[number].inputs if name in made}:
            edges[before].after.append(number)
            edges[number].missing += 1
    return needed


def simulate(edges: list[Edge], needed: set[int], pools: dict[str, int], cores: int) -> list[tuple[float, float, str]]:
    """Return start, end and name of every statement that runs."""
    ready = [number for number in needed if not edges[number].missing]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    used: dict[str, int] = {}
    held: list[int] = []
    now = 0.0
    log: list[tuple[float, float, str]] = []
    while ready or running:
        while ready and len(running) < cores:
            number = heapq.heappop(ready)
            edge = edges[number]
            if edge.phony:
                heapq.heappush(running, (now, number))
                continue
            if edge.pool in pools and used.get(edge.pool, 0) >= pools[edge.pool]:
                held.append(number)
                continue
            used[edge.pool] = used.get(edge.pool, 0) + 1
            heapq.heappush(running, (now + edge.seconds, number))
            log.append((now, now + edge.seconds, edge.name))
        if not running:
            break
        now, number = heapq.heappop(running)
        if not edges[number].phony:
            used[edges[number].pool] -= 1
        for after in edges[number].after:
            edges[after].missing -= 1
            if not edges[after].missing:
                heapq.heappush(ready, after)
        for one in held:
            heapq.heappush(ready, one)
        held.clear()
    return log


def main() -> int:
    """Print the prediction as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("ninja", type=Path)
    parser.add_argument("units", type=Path)
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--target", default="all")
    parser.add_argument("--depth", type=int, help="of every pool, instead of what the file says")
    args = parser.parse_args()
    edges, pools = read_ninja(args.ninja)
    cpu = price(edges, args.units)
    if args.depth:
        pools = dict.fromkeys(pools, args.depth)
    log = simulate(edges, wanted_edges(edges, args.target), pools, args.cores)
    objects = [one for one in log if one[2].endswith(".o")]
    end = max(one[1] for one in objects)
    first = sum(min(one[1], 60.0) - one[0] for one in objects if one[0] < 60)
    tail = [t for t in range(int(end)) if sum(one[0] <= t < one[1] for one in objects) < 0.9 * args.cores]
    late = [t for t in tail if t > end / 2]
    result = {
        "cores": args.cores,
        "objects": len(objects),
        "cpu_seconds": round(cpu),
        "compile_wall_s": round(end, 1),
        "whole_wall_s": round(max(one[1] for one in log), 1),
        "busy_share": round(sum(b - a for a, b, _ in objects) / (args.cores * end), 4),
        "busy_share_of_first_minute": round(first / (60 * args.cores), 4),
        "tail_s_below_90_percent": len(late),
        "last_units": [f"{b:.0f} {name.rsplit('/', 1)[-1]}" for a, b, name in sorted(objects, key=lambda o: -o[1])[:5]],
    }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
