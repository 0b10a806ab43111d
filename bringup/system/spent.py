"""Where the seconds of a step go that are neither a command's nor our own: the network, and unpacking.

Measured around the very calls that download or unpack, in the thread that waits for them. Seconds of commands that run
meanwhile, and of a measurement within another, are counted there and not twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from bringup.system.process import tool_seconds

Kind = Literal["download", "unpack"]
KINDS: tuple[Kind, ...] = ("download", "unpack")

_clocks = threading.local()


@contextmanager
def spent_on(kind: Kind) -> Iterator[None]:
    """Count the wall seconds of the block as spent on downloading or unpacking, also if it fails."""
    started, before = time.monotonic(), _counted()
    try:
        yield
    finally:
        elsewhere = _counted() - before
        setattr(_clocks, kind, spent(kind) + max(0.0, time.monotonic() - started - elsewhere))


def spent(kind: Kind) -> float:
    """Return the wall seconds that this thread has spent on this so far."""
    return float(getattr(_clocks, kind, 0.0))


def _counted() -> float:
    return tool_seconds() + sum(spent(kind) for kind in KINDS)
