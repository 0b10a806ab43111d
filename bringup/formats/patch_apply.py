"""Applies a parsed patch to texts, for machines without git: whole context, no fuzz, the nearest place that fits."""

from __future__ import annotations

from collections.abc import Sequence

from bringup.formats.patch_diff import FilePatch, Hunk


class HunkMisfitError(ValueError):
    """A hunk's lines are nowhere in the file.

    Attributes:
        hunk: the hunk.
    """

    def __init__(self, hunk: Hunk) -> None:
        super().__init__(f"the lines of the hunk at line {hunk.line_no} of the patch are not in the file")
        self.hunk = hunk


def apply_to_text(text: str, file: FilePatch) -> tuple[str, tuple[str, ...]]:
    """Return the text after all hunks of `file`, and those that fitted elsewhere than they say, as git words it.

    Raises:
        HunkMisfitError: a hunk fits nowhere; nothing is applied then.
    """
    ends = text.endswith("\n") or not text
    lines = text.removesuffix("\n").split("\n") if text else []
    moved: list[str] = []
    shift = floor = 0
    for number, hunk in enumerate(file.hunks, start=1):
        # A hunk without old lines names the line after which it adds.
        wanted = hunk.old_start - (1 if hunk.before else 0) + shift
        at = _nearest(lines, hunk.before, wanted, floor)
        if at is None:
            raise HunkMisfitError(hunk)
        if at != wanted:
            count = abs(at - wanted)
            direction = f"offset {at - wanted} line{'s' if count > 1 else ''}"
            moved.append(f"Hunk #{number} succeeded at {at + 1} ({direction})")
        last = at + len(hunk.before) == len(lines)
        lines[at : at + len(hunk.before)] = hunk.after
        floor = at + len(hunk.after)
        shift = at - hunk.old_start + (1 if hunk.before else 0) + len(hunk.after) - len(hunk.before)
        if last:
            ends = _ends_with_newline(hunk, ends)
    return "\n".join(lines) + ("\n" if ends and lines else ""), tuple(moved)


def _nearest(lines: Sequence[str], before: Sequence[str], wanted: int, floor: int) -> int | None:
    """Return the place nearest to `wanted`, not above `floor`, where `lines` hold `before`."""
    size, end = len(before), len(lines) - len(before)
    for distance in range(len(lines) + abs(wanted) + 1):
        for at in dict.fromkeys((wanted + distance, wanted - distance)):
            if floor <= at <= end and tuple(lines[at : at + size]) == tuple(before):
                return at
    return None


def _ends_with_newline(hunk: Hunk, before: bool) -> bool:
    """Tell whether the file's end has a newline after the hunk that reaches it."""
    marked = [hunk.lines[at - 1][0] for at, line in enumerate(hunk.lines) if line[0] == "\\" and at]
    if "+" in marked or " " in marked:
        return False
    return True if marked else before
