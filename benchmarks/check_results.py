"""What benchmarks/check does: raw results in, figures that do not follow from their evidence out."""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from levels_evidence import level_findings

RESULTS = Path(__file__).resolve().parent / "results"
SHAPE = ("schema", "name", "date", "machine", "versions", "command", "results")


def findings(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong in one result file."""
    yield from (f"{key} is missing" for key in SHAPE if key not in document)
    results = document.get("results")
    if not isinstance(results, dict):
        yield "results is no table"
        return
    for level in results.get("levels", ()):
        yield from level_findings(level)
    if "levels" in results and not results["levels"]:
        yield "results.levels is empty"
    if isinstance(results.get("runs"), dict):
        yield from _runs(results)
    for fault in results.get("faults", ()):
        good = bool(fault.get("attempts")) and not fault["attempts"][-1]["problems"]
        if good != (fault.get("problems") == []):
            yield f"fault {fault.get('id')}: says {fault.get('problems')}, its last attempt says otherwise"


def _runs(results: Mapping[str, Any]) -> Iterator[str]:
    """Medians `<kind>_s` and `<kind>_<what>_s` over runs[kind], and ratios `<one>_over_<other>` of the former."""
    for kind, rows in results["runs"].items():
        for field, key in (("ready_s", f"{kind}_s"), ("first_token_s", f"{kind}_first_token_s"), ("s", f"{kind}_s")):
            values = [row[field] for row in rows if isinstance(row, dict) and field in row]
            if values and key in results:
                yield from _same(key, results[key], statistics.median(values))
        if f"{kind}_s" not in results:
            yield f"{kind}_s is missing"
    for key, said in results.items():
        one, over, other = key.partition("_over_")
        if over and f"{one}_s" in results and f"{other}_s" in results:
            yield from _same(key, said, results[f"{one}_s"] / results[f"{other}_s"])


def _same(key: str, said: float, computed: float) -> Iterator[str]:
    if not math.isclose(said, computed, rel_tol=1e-6):
        yield f"{key}: says {said:g}, the runs make it {computed:g}"


def collect(files: Sequence[Path], *, note: str, name: str, command: str) -> dict[str, Any]:
    """Return the result document for the verify.json of a node; of a level in several files the last one counts."""
    levels: dict[str, Any] = {}
    date = ""
    for path in files:
        known = json.loads(path.read_text("utf-8"))
        date = max(date, known["date"])
        levels |= {level["level"]: level for level in known["levels"]}
    order = [name for name in ("static", "import", "torch", "flashinfer", "sglang") if name in levels]
    last = next((levels[name]["evidence"] for name in reversed(order) if levels[name]["evidence"].get("gpus")), {})
    return {
        "schema": 1,
        "name": name,
        "date": date,
        "machine": {"gpus": last.get("gpus", []), "note": note},
        "versions": last.get("versions", {}),
        "command": command,
        "results": {"levels": [levels[name] for name in order]},
    }


def compact(document: Any) -> str:
    """Return JSON with a line for each entry, and each list of plain values on one line."""
    text = json.dumps(document, indent=1)
    return re.sub(r"\[[^\[\]{}\"]*\]", lambda plain: " ".join(plain[0].split()), text) + "\n"


def main(argv: Sequence[str]) -> int:
    """Check the files, or collect a node's verify.json into one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--write", type=Path, metavar="OUT", help="the files are verify.json of a node: collect them")
    parser.add_argument("--note", default="an H200 node without a network", help="with --write: what the machine was")
    parser.add_argument(
        "--command",
        default="sh h200.bundle/install.sh ~/h200; ~/h200/bin/bringup verify",
        help="with --write: what was run there (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    if options.write:
        document = collect(options.files, note=options.note, name=options.write.stem, command=options.command)
        options.write.write_text(compact(document), encoding="utf-8")
        options.files = [options.write]
    worst = 0
    for path in options.files or sorted(RESULTS.glob("*.json")):
        try:
            found = list(findings(json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"{path.name}: cannot be read: {error}")
            worst = 2
            continue
        print(f"{path.name}: {f'{len(found)} figures do not follow' if found else 'nothing contradicts its evidence'}")
        for line in found[:40]:
            print(f"  {line}")
        worst = max(worst, 9 if found and worst != 2 else worst)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
