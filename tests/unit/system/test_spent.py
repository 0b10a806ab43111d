"""Seconds of downloading and unpacking: each counted once, and for the thread that waited."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bringup.system import process
from bringup.system.spent import spent, spent_on


def fresh(work):
    """Run `work` in a thread of its own, whose clocks are at zero, and return its seconds of each kind."""
    told = []
    thread = threading.Thread(target=lambda: (work(), told.append((spent("download"), spent("unpack")))))
    thread.start()
    thread.join()
    return told[0]


def test_seconds_are_counted_by_kind_and_thread():
    def work():
        with spent_on("unpack"):
            time.sleep(0.02)

    before = spent("unpack")
    download, unpack = fresh(work)
    assert download == 0
    assert unpack >= 0.02
    assert spent("unpack") == before


def test_commands_and_measurements_inside_count_there_and_not_twice():
    def work():
        with spent_on("download"):
            process.run(["sleep", "0.02"], env={"PATH": "/usr/bin:/bin"})
            with spent_on("unpack"):
                time.sleep(0.02)
            told.append(time.monotonic())

    told = [time.monotonic()]
    download, unpack = fresh(work)
    whole = told[1] - told[0]
    assert unpack >= 0.02
    assert download <= whole - 0.04 + 0.001


def test_seconds_until_a_failure_count():
    def work():
        with pytest.raises(FileNotFoundError), spent_on("download"):
            (time.sleep(0.01), Path("/nonexistent").read_text())

    assert fresh(work)[0] >= 0.01
