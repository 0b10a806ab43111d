"""The chart of docs/performance.md: this program and its peers, each group from one run (generate_performance.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.sax.saxutils import escape

Bars = list[tuple[str, float, str]]  # whose, seconds, what is said beside it
OURS = "bringup"
WIDTH, LABEL, BAR, ROW, GAP = 880, 130, 480, 20, 34


def _whole(part: str) -> Callable[[Mapping[str, Any]], Bars]:
    return lambda results: [(name, one[part]["wall_s"], "") for name, one in results.items()]


def _restore(results: Mapping[str, Any]) -> Bars:
    return [(name, results[name]["restore"]["wall_s"], "") for name in ("bringup", "uv")]


def _cache(run: str) -> Callable[[Mapping[str, Any]], Bars]:
    def bars(results: Mapping[str, Any]) -> Bars:
        found = results["FlashInfer"]
        tools = [(name, found[name][run]) for name in (OURS, "ccache", "sccache")]
        return [("no cache", found["none"]["wall_s"], ""), *((name, one["wall_s"], "") for name, one in tools)]

    return bars


def _memory(results: Mapping[str, Any]) -> Bars:
    rules = {name: one for name, one in results["rules"].items() if "," not in name}
    return [
        (name, one["wall_s"], "failed: a compiler was killed" if one["left"] else "") for name, one in rules.items()
    ]


def _packages(results: Mapping[str, Any]) -> Bars:
    return [(name, one["wall_s"], "") for name, one in results["medians"].items()]


GROUPS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], Bars]], ...] = (
    ("Five source distributions, first time", "peers-noop", _whole("cold")),
    ("The same, nothing changed", "peers-noop", _whole("no-op")),
    ("A fresh environment of what was built before", "store-restore", _restore),
    ("Nine units of FlashInfer, compiled before", "compiler-cache", _cache("warm")),
    ("The same in a moved checkout", "compiler-cache", _cache("moved")),
    ("Eight heavy units with 3 GiB of memory", "memory-admission", _memory),
    ("Two independent packages", "packages-parallel", _packages),
)


def chart(read: Callable[[str], Mapping[str, Any] | None]) -> str:
    """Return the chart as SVG: seconds, and how many times ours that is.

    Args:
        read: gives the results of a benchmark, None without them.
    """
    parts, y = [], 30
    for title, name, bars_of in GROUPS:
        results = read(name)
        if results is None:
            continue
        parts.append(f'<text x="0" y="{y}" font-weight="bold">{escape(title)}</text>')
        rows = bars_of(results)
        longest, ours = max(seconds for _, seconds, _ in rows), next(one for who, one, _ in rows if who == OURS)
        for number, (who, seconds, note) in enumerate(rows):
            parts += _bar(y + 8 + number * ROW, who, seconds, longest, note or times(seconds / ours))
        y += 8 + len(rows) * ROW + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'font-family="sans-serif" font-size="13">'
    )
    back = f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>'
    return "\n".join([head, back, '<g transform="translate(14 0)" fill="#222222">', *parts, "</g>", "</svg>"]) + "\n"


def times(ratio: float) -> str:
    """Return a ratio as people write it: "0.06 x", "1.5 x", "240 x"."""
    return f"{ratio:.0f} x" if ratio >= 9.5 else f"{ratio:.{1 if ratio >= 0.95 else 2}f} x"


def _bar(y: int, who: str, seconds: float, longest: float, note: str) -> list[str]:
    length = max(1.0, BAR * seconds / longest)
    color = "#2b6cb0" if who == OURS else "#b8bec7"
    said = f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    return [
        f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(who)}</text>',
        f'<rect x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="13" fill="{color}"/>',
        f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}">{said}, {escape(note)}</text>',
    ]
