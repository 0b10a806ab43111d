"""What `diagnose` answers; the shape of `diagnose --json`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bringup.model.knowledge import Category


class Status(StrEnum):
    """`clean`: no failure found. `known`: a known issue. `unknown`: a failure that is not in the list."""

    CLEAN = "clean"
    KNOWN = "known"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    Attributes:
        id: the known issue, or None.
        title: its title, or the kind of failure.
        category: when it shows itself.
        line: text of the root line, without terminal codes and CI prefixes.
        line_no: its number in the input, from 1.
        cause: what it means.
        fix: what to do, best first.
        confidence: 0 to 1.
        url: where it is described; empty for an unknown failure.
        context: the root line with the lines around it, cleaned the same way.
        context_from: number of the first context line.
        follows: how many lines come after the root line; consequences, as a rule.
        search: words to search the web or an issue tracker for; empty for a known issue.
    """

    id: str | None
    title: str
    category: Category
    line: str
    line_no: int
    cause: str
    fix: tuple[str, ...]
    confidence: float
    url: str
    context: tuple[str, ...] = ()
    context_from: int = 1
    follows: int = 0
    search: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one log; findings are best first.

    Attributes:
        schema: version of this shape.
        log: the path as it was given, `-` for standard input.
        lines: how many lines the log has.
        survived: of a clean log the error that would be the cause if the run had not ended well, as its last lines say.
    """

    schema: int = 1
    log: str
    status: Status
    findings: tuple[Finding, ...] = ()
    lines: int = 0
    survived: tuple[Finding, ...] = ()
