"""Reads patch files as `git format-patch` writes them: title, Upstream-Status, files and hunks, all checked.

Upstream-Status is the line that OpenEmbedded asks of every patch: what upstream knows of it, and where.
Paths that lead out of the tree, into `.git`, or differ between the headers of one file are refused.
"""

from __future__ import annotations

import email.errors
import email.header
import email.parser
import re
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import PatchError
from bringup.formats.patch_diff import Change, FilePatch, Hunk, read_diff

__all__ = ["STATUSES", "Change", "FilePatch", "Hunk", "PatchFile", "parse_patch", "read_patch"]

STATUSES = ("Pending", "Submitted", "Backport", "Denied", "Inactive-Upstream", "Inappropriate")

_STATUS = re.compile(r"^Upstream-Status:[ \t]*(.*)$", re.MULTILINE)
_SUBJECT_PREFIX = re.compile(r"^\[[^\]]*PATCH[^\]]*\]\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchFile:
    """A patch file.

    Attributes:
        name: file name.
        title: subject without `[PATCH n/m]`.
        author: `Name <address>`.
        upstream_status: first word of the Upstream-Status line, one of `STATUSES`.
        upstream_note: what follows it: an address or a reason.
        files: what it changes, in order.
    """

    name: str
    title: str
    author: str
    upstream_status: str
    upstream_note: str
    files: tuple[FilePatch, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that the patch reads or writes, sorted."""
        return tuple(sorted({path for file in self.files for path in (file.old, file.new) if path}))


def read_patch(path: Path) -> PatchFile:
    """Read and check a patch file.

    Raises:
        PatchError: it cannot be read or is not a sound patch; the message names the file and the line.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        msg = f"{path}: cannot read the patch: {exc.strerror}"
        raise PatchError(msg) from exc
    return parse_patch(content, name=str(path))


def parse_patch(content: bytes, *, name: str) -> PatchFile:
    """Parse the content of a patch file; `name` is for messages.

    Raises:
        PatchError: as `read_patch`.
    """
    text = content.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.startswith("diff --git ")), len(lines))
    title, author = _mail_header("\n".join(lines[:start]), name)
    status, note = _upstream_status("\n".join(lines[:start]), name)
    files = read_diff(lines, start, name=name)
    if not files:
        msg = f"{name}: there is no `diff --git` in it, so it changes nothing"
        raise PatchError(msg, hint="write it with: git format-patch")
    return PatchFile(
        name=Path(name).name, title=title, author=author, upstream_status=status, upstream_note=note, files=files
    )


def _mail_header(head: str, name: str) -> tuple[str, str]:
    mail = re.sub(r"\AFrom [^\n]*\n", "", head)
    message = email.parser.HeaderParser().parsestr(mail.encode("utf-8", "replace").decode())
    title = _SUBJECT_PREFIX.sub("", " ".join(_decoded(str(message.get("Subject", ""))).split()))
    if not title:
        msg = f"{name}:1: no Subject line, so the patch has no title"
        raise PatchError(msg, hint="write it with: git format-patch")
    return title, " ".join(_decoded(str(message.get("From", ""))).split())


def _decoded(value: str) -> str:
    """Return a mail header as people read it (`=?UTF-8?q?...?=` decoded)."""
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except (email.errors.HeaderParseError, LookupError, ValueError):
        return value


def _upstream_status(head: str, name: str) -> tuple[str, str]:
    found = _STATUS.findall(head)
    known = ", ".join(STATUSES)
    hint = f"add a line like `Upstream-Status: Submitted [address]` to its message; known words: {known}"
    if not found:
        msg = f"{name}: no Upstream-Status line"
        raise PatchError(msg, hint=hint)
    word, _, note = found[-1].strip().partition(" ")
    if word not in STATUSES:
        msg = f"{name}: Upstream-Status is {word!r}"
        raise PatchError(msg, hint=hint)
    return word, note.strip().removeprefix("[").removesuffix("]")
