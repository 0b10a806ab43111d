"""One signature of a known issue, ready for matching."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bringup.diagnose.reader import LINES_BEFORE, Hit
from bringup.diagnose.text import Line

NEAR_AFTER = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSignature:
    """A signature with its expressions compiled and its literals in lower case."""

    has: tuple[str, ...]
    pattern: re.Pattern[str]
    lines: int
    near: tuple[re.Pattern[str], ...]
    unless: tuple[re.Pattern[str], ...]
    last: bool
    scan: bool

    def fit(self, hit: Hit) -> tuple[int, Line, dict[str, str]] | None:
        """Return number and content of the line where the signature begins to fit, and its groups."""
        rows = [(hit.no, hit.line)] if self.lines == 1 else _joined(hit, self.lines)
        found = self.pattern.search("\n".join(row.core for _, row in rows))
        if not found or not self._context_fits(hit):
            return None
        no, line = rows[found.string.count("\n", 0, found.start())]
        return no, line, {name: text or "" for name, text in found.groupdict().items()}

    def _context_fits(self, hit: Hit) -> bool:
        if not self.near and not self.unless:
            return True
        around = [line.core for line in (*hit.before[-LINES_BEFORE:], *hit.after[:NEAR_AFTER])]
        near = all(_anywhere(pattern, around) for pattern in self.near)
        return near and not any(_anywhere(pattern, around) for pattern in self.unless)


def _joined(hit: Hit, count: int) -> list[tuple[int, Line]]:
    """Return the line and those that follow from the same stream, with their numbers."""
    rows = enumerate(hit.after[: count * 4], hit.no)
    return [(no, line) for no, line in rows if line.stream == hit.line.stream][:count]


def _anywhere(pattern: re.Pattern[str], rows: Iterable[str]) -> bool:
    return any(pattern.search(row) for row in rows)
