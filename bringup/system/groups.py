"""Processes by id: when one started, and the end of all that it has started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

GRACE_SECONDS = 5.0


def start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" if there is none. Tells reused ids apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def end_tree(pid: int) -> None:
    """Send SIGTERM to the session that `pid` leads, and SIGKILL to what is left after a grace period."""
    for sig, grace in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 1.0)):
        try:
            os.killpg(pid, sig)
        except (ProcessLookupError, PermissionError):
            return
        limit = time.monotonic() + grace
        while time.monotonic() < limit:
            if not _group_alive(pid):
                return
            time.sleep(0.02)


def _group_alive(pgid: int) -> bool:
    with os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if int(fields[2]) == pgid and fields[0] not in "ZX":
                return True
    return False
