"""What archive readers share: the error for hostile or damaged input, and places that are safe to write to."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bringup.errors import FetchError

CHUNK = 1 << 20


class ArchiveError(FetchError):
    """An archive is damaged, truncated or built to write outside its folder; the message names archive and member."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with a package.

    Attributes:
        path: file inside the package that it is about; the package's own name if it is about the whole.
        why: one sentence that says what was expected and what is there.
    """

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def member_parts(name: str, *, archive: Path) -> tuple[str, ...]:
    """Return the components of a member's name.

    Raises:
        ArchiveError: the name is absolute, has a `..`, a backslash or a NUL in it.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        msg = f"{archive.name}: member {name[:200]!r} points outside of the archive"
        raise ArchiveError(msg, hint="do not use this file; fetch it again from a source you trust")
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        msg = f"{archive.name}: member {name[:80]!r}... has a name that no file system takes"
        raise ArchiveError(msg)
    return parts


class Destination:
    """A folder that an archive is unpacked into and that nothing is written outside of.

    Folders that were checked are remembered. That is sound because a folder, once there, is never removed or replaced.
    """

    def __init__(self, root: Path, *, archive: Path) -> None:
        """Make the folder; `archive` is named in errors."""
        root.mkdir(parents=True, exist_ok=True)
        self.root = Path(os.path.realpath(root))
        self._archive = archive
        self._folders: dict[tuple[str, ...], Path] = {(): self.root}

    def folder(self, parts: tuple[str, ...]) -> Path:
        """Return the real path of a folder, made if it is not there.

        Raises:
            ArchiveError: a link on the way leads outside of the root, or a file is in the way.
        """
        known = self._folders.get(parts)
        if known is not None:
            return known
        path = self.folder(parts[:-1]) / parts[-1]
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.root):
            msg = f"{self._archive.name}: member {'/'.join(parts)} would be written through a link to {real}"
            raise ArchiveError(msg)
        try:
            real.mkdir(exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as exc:
            msg = f"{self._archive.name}: member {'/'.join(parts)} is used as a folder, but is a file or a dead link"
            raise ArchiveError(msg) from exc
        self._folders[parts] = real
        return real

    def place(self, parts: tuple[str, ...]) -> Path:
        """Return where a file or link goes, with nothing there yet.

        Raises:
            ArchiveError: a folder of that name exists.
        """
        if not parts:
            msg = f"{self._archive.name}: a member without a name"
            raise ArchiveError(msg)
        path = self.folder(parts[:-1]) / parts[-1]
        try:
            path.unlink(missing_ok=True)
        except (IsADirectoryError, PermissionError) as exc:
            if path.is_dir() and not path.is_symlink():
                msg = f"{self._archive.name}: member {'/'.join(parts)} is both a folder and a file"
                raise ArchiveError(msg) from exc
            raise
        return path


def copy_stream(source: IO[bytes], target: Path, *, mode: int, mtime: float | None = None) -> None:
    """Write all of `source` to a new file with permission bits `mode` (never set-uid, set-gid or sticky)."""
    with target.open("xb") as sink:
        shutil.copyfileobj(source, sink, CHUNK)
        sink.flush()  # or the last write would come after the time is set
        os.fchmod(sink.fileno(), (mode & 0o777) | 0o600)
        if mtime is not None:
            os.utime(sink.fileno(), (mtime, mtime))
