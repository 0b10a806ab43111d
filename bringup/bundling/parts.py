"""One stream of files cut into parts of a limited size, each with its hash, so that parts travel in any order."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from bringup.system.fs import make_dir, storage_errors, write_atomic

BLOCK = 1 << 20
SUMS = "parts.sha256"


class PartWriter:
    """A file object that writes to part-0000, part-0001 ... in a folder.

    Args:
        folder: where the parts go.
        size: bytes of a part at most.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = make_dir(folder)
        self._size = size
        self._file: IO[bytes] | None = None
        self._room = 0
        self._digest = hashlib.sha256()
        self.sums: list[tuple[str, str]] = []

    def write(self, data: bytes) -> int:
        """Write bytes, beginning new parts as needed."""
        view = memoryview(data)
        while view:
            if self._room == 0:
                self._next()
            assert self._file is not None
            piece = view[: self._room]
            with storage_errors(self._folder):
                self._file.write(piece)
            self._digest.update(piece)
            self._room -= len(piece)
            view = view[len(piece) :]
        return len(data)

    def close(self) -> None:
        """End the last part."""
        if self._file is not None:
            with storage_errors(self._folder):
                self._file.close()
            self.sums.append((self._digest.hexdigest(), f"part-{len(self.sums):04d}"))
            self._file = None
            self._room = 0

    def _next(self) -> None:
        self.close()
        with storage_errors(self._folder):
            self._file = (self._folder / f"part-{len(self.sums):04d}").open("wb")
        self._digest = hashlib.sha256()
        self._room = self._size


def write_parts(
    folder: Path, files: Iterable[tuple[str, Path]], size: int, *, told: Callable[[int], None] | None = None
) -> list[str]:
    """Write files and folders as a tar stream in parts, with parts.sha256 as the last file.

    Args:
        folder: where the parts go.
        files: (name in the stream, path) of each; folders with all that is in them, links as links.
        size: bytes of a part at most.
        told: told the bytes of each thing written.

    Returns:
        Names of the parts.
    """
    writer = PartWriter(folder, size)
    with tarfile.open(fileobj=writer, mode="w|", bufsize=BLOCK, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, path in files:
            tar.add(path, arcname=name, filter=_anonymous)
            if told is not None:
                told(tree_size(path))
    writer.close()
    write_atomic(folder / SUMS, "".join(f"{digest}  {name}\n" for digest, name in writer.sums))
    return [name for _, name in writer.sums]


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def tree_size(path: Path) -> int:
    """Return the bytes of a file or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
