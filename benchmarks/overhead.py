"""What bringup itself adds to a build: seconds of its steps that are neither a tool's, the network's nor unpacking.

    python benchmarks/overhead.py --target build/h200-cu130-cp311 [--out benchmarks/results/overhead.json]

Reads the records that a real build leaves; nothing is built here. `tool_seconds` of a record are the wall seconds of
the commands that the step waited for (compilers, ninja, git, uv), `download_seconds` those that it waited for downloads
of ours, `unpack_seconds` those of unpacking archives, which is Python's own zlib and lzma and stands for what unzip and
tar would take. All else is ours: patching, hashing, packing wheels, verification. The share of our own is told over the
tools alone and over all three.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


PARTS = ("tool_seconds", "download_seconds", "unpack_seconds")


def read_steps(target: Path) -> dict[str, dict[str, float]]:
    """Return wall seconds and their parts by step, of the records that have all."""
    records = [json.loads(path.read_text()) for path in sorted((target / "records").glob("*.json"))]
    keys = ("seconds", *PARTS)
    return {one["step"]: {key: one[key] for key in keys} for one in records if all(key in one for key in keys)}


def read_earlier(result: Path, known: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the steps of an earlier result that are not known, for a machine without room for a whole build.

    Only those that download and unpack nothing of ours are taken: to build, install or verify.
    """
    rows = json.loads(result.read_text())["results"]["steps"]
    return {
        name: {"seconds": row["wall_s"], "tool_seconds": row["tool_s"], "download_seconds": 0.0, "unpack_seconds": 0.0}
        for name, row in rows.items()
        if name not in known and "wall_s" in row and not name.endswith((":fetch", ":patch", "cuda:prepare"))
    }


def figures(steps: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return sums and the shares of our own."""
    wall, tools, network, unpacking = (sum(one[key] for one in steps.values()) for key in ("seconds", *PARTS))
    own = wall - tools - network - unpacking
    rows = {
        name: {**one, "own_seconds": round(one["seconds"] - sum(one[key] for key in PARTS), 2)}
        for name, one in steps.items()
    }
    return {
        "steps": rows,
        "wall_s": round(wall, 2),
        "tool_s": round(tools, 2),
        "download_s": round(network, 2),
        "unpack_s": round(unpacking, 2),
        "own_s": round(own, 2),
        "overhead_percent": round(100 * own / (tools + network + unpacking), 2),
        "overhead_percent_over_tools_alone": round(100 * (own + unpacking) / tools, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, required=True, help="folder of a target in the build directory")
    parser.add_argument("--note", default="", help="what was built, and on what")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/overhead.json")
    parser.add_argument("--earlier", type=Path, help="earlier result, for steps that the target has no records of")
    given = parser.parse_args()
    steps = read_steps(given.target)
    steps |= read_earlier(given.earlier, steps) if given.earlier else {}
    if not steps:
        print(f"{given.target}: no records with the seconds of tools, network and unpacking", file=sys.stderr)
        return 1
    document = {
        "schema": 1,
        "name": "overhead",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "arch": platform.machine()},
        "versions": {"python": platform.python_version()},
        "command": f"python benchmarks/overhead.py --target {Path(*given.target.parts[-2:])}",
        "results": {**figures(steps), "note": given.note},
    }
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["results"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
