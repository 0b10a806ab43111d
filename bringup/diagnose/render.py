"""A diagnosis as text for people; nothing in it can steer a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from bringup.diagnose.model import Diagnosis, Finding, Status
from bringup.diagnose.text import printable

WIDTH = 100


def render(diagnosis: Diagnosis, *, brief: bool = False, typed: Callable[[str], str] = str) -> str:
    """Return the diagnosis as text of several lines, the answer first.

    Args:
        diagnosis: what was found.
        brief: without surroundings and cause.
        typed: puts our commands in fixes into the form that this user types; the log's lines stay as they are.
    """
    name = "standard input" if diagnosis.log == "-" else printable(diagnosis.log)
    if diagnosis.status is Status.CLEAN:
        found = f"{name}: no failure found in {diagnosis.lines} line{'' if diagnosis.lines == 1 else 's'}"
        return "\n".join([found, *(_survived(one) for one in diagnosis.survived)])
    best, *others = diagnosis.findings
    if brief:
        root = f"  > {printable(best.line.strip(), 160)}"
        return "\n".join(
            [_headline(name, best), root, *(_wrap("  fix: ", typed(printable(text, 1000))) for text in best.fix[:2])]
        )
    parts = [_headline(name, best), _excerpt(best), *_explanation(best, typed)]
    if others:
        parts.append("also seen:")
        parts += [f"  line {other.line_no}: {other.title}  ({other.url})" for other in others]
    return "\n".join(parts)


def _survived(best: Finding) -> str:
    return (
        f"  it has errors and ends like a run that lived with them; if it did fail, --failed explains\n"
        f"  > {best.line_no:>6} | {printable(best.line.strip(), 160)}"
    )


def _headline(name: str, best: Finding) -> str:
    known = f"known issue {best.id}" if best.id else "not a known issue"
    place = f"{name}:{best.line_no}: {printable(best.title, 200)}"
    return f"{place}\n  [{best.category}] {known}, confidence {best.confidence:.2f}"


def _excerpt(best: Finding) -> str:
    rows = [""]
    for no, text in enumerate(best.context, best.context_from):
        sign = ">" if no == best.line_no else " "
        rows.append(f"{sign} {no:>6} | {printable(text, 160)}".rstrip())
    if best.follows:
        rows.append(f"  the {best.follows} lines after line {best.line_no} are consequences, as a rule")
    return "\n".join([*rows, ""])


def _explanation(best: Finding, typed: Callable[[str], str]) -> list[str]:
    rows = [_wrap("cause: ", printable(best.cause, 2000))]
    rows.append("fix:")
    rows += [_wrap("  - ", typed(printable(text, 1000))) for text in best.fix]
    if best.url:
        rows.append(f"see:   {best.url}")
    if best.search:
        rows.append(f"search for: {printable(best.search, 200)}")
    return rows


def _wrap(first: str, text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
