"""Times of files, which the kernel takes from a clock that ticks some hundred times a second."""

from __future__ import annotations

import time
from pathlib import Path


def next_tick(folder: Path) -> None:
    """Wait until a file that is written has another time than what was written before."""
    probe = folder / "tick.probe"
    probe.write_text("")
    first = probe.stat().st_ctime_ns
    for _ in range(1000):
        other = folder / "tick.probe.next"
        other.write_text("")
        if other.stat().st_ctime_ns > first:
            other.unlink()
            probe.unlink()
            return
        other.unlink()
        time.sleep(0.001)
    msg = f"the clock of {folder} stands still"
    raise AssertionError(msg)
