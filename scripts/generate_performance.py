"""Writes docs/performance.md from the raw results in benchmarks/results, so that no figure is typed in.

python scripts/generate_performance.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from performance_reuse import SECTIONS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/performance.md"


def read(name: str) -> dict[str, Any]:
    """Return one result document."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


def head(document: dict[str, Any], title: str) -> list[str]:
    """Return heading, machine and command of a result."""
    machine = ", ".join(f"{key} {value}" for key, value in document["machine"].items() if key != "note")
    return [f"## {title}", "", f"{document['date']}; {machine}.", "", f"    {document['command']}", ""]


def levels() -> list[str]:
    """Return the section on verification levels on an H200 node."""
    document = read("h200-levels")
    lines = head(document, "Verification on an H200 node")
    lines += ["| level | status | seconds | checks |", "|---|---|---|---|"]
    found = {level["level"]: level for level in document["results"]["levels"]}
    for name, level in found.items():
        lines.append(f"| {name} | {level['status']} | {level['seconds']:.1f} | {len(level['checks'])} |")
    lines += ["", f"The bundle was installed in {document['results']['install_s']} s.", ""]
    lines += [note + "\n" for note in document["results"]["notes"]]
    wanted = ("sglang.graph.decode-graphs", "sglang.graph.piecewise-graphs", "sglang.graph-equals-eager",
              "sglang.graph.tokens", "flashinfer.bandwidth", "torch.graph-equals-eager")  # fmt: skip
    checks = {check["id"]: check for level in found.values() for check in level["checks"]}
    lines += [f"- `{name}`: {checks[name]['why']}" for name in wanted if name in checks]
    lines += [f"- warning: {text}" for text in found["sglang"]["warnings"]]
    lines += ["", "SGLang with the small generated llama (4 layers, hidden 1024), decode with and without graphs:", ""]
    lines += ["| batch | ms a token, graphs | ms a token, eager | ratio |", "|---|---|---|---|"]
    for row in found["sglang"]["evidence"]["speed"]:
        cells = f"{row['graph_ms_per_token']:.2f} | {row['eager_ms_per_token']:.2f} | {row['speedup']:.1f}"
        lines.append(f"| {row['batch']} | {cells} |")
    graph = found["sglang"]["evidence"]["graph"]
    lines += [
        "",
        (
            "From process start to a ready engine with a new HOME and kernels built ahead: "
            f"{graph['ready_s']:.1f} s, to the first token {graph['first_token_s']:.1f} s."
        ),
        "",
    ]
    return lines


def main_job() -> list[str]:
    """Return the section on the whole main job, if it was measured."""
    document = read("build-kernels")
    lines = head(document, "The main job on two cores, from empty caches")
    lines += ["| step | seconds |", "|---|---|"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in document["results"]["steps"].items()]
    facts = document["results"]
    lines += [
        "",
        (
            f"In all {facts['total_s']:.0f} s; peak memory of the largest process {facts['peak_mib']:.0f} MiB; "
            f"second build {facts['no_op_s']:.1f} s. Steps run at the same time where nothing keeps them apart."
        ),
        "",
    ]
    return lines


def diagnose() -> list[str]:
    """Return the section on diagnose."""
    document = read("diagnose")
    lines = head(document, "diagnose on a large log")
    lines += ["| figure | value |", "|---|---|"]
    for name, value in document["results"].items():
        if isinstance(value, int | float):
            lines.append(f"| {name} | {value:.4g} |")
    return [*lines, ""]


def page() -> str:
    """Return the page."""
    lines = ["# Performance", "", "Made by scripts/generate_performance.py from benchmarks/results; do not edit.", ""]
    for name, section in (("h200-levels", levels), ("build-kernels", main_job), ("diagnose", diagnose)):
        if (RESULTS / f"{name}.json").is_file():
            lines += section()
    for name, (title, table) in SECTIONS.items():
        if (RESULTS / f"{name}.json").is_file():
            document = read(name)
            lines += [*head(document, title), *table(document["results"])]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write or compare the page and return the exit code."""
    text = page()
    if "--check" in sys.argv[1:]:
        same = PAGE.is_file() and PAGE.read_text() == text
        print("docs/performance.md is", "up to date" if same else "out of date: run scripts/generate_performance.py")
        return 0 if same else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
