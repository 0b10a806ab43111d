"""Sections of docs/performance.md on reuse: caches, store, change detection, scaling; for generate_performance.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def rows(head: Sequence[str], cells: Sequence[Sequence[object]]) -> list[str]:
    """Return a table in markdown."""
    lines = [head, ["---"] * len(head), *cells]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines] + [""]


def compiler_cache(results: dict[str, Any]) -> list[str]:
    """Return the table of compiler caches: seconds, times faster than without one, hits."""
    lines: list[str] = []
    for group, found in results.items():
        none = found["none"]["wall_s"]
        cells: list[list[object]] = [["none", f"{none:.1f}", "1x", ""]]
        for name, runs in found.items():
            if name in ("units", "none"):
                continue
            for run, one in runs.items():
                if "failed" in one:
                    cells.append([f"{name}, {run}", "failed", "", ""])
                    continue
                ratio = none / one["wall_s"]
                cells.append(
                    [f"{name}, {run}", f"{one['wall_s']:.2f}", f"{ratio:.1f}x", f"{one['hits']} of {one['asked']}"]
                )
        lines += [f"{found['units']} units of {group}, one after another:", ""]
        lines += rows(["cache, run", "seconds", "against none", "hits"], cells)
    return [
        *lines,
        "moved: sources, generated files and toolkit lie in other folders than in the cold run, in the same order",
        "below them, which is what ccache's base_dir needs. ccache is handed FlashInfer's long names of -MD and -MF in",
        "short, without which it keeps nothing. sccache counts parts of a unit for nvcc.",
        "",
    ]


def peers_noop(results: dict[str, Any]) -> list[str]:
    """Return the table of whole runs, with ratios to bringup."""
    ours = results["bringup"]
    cells = []
    for name, one in results.items():
        parts = [f"{one[part]['wall_s']:.2f} ({one[part]['wall_s'] / ours[part]['wall_s']:.2f}x)" for part in one]
        cells.append([name, *parts, f"{one['no-op']['cpu_s']:.2f}"])
    return [
        *rows(["tool", "cold, s", "no-op, s", "--version, s", "CPU s of the no-op"], cells),
        "fromager also builds the build backends from source. About three seconds of its no-op it waits for its own",
        "embedded index server; its CPU seconds hold none of that. uv's no-op only looks at the environment, where the",
        "packages are installed already.",
        "",
    ]


def change_detection(results: dict[str, Any]) -> list[str]:
    """Return who has a new result after a change."""
    changes = list(next(iter(results.values())))
    cells = [[name, *(found[what] for what in changes)] for name, found in results.items()]
    return [
        *rows(["tool", *changes], cells),
        "What the second result holds: `new` with the change, `OLD` without it; `same` where nothing changed. pip and",
        "uv know no patches: their source tree is edited; for the other changes they get the sdist. ccache is asked",
        "by pip without its cache, from a clean tree: it decides what is compiled and not what is built.",
        "",
    ]


def store_restore(results: dict[str, Any]) -> list[str]:
    """Return the table of restores."""
    base = results.get("uv", results["bringup"])["restore"]["wall_s"]
    cells = []
    for name in ("bringup", "uv"):
        one = results.get(name)
        if one:
            seconds = one["restore"]["wall_s"]
            cells.append([name, f"{one['first']['wall_s']:.1f}", f"{seconds:.2f}", f"{seconds / base:.2f}x"])
    steps = results["bringup"]["restore"]["install_s"]
    cells.append(["bringup, install steps alone", "", f"{steps:.2f}", f"{steps / base:.2f}x"])
    lines = rows(["tool", "first time, s", "fresh environment, s", "to uv"], cells)
    if "large wheel" in results:
        one = results["large wheel"]
        parts = ", ".join(f"{name} {seconds:g} s" for name, seconds in one["seconds"].items())
        lines += [f"The store with one wheel of {one['mib']} MiB: {parts}."]
        again = {name: found["restore"]["wall_s"] for name, found in one.get("install", {}).items()}
        if again:
            lines += [
                f"That wheel into a fresh environment: {again['bringup']:.2f} s found, linked, its files compared with",
                f"what was hashed; {again['uv']:.2f} s by uv alone without a check.",
            ]
        lines += [""]
    stack = results.get("whole stack")
    if stack:
        base = stack["uv"]["restore"]["wall_s"]
        cells = []
        for name in ("bringup", "uv"):
            seconds = stack[name]["restore"]["wall_s"]
            cells.append([name, f"{seconds:.2f}", f"{seconds / base:.2f}x"])
        seconds = stack["bringup"]["restore"]["install_s"]
        cells.append(["bringup, install steps alone", f"{seconds:.2f}", f"{seconds / base:.2f}x"])
        lines += [f"The whole stack `{stack['stack']}`, {stack['files']} files, into a fresh environment:", ""]
        lines += rows(["tool", "seconds", "to uv"], cells)
        lines += [
            "Most of that is the kernel making links: uv uses all cores for it, we little more than one.",
            "",
        ]
    return lines


def scaling(results: dict[str, Any]) -> list[str]:
    """Return the table by number of recipes, with milliseconds for each."""
    names = list(next(iter(results.values()))["seconds"])
    cells = []
    for size, one in results.items():
        parts = [f"{one['seconds'][name]:.2f} ({one['seconds'][name] / int(size) * 1000:.1f})" for name in names]
        cells.append([size, one["steps"], *parts, one["peak_mib"]])
    return [
        *rows(["recipes", "steps", *names, "peak MiB"], cells),
        "Seconds, and in brackets milliseconds for each recipe. Filling the store waits for the disk for each entry.",
        "",
    ]


def startup(results: dict[str, Any]) -> list[str]:
    """Return the table of starts."""
    cells = []
    for name, one in results.items():
        if isinstance(one, dict):
            imported = one.get("imports", {}).get("modules", "")
            cells.append([name, one["wall_s"], one["wall_median_s"], one["cpu_s"], imported])
    return [
        *rows(["run", "least wall, s", "median wall, s", "least CPU, s", "modules imported"], cells),
        *([f"{results['note']}", ""] if results["note"] else []),
    ]


SECTIONS = {
    "startup": ("Plans and builds with nothing to do", startup),
    "compiler-cache": ("Compiler caches on real units", compiler_cache),
    "peers-noop": ("The same sdists with other tools", peers_noop),
    "change-detection": ("Who notices a change", change_detection),
    "store-restore": ("A fresh environment from what was built before", store_restore),
    "scaling": ("Planning and store with many recipes", scaling),
}
