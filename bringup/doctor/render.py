"""The answer as text: what failed first, then what is doubtful, then the rest in short."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from bringup.diagnose.text import printable
from bringup.doctor.model import DoctorReport, Finding, Status

WIDTH = 110


def render(report: DoctorReport, *, everything: bool = True) -> str:
    """Return the report for people; `everything` shows PASS and SKIP too."""
    counts = Counter(check.status for check in report.checks)
    title = f"{report.target}  stack {report.stack}" + (
        f"  environment {report.environment}" if report.environment else ""
    )
    parts = [printable(title, 300)]
    for status in (Status.FAIL, Status.WARN):
        parts += [_long(check) for check in report.checks if check.status is status]
    if everything:
        parts.append("")
        for status in (Status.PASS, Status.SKIP):
            parts += _rows([check for check in report.checks if check.status is status])
    summary = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return "\n".join([*parts, "", summary])


def _rows(checks: Sequence[Finding]) -> list[str]:
    """Return a line for each check; those of one kind that were all passed over for the same reason share one."""
    rows = []
    for (kind, seen), group in groupby(checks, key=lambda one: (one.id.partition(".")[0], one.seen)):
        same = list(group)
        alike = len(same) > 2 and same[0].status is Status.SKIP
        names = [f"{kind}.* ({len(same)})"] if alike else [one.id for one in same]
        rows += [f"  {same[0].status:<4}  {name:<26} {printable(seen, WIDTH - 34)}" for name in names]
    return rows


def _long(check: Finding) -> str:
    rows = ["", *_wrap(f"{check.status}  {check.id}: ", check.seen), *_wrap("      why: ", check.why)]
    for number, fix in enumerate(check.fix):
        rows += _wrap("      fix: " if number == 0 else "       or: ", fix)
    if check.issue:
        rows.append(f"      see: {check.url}")
    return "\n".join(rows)


def _wrap(first: str, text: str) -> list[str]:
    return textwrap.wrap(
        printable(text, 2000), WIDTH, initial_indent=first, subsequent_indent="           ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
