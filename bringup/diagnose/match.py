"""Find known issues in the lines that have one of their literals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bringup.diagnose.knowledge import CompiledIssue, CompiledSignature, Knowledge
from bringup.diagnose.reader import LINES_BEFORE, Hit
from bringup.diagnose.text import Line

NEAR_AFTER = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A known issue seen at a line.

    Attributes:
        item: the issue.
        hit: the line that has the literal, with its surroundings.
        no: number of the line where the expression begins to fit.
        line: that line.
        groups: what the named groups of the expression hold.
        last: whether it counts only at the end of the log.
    """

    item: CompiledIssue
    hit: Hit
    no: int
    line: Line
    groups: dict[str, str]
    last: bool


class Matcher:
    """Matches hits against the knowledge."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._by_word: dict[str, list[tuple[CompiledIssue, CompiledSignature]]] = {}
        for item in knowledge.issues.values():
            for signature in item.signatures:
                for word in signature.has:
                    self._by_word.setdefault(word, []).append((item, signature))

    def matches(self, hit: Hit) -> list[Match]:
        """Return what fits at this hit, each issue once."""
        small = hit.line.core.lower()
        found: dict[str, Match] = {}
        for word, entries in self._by_word.items():
            if word not in small:
                continue
            for item, signature in entries:
                if item.issue.id in found:
                    continue
                match = _try(hit, item, signature)
                if match:
                    found[item.issue.id] = match
        return list(found.values())


def _try(hit: Hit, item: CompiledIssue, signature: CompiledSignature) -> Match | None:
    rows = [(hit.no, hit.line)] if signature.lines == 1 else _joined(hit, signature.lines)
    fit = signature.pattern.search("\n".join(row.core for _, row in rows))
    if not fit:
        return None
    if (signature.near or signature.unless) and not _context_fits(hit, signature):
        return None
    no, line = rows[fit.string.count("\n", 0, fit.start())]
    return Match(
        item=item,
        hit=hit,
        no=no,
        line=line,
        groups={name: text or "" for name, text in fit.groupdict().items()},
        last=signature.last,
    )


def _joined(hit: Hit, count: int) -> list[tuple[int, Line]]:
    """Return the line and those that follow from the same stream, with their numbers."""
    rows = enumerate(hit.after[: count * 4], hit.no)
    return [(no, line) for no, line in rows if line.stream == hit.line.stream][:count]


def _context_fits(hit: Hit, signature: CompiledSignature) -> bool:
    around = [line.core for line in (*hit.before[-LINES_BEFORE:], *hit.after[:NEAR_AFTER])]
    near = all(_anywhere(pattern, around) for pattern in signature.near)
    return near and not any(_anywhere(pattern, around) for pattern in signature.unless)


def _anywhere(pattern: re.Pattern[str], rows: Iterable[str]) -> bool:
    return any(pattern.search(row) for row in rows)
