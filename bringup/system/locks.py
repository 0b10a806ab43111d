"""Locks on files, also where the file system has none (NFS without its lock daemon, some FUSE mounts).

With flock the kernel drops a lock when its holder ends. Where flock fails, a file that can be created once says who
holds the lock; one whose holder is gone, or that is old, is broken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from bringup.system.fs import storage_errors
from bringup.system.groups import start_time

# What flock answers where there are no locks.
NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
# A holder on another machine cannot be asked; none of our locks is held that long.
STALE_SECONDS = 1800.0
POLL_SECONDS = 0.05


@contextlib.contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock that a file stands for; it is made in a folder that exists.

    Args:
        path: the lock file.
        wait: wait for another holder.

    Raises:
        BlockingIOError: another one holds it and `wait` is False.
        StorageError: the file cannot be made.
    """
    with storage_errors(path):
        handle = path.open("ab")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in NO_LOCKS:
                raise
        else:
            yield
            return
    with created_lock(path.with_name(f"{path.name}.held"), wait=wait):
        yield


@contextlib.contextmanager
def created_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock by having created a file; the way of last resort of `file_lock`. Raises as it does."""
    me = owner()
    while not _create(path, me):
        if _abandoned(path):
            with contextlib.suppress(OSError):
                path.unlink()
        elif wait:
            time.sleep(POLL_SECONDS)
        else:
            raise BlockingIOError(errno.EWOULDBLOCK, "held by another process", str(path))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text() == me:
                path.unlink()


def owner() -> str:
    """Return what names this process on all machines: host, process id space, process id and start time."""
    return f"{_place()} {os.getpid()} {start_time(os.getpid())}"


def is_alive(who: str) -> bool | None:
    """Tell whether the process that `owner` named still runs; None if it is one of another machine."""
    place, _, rest = who.rpartition(" ")[0].rpartition(" ")
    if place != _place() or not rest.isdigit():
        return None
    return start_time(int(rest)) == who.rpartition(" ")[2]


def _place() -> str:
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path, a name
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"


def _create(path: Path, text: str) -> bool:
    with storage_errors(path):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as sink:
            sink.write(text)
    return True


def _abandoned(path: Path) -> bool:
    try:
        who, age = path.read_text(), time.time() - path.stat().st_mtime
    except OSError:
        return False
    alive = is_alive(who)
    return alive is False or (alive is None and abs(age) > STALE_SECONDS)
