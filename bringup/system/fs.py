"""Files and folders: atomic writes, swaps, removal, disk space. Storage problems become StorageError."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bringup.errors import StorageError

BLOCK = 1 << 20
USED_NS = 3_600_000_000_000


_REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
}
_OF_TARGET = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_ROOM_HINT = "free some space (`invoke clean`, `invoke gc`) or choose another folder with --build-dir"


@contextlib.contextmanager
def storage_errors(path: Path, *, every: bool = False) -> Iterator[None]:
    """Turn a full disk, a read-only file system and missing permission into StorageError that names `path`.

    With `every` any other OSError becomes one too: for work whose files only a disk can spoil.
    """
    try:
        yield
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0, "")
        if not reason and not every:
            raise
        # Of a copy's two files it is the second that a disk has no room for.
        place = (exc.filename2 if exc.errno in _OF_TARGET else None) or exc.filename or path
        msg = f"{place}: {reason or exc.strerror or exc}"
        raise StorageError(msg, hint=_ROOM_HINT if reason else "") from exc


def make_dir(path: Path) -> Path:
    """Create a folder with its parents and return it."""
    with storage_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as exc:
            msg = f"{path}: a file stands where a folder should be"
            raise StorageError(msg, hint="remove it, or choose another folder") from exc
        except FileNotFoundError as exc:  # /proc, an automounter
            msg = f"{path}: this file system takes no new folders"
            raise StorageError(msg, hint="choose another folder") from exc
    return path


def write_atomic(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new one.

    That holds after a power failure too, unless `durable` is False: for what only saves time or tells of a run.
    """
    data = content.encode() if isinstance(content, str) else content
    with storage_errors(path):
        make_dir(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as sink:
                sink.write(data)
                sink.flush()
                if durable:
                    os.fsync(sink.fileno())
            os.chmod(name, 0o644)  # noqa: PTH101
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108
            raise


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write a value as indented JSON, as `write_atomic` does."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n", durable=durable)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, or None if it is missing or damaged: such a file is made again."""
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):  # bytes that are no UTF-8 are passed on as they are
        return None


def remove_tree(path: Path) -> None:
    """Remove a file, link or folder if it exists; a folder is renamed first, so that nothing half-removed is used."""
    if path.is_symlink() or path.is_file():
        with storage_errors(path):
            path.unlink(missing_ok=True)
        return
    if not path.exists():
        return
    with storage_errors(path):
        doomed = path.with_name(f".{path.name}.removed-{os.getpid()}")
        path.rename(doomed)
        shutil.rmtree(doomed, onerror=_make_writable_and_retry)


def _make_writable_and_retry(function: Any, name: str, _info: Any) -> None:
    parent = Path(name).parent
    parent.chmod(0o755)
    if not Path(name).is_symlink() and Path(name).is_dir():
        Path(name).chmod(0o755)
    function(name)


def point_link(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to `target`, replacing an older link atomically."""
    with storage_errors(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.new-{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(target, link.parent))
        fresh.replace(link)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; raise StorageError if it cannot be read."""
    with storage_errors(path, every=True):
        return sha256_of(path)


def mark_used(path: Path) -> None:
    """Note in a file's access time that it was used now, for `gc`; file systems often do not by themselves.

    Once an hour is enough. A time in the future (the clock was set back) is corrected. A file that belongs to somebody
    else stays as it is.
    """
    with contextlib.suppress(OSError):
        stat = path.stat()
        now = time.time_ns()
        if abs(now - stat.st_atime_ns) > USED_NS:
            os.utime(path, ns=(now, min(stat.st_mtime_ns, now)))


def free_bytes(path: Path) -> int:
    """Return the bytes a user may still write on the file system that holds `path` or its nearest parent."""
    place = path
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file that nobody edits in place; copy it where the file systems differ."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
