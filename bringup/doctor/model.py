"""What `doctor` answers; the shape of `doctor --json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec


class Status(StrEnum):
    """PASS; WARN, it may hurt; FAIL, it will; SKIP, this machine cannot tell or the question does not arise."""

    PASS = "PASS"  # noqa: S105 - a status, not a password
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check with its answer.

    Attributes:
        id: lasting name, `toolkit.headers`.
        status: the answer.
        seen: what was found on this machine.
        why: why it matters.
        fix: what to do, commands where possible, best first; empty for PASS and SKIP.
        issue: id of the known issue that this becomes when nothing is done; None if there is none.
        url: where that issue is described.
    """

    id: str
    status: Status
    seen: str
    why: str
    fix: tuple[str, ...] = ()
    issue: str | None = None
    url: str = ""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    schema: int = 1
    target: str
    stack: str
    environment: str = ""
    checks: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether a check says FAIL."""
        return any(check.status is Status.FAIL for check in self.checks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a check function returns: the table adds why, fix and known issue.

    Attributes:
        status: the answer.
        seen: what was found.
        values: for the placeholders in the table's texts.
        issue: overrides the table's known issue.
        fix: overrides the table's fixes.
    """

    status: Status
    seen: str
    values: Mapping[str, str] = field(default_factory=dict)
    issue: str | None = None
    fix: tuple[str, ...] | None = None


def good(seen: str) -> Verdict:
    """Return PASS."""
    return Verdict(status=Status.PASS, seen=seen)


def skip(seen: str) -> Verdict:
    """Return SKIP with the reason."""
    return Verdict(status=Status.SKIP, seen=seen)


def bad(
    seen: str,
    *,
    issue: str | None = None,
    fix: tuple[str, ...] | None = None,
    only_warn: bool = False,
    values: Mapping[str, str] | None = None,
) -> Verdict:
    """Return FAIL, or WARN where it may do no harm."""
    status = Status.WARN if only_warn else Status.FAIL
    return Verdict(status=status, seen=seen, values=values or {}, issue=issue, fix=fix)
