"""Says why a patch does not apply: which file, which hunk, and what the tree holds in its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bringup.errors import PatchError
from bringup.formats.patch import FilePatch, Hunk, PatchFile

_FAILED = re.compile(r"^error: patch failed: (.+):(\d+)$")
_ABOUT_FILE = re.compile(r"^error: (.+): ([A-Za-z].*)$")
MAX_LINES = 200_000


def explain(
    path: Path, patch: PatchFile, *, tree: Path, work: Path, output: Sequence[str], log: Path | None
) -> PatchError:
    """Return the error for a patch that git refused.

    Args:
        path: the patch file.
        patch: what it says.
        tree: the whole source tree, untouched.
        work: copies of the touched files as they were before this patch.
        output: what `git apply --verbose` printed.
        log: log file that holds the output.
    """
    hint = f"refresh the patch for this version of the source; {tree} is as it was before"
    where = f"{path} ({patch.title})"
    for line in output:
        if found := _FAILED.match(line):
            file, number = _hunk_at(patch, found[1], int(found[2]))
            if file and number is not None:
                hunk = file.hunks[number]
                which = f"{file.old}, hunk {number + 1} of {len(file.hunks)} (line {hunk.line_no} of the patch)"
                msg = f"{where} does not apply to {which}: {_compare(work / file.old, hunk)}"
                return PatchError(msg, hint=hint, log=str(log or ""))
    for line in output:
        found = _ABOUT_FILE.match(line)
        if found and found[1] in patch.paths:
            msg = f"{where} does not apply to {found[1]}: {_about_file(tree, found[1], found[2])}"
            return PatchError(msg, hint=hint, log=str(log or ""))
    said = next((line for line in reversed(output) if line.startswith("error:")), "git apply failed")
    return PatchError(f"{where} does not apply: {said.removeprefix('error: ')}", hint=hint, log=str(log or ""))


def _hunk_at(patch: PatchFile, name: str, start: int) -> tuple[FilePatch | None, int | None]:
    for file in patch.files:
        if name in (file.old, file.new):
            for number, hunk in enumerate(file.hunks):
                if hunk.old_start == start:
                    return file, number
    return None, None


def _about_file(tree: Path, name: str, said: str) -> str:
    if "No such file" not in said:
        return said
    same = sorted(_same_name(tree, Path(name).name))[:3]
    return "there is no such file" + (f"; the tree has {', '.join(same)}" if same else "")


def _same_name(tree: Path, name: str) -> Iterator[str]:
    for folder, _, files in os.walk(tree):
        if name in files:
            yield os.path.relpath(Path(folder, name), tree)


def _compare(file: Path, hunk: Hunk) -> str:
    """Return what the file holds where the hunk's lines were expected."""
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return "the file cannot be read"
    lines = text.split("\n")[:MAX_LINES]
    if any(line.endswith("\r") for line in lines) and not any(line.endswith("\r") for line in hunk.before):
        return "the file has CRLF line ends and the patch has not"
    at, equal = _nearest(lines, hunk.after)
    if hunk.after and equal == len(hunk.after):
        return f"the change is already there (line {at + 1})"
    at, equal = _nearest(lines, hunk.before)
    if not equal:
        return f"none of the {len(hunk.before)} lines that it expects is in the file"
    for offset, wanted in enumerate(hunk.before):
        seen = lines[at + offset] if at + offset < len(lines) else None
        if seen != wanted:
            held = "the file ends" if seen is None else f"there is {_shown(seen)}"
            return f"line {at + offset + 1} should be {_shown(wanted)}, {held}"
    return "its lines are there, but not at a place that fits the other hunks"


def _nearest(lines: Sequence[str], wanted: Sequence[str]) -> tuple[int, int]:
    """Return the index at which most of the wanted lines stand, and how many; blank lines do not count alone."""
    places: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        places.setdefault(line, []).append(index)
    votes: dict[int, int] = {}
    telling: dict[int, int] = {}
    for offset, line in enumerate(wanted):
        for index in places.get(line, ()):
            if index >= offset:
                votes[index - offset] = votes.get(index - offset, 0) + 1
                telling[index - offset] = telling.get(index - offset, 0) + bool(line.strip())
    best = max(votes, key=lambda at: (telling[at], votes[at], -at), default=0)
    return best, votes.get(best, 0) if telling.get(best) or votes.get(best, 0) == len(wanted) else 0


def _shown(line: str) -> str:
    clean = line.encode("utf-8", "replace").decode().strip()
    return f"`{clean[:100]}`" if clean else "an empty line"
