"""The record of a target's last run: `run.json`, written while it runs, read by `stats` and the timeline."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import msgspec

from bringup.errors import BringupError
from bringup.system.fs import write_atomic

PARTS = ("tool_seconds", "cpu_seconds", "download_seconds", "unpack_seconds")
RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"


class StepRun(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run.

    Attributes:
        step: its id, `package:phase`.
        after: ids of the steps that it came after.
        start: seconds since 1970 when it started.
        seconds: wall-clock seconds it took.
        tool_seconds: of these, seconds in which it waited for commands.
        cpu_seconds: CPU seconds of these commands.
        download_seconds: of the wall clock, seconds in which it waited for downloads of ours: the network's.
        unpack_seconds: of the wall clock, seconds in which it unpacked archives.
        outcome: "done", "failed", or "stopped" because something else failed or the run was ended.
    """

    step: str
    after: tuple[str, ...] = ()
    start: float
    seconds: float
    tool_seconds: float = 0
    cpu_seconds: float = 0
    download_seconds: float = 0
    unpack_seconds: float = 0
    outcome: str = DONE

    @property
    def end(self) -> float:
        """Seconds since 1970 when it ended."""
        return self.start + self.seconds


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What run.json holds.

    Attributes:
        schema: version of this shape.
        target: target id.
        stack: stack name.
        started: seconds since 1970.
        seconds: wall-clock seconds so far.
        outcome: "done", "failed", "stopped", or "running": it still does, or was killed.
        jobs: compilers at the same time.
        memory_mib: memory that compilers could use.
        units: `run` of its lines in units.jsonl; "" if it compiled nothing.
        order: for each step of the plan, the steps that it comes after.
        steps: those that ended, in the order in which they did.
    """

    schema: int = 1
    target: str
    stack: str
    started: float
    seconds: float = 0
    outcome: str = RUNNING
    jobs: int
    memory_mib: int
    units: str = ""
    order: dict[str, tuple[str, ...]] = {}
    steps: tuple[StepRun, ...] = ()


def read_run(path: Path) -> Run | None:
    """Return the record of a run; None if there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


class RunLog:
    """Writes the record of a run, anew at each step's end, so that a killed run leaves what it had.

    A record that cannot be written is not worth a build: it is left as it was.

    Args:
        path: run.json.
        run: what is known at the start.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self._path = path
        self._run = run
        self._begun = time.monotonic()  # the other clock may be set while it runs
        self._steps: list[StepRun] = []
        self._lock = threading.Lock()
        self._write(RUNNING)

    def ended(self, step: StepRun) -> None:
        """Add a step that has ended, well or not."""
        with self._lock:
            self._steps.append(step)
            self._write(RUNNING)

    def close(self, outcome: str) -> None:
        """Note how the run ended."""
        with self._lock:
            self._write(outcome)

    def _write(self, outcome: str) -> None:
        seconds = round(time.monotonic() - self._begun, 2)
        run = msgspec.structs.replace(self._run, seconds=seconds, outcome=outcome, steps=tuple(self._steps))
        with contextlib.suppress(BringupError, OSError):
            write_atomic(self._path, msgspec.json.encode(run), durable=False)
