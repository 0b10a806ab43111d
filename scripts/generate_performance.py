"""Writes docs/performance.md and its chart from the raw results in benchmarks/results, so that no figure is typed in.

python scripts/generate_performance.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from performance_chart import chart
from performance_levels import SECTIONS as LEVELS
from performance_levels import node
from performance_reuse import SECTIONS
from performance_source import table as from_source

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/performance.md"
CHART = ROOT / "docs/charts/peers.svg"


def read(name: str) -> dict[str, Any]:
    """Return one result document."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


def results_of(name: str) -> dict[str, Any] | None:
    """Return the results of a benchmark; None if it was not run."""
    return read(name)["results"] if (RESULTS / f"{name}.json").is_file() else None


def head(document: dict[str, Any], title: str) -> list[str]:
    """Return heading, machine and command of a result."""
    found = document["machine"]
    plain = ", ".join(f"{key} {value}" for key, value in found.items() if key != "note")
    machine = node(found) if "gpus" in found else plain
    return [f"## {title}", "", f"{document['date'][:10]}; {machine}.", "", f"    {document['command']}", ""]


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


def rows(results: dict[str, Any], keys: tuple[str, ...], heading: str) -> list[str]:
    """Return a table with a line for each entry of `results`."""
    lines = [f"| {heading} | {' | '.join(key.replace('_', ' ') for key in keys)} |", "|---" * (len(keys) + 1) + "|"]
    return lines + [
        f"| {name} | {' | '.join(str(one.get(key, '')) for key in keys)} |" for name, one in results.items()
    ]


def launcher() -> list[str]:
    """Return the section on what the launcher costs."""
    document = read("launcher-overhead")
    found = document["results"]
    lines = head(document, "What the launcher costs")
    lines += rows({kind: found[kind] for kind in ("bare", "launched")}, ("wall_s", "cpu_s"), f"{found['units']} units")
    ratios = f"wall {found['wall_ratio']:.3f}, CPU {found['cpu_ratio']:.3f}, median of pairs {found['median_pair']:.3f}"
    return [*lines, "", f"Ratios: {ratios}.", ""]


def memory() -> list[str]:
    """Return the section on compilers under a memory limit."""
    document = read("memory-admission")
    found = document["results"]
    lines = head(document, f"Heavy units with {found['limit_mib']} MiB of memory")
    return [*lines, *rows(found["rules"], ("wall_s", "cpu_s", "peak_mb", "kills", "left"), "rule"), ""]


def packages() -> list[str]:
    """Return the section on two packages at once."""
    document = read("packages-parallel")
    lines = head(document, "Two independent packages")
    return [*lines, *rows(document["results"]["medians"], ("wall_s", "cpu_s", "peak_mb", "ratio"), "way"), ""]


def pytorch() -> list[str]:
    """Return the section on PyTorch from source."""
    document = read("pytorch-from-source")
    return [*head(document, "PyTorch 2.6.0 and its stack from source on 64 cores"), *from_source(document["results"])]


def kills() -> list[str]:
    """Return the section on builds whose processes are killed."""
    document = read("random-kills")
    found = document["results"]
    text = (
        f"{found['kills']} processes of {found['builds']} builds were killed at random; {found['results_wrong']} of "
        f"them ended with other files than an undisturbed one. The job server was whole again after "
        f"{found['slowest_recovery_s']} s at the latest."
    )
    return [*head(document, "Random kills"), text, ""]


def real_kills() -> list[str]:
    """Return the section on whole builds whose processes are killed."""
    document = read("real-kills")
    found = document["results"]
    hit = ", ".join(f"{name} {count}" for name, count in found["by_name"].items())
    text = (
        f"{found['kills']} processes of {found['runs']} runs of `bringup build` were killed at random ({hit}). After "
        f"each of the {found['builds']} builds that came of it, the {found['files']} files of its {found['wheels']} "
        f"wheels were compared with an undisturbed build's: {found['results_wrong']} builds had other files."
    )
    return [*head(document, "Random kills of whole builds with real compilers"), text, ""]


def overhead() -> list[str]:
    """Return the section on the seconds that are ours."""
    document = read("overhead")
    found = document["results"]
    text = (
        f"Of {found['wall_s']:.0f} s that the steps of the main job took, {found['tool_s']:.0f} s are those of "
        f"commands, {found['download_s']:.0f} s of downloads, {found['unpack_s']:.0f} s of unpacking and packing, and "
        f"{found['own_s']:.0f} s everything else of ours: {found['overhead_percent']} %. With unpacking counted "
        f"as ours, and against commands alone, it is {found['overhead_percent_over_tools_alone']} %."
    )
    return [*head(document, "What is ours of the main job"), text, ""]


def page() -> str:
    """Return the page."""
    lines = ["# Performance", "", "Made by scripts/generate_performance.py from benchmarks/results; do not edit.", ""]
    lines += ["![Seconds of this program and of others, group by group](charts/peers.svg)", ""]
    lines += ["Seconds, and how many times ours; each group is from one run on one machine, described below.", ""]
    sections = (
        ("build-kernels", main_job), ("overhead", overhead),
        ("pytorch-from-source", pytorch), ("diagnose", diagnose),
        ("launcher-overhead", launcher),
        ("memory-admission", memory), ("packages-parallel", packages), ("random-kills", kills),
        ("real-kills", real_kills),
    )  # fmt: skip
    for name, (title, section_of) in LEVELS.items():
        if (RESULTS / f"{name}.json").is_file():
            document = read(name)
            lines += [*head(document, title), *section_of(document)]
    for name, section in sections:
        if (RESULTS / f"{name}.json").is_file():
            lines += section()
    for name, (title, table) in SECTIONS.items():
        if (RESULTS / f"{name}.json").is_file():
            document = read(name)
            lines += [*head(document, title), *table(document["results"])]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write or compare page and chart and return the exit code."""
    made = {PAGE: page(), CHART: chart(results_of)}
    if "--check" in sys.argv[1:]:
        same = all(path.is_file() and path.read_text() == text for path, text in made.items())
        print("docs/performance.md is", "up to date" if same else "out of date: run scripts/generate_performance.py")
        return 0 if same else 1
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
