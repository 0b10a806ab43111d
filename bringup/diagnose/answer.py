"""Turn the chosen root into a finding: cause, fix for this target, context, words to search for."""

from __future__ import annotations

from collections.abc import Mapping

from bringup.diagnose.blocks import Candidate
from bringup.diagnose.knowledge import REFERENCE, Knowledge
from bringup.diagnose.match import is_affected
from bringup.diagnose.model import Finding
from bringup.diagnose.rank import Scored
from bringup.diagnose.reader import Hit
from bringup.diagnose.text import Line
from bringup.diagnose.unknown import fill, unknown
from bringup.model.knowledge import Certainty, Issue

BEFORE = 4
AFTER = 8

_CONFIDENCE = {Certainty.MAINTAINER: 0.95, Certainty.USERS: 0.9, Certainty.PLAUSIBLE: 0.8}


def make_finding(item: Scored, *, knowledge: Knowledge, facts: Mapping[str, str], lines: int) -> Finding:
    """Return the finding for a root that `rank` has chosen."""
    hit, line = _place(item)
    context_from, context = _context(hit, item.no)
    common = {
        "line": line.text.strip() or line.core,
        "line_no": item.no,
        "context": context,
        "context_from": context_from,
        "follows": max(0, lines - item.no),
    }
    if item.match is not None:
        issue = item.match.item.issue
        values = {**facts, **item.match.groups}
        fix = [fill(text, values) for text in (*issue.fix, *issue.by_hand)]
        if issue.wrapper and item.found is not None:  # it says only that something failed; the line says what
            fix = [*unknown(item, hit, line, knowledge, facts, dict(common)).fix, *fix]
        return Finding(
            id=issue.id,
            title=issue.title,
            category=issue.category,
            cause=fill(issue.cause, values),
            fix=tuple(fix),
            confidence=round(_CONFIDENCE[issue.certainty] - _doubt(issue, facts), 2),
            url=f"{REFERENCE}#{issue.id}",
            **common,  # type: ignore[arg-type]
        )
    return unknown(item, hit, line, knowledge, facts, common)


def _doubt(issue: Issue, facts: Mapping[str, str]) -> float:
    doubt = 0.25 if issue.wrapper else 0.1 if issue.weak else 0.0
    return doubt + (0.0 if is_affected(issue, facts) else 0.3)


def _place(item: Scored) -> tuple[Hit, Line]:
    found: Candidate | None = item.found
    if item.match is not None and item.match.no == item.no:
        return item.match.hit, item.match.line
    if found is not None:
        return found.hit, found.line
    assert item.match is not None
    return item.match.hit, item.match.line


def _context(hit: Hit, no: int) -> tuple[int, tuple[str, ...]]:
    rows = {hit.no + offset: line for offset, line in enumerate(hit.after)}
    rows.update({hit.no - offset: line for offset, line in enumerate(reversed(hit.before), 1)})
    low = no - BEFORE
    while low not in rows and low < no:
        low += 1
    wanted = [rows[at].text for at in range(low, no + AFTER + 1) if at in rows]
    return low, tuple(text[:400] for text in wanted)
