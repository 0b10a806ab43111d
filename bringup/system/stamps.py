"""Whether a file is still the one that was read before, told without reading it: size, times, inode.

Two edits within one tick of a file system's clock leave the same times. So a stamp is trusted only if the file had
rested for longer than the coarsest clock when it was taken; git calls such entries racy and does the same.
"""

from __future__ import annotations

import os
import time

# FAT counts in two seconds, NFS and ext3 in one.
TICK_NS = 2_000_000_000


def stamp(name: str | os.PathLike[str]) -> list[int]:
    """Return size, modification time, inode and change time (ns) of a file; empty if it is not there.

    The change time cannot be set back, so a file that was edited and given its old modification time is seen.
    """
    try:
        stat = os.stat(name)  # noqa: PTH116 - the hot path of every plan
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]


def rested(taken: list[int], when_ns: int) -> bool:
    """Tell whether a file had not been touched for a tick before `when_ns`, when it was read.

    A file from the future (a clock was set back) has not rested.
    """
    return not taken or taken[1] + TICK_NS < when_ns


def now_ns() -> int:
    """Return the time that stamps are compared with; take it before the file is read."""
    return time.time_ns()
