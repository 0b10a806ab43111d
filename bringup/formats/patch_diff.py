"""The diff part of a patch file: which files change, and the hunks, counted and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from bringup.errors import PatchError
from bringup.formats.patch_names import header_names, safe_name, unquote_name

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(?: (.*))?$")


class Change(StrEnum):
    """What a patch does to one file."""

    MODIFY = "modify"
    ADD = "add"
    DELETE = "delete"
    RENAME = "rename"
    COPY = "copy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    r"""One block of changed lines.

    Attributes:
        old_start: first line in the file before, counted from 1; 0 if there are none.
        new_start: first line in the file after.
        section: text behind the second `@@`, usually the function around it.
        line_no: line of the patch file that the hunk begins at.
        lines: the lines with their first character (space, `+`, `-` or `\`).
    """

    old_start: int
    new_start: int
    section: str
    line_no: int
    lines: tuple[str, ...]

    @property
    def before(self) -> tuple[str, ...]:
        """Lines that the file must hold for the hunk to apply."""
        return tuple(line[1:] for line in self.lines if line[0] in " -")

    @property
    def after(self) -> tuple[str, ...]:
        """The same lines when it has been applied."""
        return tuple(line[1:] for line in self.lines if line[0] in " +")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePatch:
    """What a patch does to one file; paths are relative to the tree.

    Attributes:
        change: kind of change.
        old: path before; empty for a new file.
        new: path after; empty for a deleted file.
        hunks: changed blocks; none for a pure rename, a change of mode or binary content.
        binary: the content is a binary patch.
    """

    change: Change
    old: str
    new: str
    hunks: tuple[Hunk, ...]
    binary: bool = False


def read_diff(lines: Sequence[str], start: int, *, name: str) -> tuple[FilePatch, ...]:
    """Read the files of a diff that begins at index `start`; `name` is the patch's, for messages.

    Raises:
        PatchError: it is not a sound diff as git writes it; the message names patch and line.
    """
    return _Diff(lines, start, name).read()


class _Diff:
    """Reads the diff part, line by line."""

    def __init__(self, lines: Sequence[str], start: int, name: str) -> None:
        self.lines, self.at, self.name = lines, start, name

    def read(self) -> tuple[FilePatch, ...]:
        files = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith("diff --git "):
                files.append(self._file())
            elif line.rstrip("\r") == "-- ":
                break  # the mail signature with git's version
            elif line.strip():
                self._refuse("this line belongs to no file or hunk (a count in the `@@` line above is too small?)")
            else:
                self.at += 1
        return tuple(files)

    def _file(self) -> FilePatch:
        begin = self.at
        headers: dict[str, str] = {}
        self.at += 1
        while self.at < len(self.lines) and (header := _extended_header(self.lines[self.at])):
            headers.setdefault(*header)
            self.at += 1
        hunks: list[Hunk] = []
        while self.at < len(self.lines) and self.lines[self.at].startswith("@@ "):
            hunks.append(self._hunk())
        binary = "binary" in headers
        if binary:
            self._skip_binary()
        if hunks and not {"---", "+++"} <= headers.keys():
            self._refuse("hunks without the `---` and `+++` lines before them", begin)
        if not hunks and not binary and not headers.keys() - {"---", "+++", "index"}:
            self._refuse("neither hunks nor another change for this file", begin)
        change, old, new = self._names(begin, headers)
        return FilePatch(change=change, old=old, new=new, hunks=tuple(hunks), binary=binary)

    def _names(self, begin: int, headers: dict[str, str]) -> tuple[Change, str, str]:
        change = _kind(headers)
        try:
            named = header_names(self.lines[begin].removeprefix("diff --git "))
            given = {side: unquote_name(headers[side].split("\t")[0]) for side in ("---", "+++") if side in headers}
            if change in (Change.RENAME, Change.COPY):
                word = change.value
                old, new = unquote_name(headers[f"{word} from"]), unquote_name(headers[f"{word} to"])
            elif named is None:
                self._refuse("the two names in `diff --git` differ, but nothing is renamed", begin)
            else:
                old = new = named
            old, new = safe_name(old), safe_name(new)
        except KeyError as exc:
            self._refuse(f"the line `{exc.args[0]}` is missing", begin)
        except ValueError as exc:
            self._refuse(str(exc), begin)
        wanted = {
            "---": "/dev/null" if change is Change.ADD else f"a/{old}",
            "+++": "/dev/null" if change is Change.DELETE else f"b/{new}",
        }
        for side, value in given.items():
            if value != wanted[side]:
                self._refuse(f"`{side} {value}` does not fit `diff --git`, which means {wanted[side]}", begin)
        return change, "" if change is Change.ADD else old, "" if change is Change.DELETE else new

    def _hunk(self) -> Hunk:
        begin = self.at
        found = _HUNK.match(self.lines[begin].rstrip("\r"))
        if not found or any(len(number or "") > 9 for number in found.groups()[:4]):
            self._refuse("not a hunk header")
        old, new = (1 if found[n] is None else int(found[n]) for n in (2, 4))
        body: list[str] = []
        self.at += 1
        while old > 0 or new > 0 or (self.at < len(self.lines) and self.lines[self.at].startswith("\\")):
            line = self.lines[self.at] if self.at < len(self.lines) else ""
            line = line or " "  # some mail programs take the blank of an empty context line away
            if line[0] not in " +-\\" or self.at >= len(self.lines) or (line[0] == "\\" and not body):
                self._refuse(f"the hunk ends {old} old and {new} new lines too early", begin)
            old, new = old - (line[0] in " -"), new - (line[0] in " +")
            body.append(line)
            self.at += 1
        if old < 0 or new < 0:
            self._refuse("more lines than its header counts", begin)
        if not any(line[0] in "+-" for line in body):
            self._refuse("the hunk changes nothing", begin)
        return Hunk(
            old_start=int(found[1]), new_start=int(found[3]), section=found[5] or "", line_no=begin + 1,
            lines=tuple(body),
        )  # fmt: skip

    def _skip_binary(self) -> None:
        while self.at < len(self.lines) and not self.lines[self.at].startswith(("diff --git ", "-- ")):
            self.at += 1

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        msg = f"{self.name}:{(self.at if at is None else at) + 1}: {why}"
        raise PatchError(msg)


_EXTENDED = (
    "old mode", "new mode", "new file mode", "deleted file mode", "copy from", "copy to", "rename from", "rename to",
    "similarity index", "dissimilarity index", "index", "---", "+++",
)  # fmt: skip


def _extended_header(line: str) -> tuple[str, str] | None:
    line = line.rstrip("\r")
    if line == "GIT binary patch":
        return "binary", ""
    for word in _EXTENDED:
        if line.startswith(f"{word} "):
            return word, line[len(word) + 1 :]
    return None


def _kind(headers: dict[str, str]) -> Change:
    for header, change in (
        ("new file mode", Change.ADD),
        ("deleted file mode", Change.DELETE),
        ("rename from", Change.RENAME),
        ("copy from", Change.COPY),
    ):
        if header in headers:
            return change
    return Change.MODIFY
