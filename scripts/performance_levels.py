"""The sections of docs/performance.md on what verification found on an H200 node."""

from __future__ import annotations

from typing import Any

TOLD = (
    "torch.graph-equals-eager", "flashinfer.decode.graph-equals-eager", "flashinfer.bandwidth",
    "sglang.graph.decode-graphs", "sglang.graph.piecewise-graphs", "sglang.graph.tokens", "sglang.eager.tokens",
    "sglang.graph-equals-eager", "sglang.graph.no-compilation",
)  # fmt: skip
TOLD_OF_TWO = (
    "sglang.graph.no-compilation", "sglang.tp1.no-compilation", "sglang.graph.tokens", "sglang.graph-equals-eager",
    "sglang.tp2-equals-tp1",
)  # fmt: skip


def node(found: dict[str, Any]) -> str:
    """Return the machine of a result file, by its GPUs and its note."""
    named = [
        f"{one['name']}, driver {one['driver_version']}" if isinstance(one, dict) else one for one in found["gpus"]
    ]
    return "; ".join([*named, found.get("note", "")]).rstrip("; ")


def levels(document: dict[str, Any]) -> list[str]:
    """Return the table of levels, what their main checks say, and the speed of decoding."""
    found = {level["level"]: level for level in document["results"]["levels"]}
    lines = ["| level | status | seconds | checks |", "|---|---|---|---|"]
    for name, level in found.items():
        lines.append(f"| {name} | {level['status']} | {level['seconds']:.1f} | {len(level['checks'])} |")
    lines += ["", *checks(found.values(), TOLD)]
    lines += [f"- warning: {text}" for level in found.values() for text in level["warnings"]]
    lines += ["", "SGLang with the small generated llama (4 layers, hidden 1024), decode with and without graphs:", ""]
    return [*lines, *speed(found["sglang"]["evidence"]["speed"]), ""]


def speed(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of milliseconds a token."""
    lines = ["| batch | ms a token, graphs | ms a token, eager | ratio |", "|---|---|---|---|"]
    for row in rows:
        cells = f"{row['graph_ms_per_token']:.2f} | {row['eager_ms_per_token']:.2f} | {row['speedup']:.1f}"
        lines.append(f"| {row['batch']} | {cells} |")
    return lines


def two_gpus(document: dict[str, Any]) -> list[str]:
    """Return what the level says over two GPUs."""
    return [*checks(document["results"]["levels"], TOLD_OF_TWO), *failures(document), ""]


def harvest(document: dict[str, Any]) -> list[str]:
    """Return what was harvested, or what was found with a harvest installed."""
    (level,) = document["results"]["levels"]
    told = checks([level], ("sglang.harvest", "sglang.graph.no-compilation", "sglang.graph.tokens"))
    return [f"Level {level['level']}: {level['status']}.", "", *told, ""]


def faults(document: dict[str, Any]) -> list[str]:
    """Return the table of faults and the first thing that was told about each."""
    lines = ["| fault | expected | seconds | as expected |", "|---|---|---|---|"]
    for one in document["results"]["faults"]:
        told = "no: " + "; ".join(one["problems"]) if one["problems"] else "yes"
        lines.append(f"| {one['title']} | {one['expect']} | {one['seconds']:.0f} | {told} |")
    return [*lines, "", "What verification said about each is in `tests/gpu/fault_logs`.", ""]


def starts(document: dict[str, Any]) -> list[str]:
    """Return the seconds to a ready engine."""
    found = document["results"]
    lines = ["| start | s to ready | s to the first token |", "|---|---|---|"]
    for kind in ("cold", "prebuilt", "warm"):
        if f"{kind}_s" in found:
            lines.append(f"| {kind} | {found[f'{kind}_s']:.1f} | {found[f'{kind}_first_token_s']:.1f} |")
    names = [name for name in ("cold_over_prebuilt", "prebuilt_over_warm") if name in found]
    ratios = ", ".join(f"{name.replace('_over_', ' / ')} {found[name]:.2f}" for name in names)
    runs = ", ".join(f"{len(rows)} {kind}" for kind, rows in found["runs"].items())
    return [*lines, "", f"Medians of {runs} starts; {ratios}.", ""]


def checks(found: Any, wanted: tuple[str, ...]) -> list[str]:
    """Return a line for each wanted check."""
    known = {check["id"]: check["why"] for level in found for check in level["checks"]}
    return [f"- `{name}`: {known[name]}" for name in wanted if name in known]


def failures(document: dict[str, Any]) -> list[str]:
    """Return the checks that failed, long lists cut short."""
    return [
        f"- FAIL `{check['id']}`: {check['why'].partition(',')[0]} ..."
        for level in document["results"]["levels"] for check in level["checks"] if check["status"] == "FAIL"
    ]  # fmt: skip


SECTIONS = {
    "h200-levels": ("Verification on an H200 node", levels),
    "h200-start": ("Seconds to a ready engine", starts),
    "h200-tp2": ("Two GPUs, the first run on a fresh home folder", two_gpus),
    "h200-harvest": ("A harvest of what Triton compiles at run time", harvest),
    "h200-harvest-other": ("That harvest in another installation", harvest),
    "h200-faults": ("Faults that verification has to find", faults),
}
