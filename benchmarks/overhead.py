"""What bringup itself adds to a build: wall seconds of its steps against the seconds in which they waited for tools.

    python benchmarks/overhead.py --target build/h200-cu130-cp311 [--out benchmarks/results/overhead.json]

Reads the records that a real build leaves; nothing is built here. `tool_seconds` of a record are the wall seconds of
the commands that the step waited for (compilers, ninja, git, uv). Fetching is listed apart: what it takes is the
network's. Verification and unpacking are work of bringup's own, and counted as such.
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


def read_steps(target: Path) -> dict[str, tuple[float, float]]:
    """Return wall and tool seconds by step of the records that have both."""
    records = [json.loads(path.read_text()) for path in sorted((target / "records").glob("*.json"))]
    return {one["step"]: (one["seconds"], one["tool_seconds"]) for one in records if "tool_seconds" in one}


def figures(steps: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return sums and the share of our own, over the tools' times."""
    own = {name: pair for name, pair in steps.items() if not name.endswith(":fetch")}
    wall, tools = (sum(pair[index] for pair in own.values()) for index in (0, 1))
    building = [pair for name, pair in own.items() if name.endswith((":prepare", ":build", ":install"))]
    built, built_tools = (sum(pair[index] for pair in building) for index in (0, 1))
    return {
        "steps": {name: {"wall_s": wall_s, "tool_s": tool_s} for name, (wall_s, tool_s) in steps.items()},
        "wall_s": round(wall, 2),
        "tool_s": round(tools, 2),
        "overhead_percent": round(100 * (wall - tools) / tools, 2),
        "overhead_percent_without_patch_and_verify": round(100 * (built - built_tools) / built_tools, 2),
        "fetch_wall_s": round(sum(pair[0] for name, pair in steps.items() if name.endswith(":fetch")), 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, required=True, help="folder of a target in the build directory")
    parser.add_argument("--note", default="", help="what was built, and on what")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/overhead.json")
    given = parser.parse_args()
    steps = read_steps(given.target)
    if not steps:
        print(f"{given.target}: no records with the tools' seconds", file=sys.stderr)
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
