"""The timeline of a run as a trace.json that Perfetto and chrome://tracing open.

Form: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("Trace Event Format").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bringup.building.unit_history import Unit, read_units
from bringup.stats.runs import PARTS, Run, StepRun, read_run
from bringup.system.fs import write_atomic
from bringup.system.layout import Layout

STEPS, COMPILERS = 1, 2


def write_trace(layout: Layout) -> None:
    """Write trace.json from the records of a target's last run; without such a record nothing is written.

    Raises:
        StorageError: it cannot be written.
    """
    run = read_run(layout.run)
    if run is None:
        return
    units = read_units(layout.units, run=run.units) if run.units else ()
    write_atomic(layout.trace, msgspec.json.encode(trace(run, units)), durable=False)


def trace(run: Run, units: Iterable[Unit]) -> dict[str, Any]:
    """Return the document: steps in one group of rows, compilers in another, each on its slot's row."""
    events: list[dict[str, Any]] = [_name(STEPS, "steps"), _name(COMPILERS, "compilers")]
    for row, step in zip(rows(run.steps), run.steps, strict=True):
        args = {"outcome": step.outcome, **{name: getattr(step, name) for name in PARTS}}
        events.append(_bar(run, step.step, "step", (STEPS, row), (step.start, step.seconds), args))
    for unit in units:
        args = {
            "source": unit.key,
            "cpu_seconds": unit.cpu,
            "peak_mib": unit.rss_kib >> 10,
            "reserved_mib": unit.need_mib,
            "waited_seconds": unit.wait,
            "waited_for": unit.why,
            "exit": unit.exit,
            "signal": unit.signal,
        }
        events.append(_bar(run, unit.name, unit.lang, (COMPILERS, unit.slot), (unit.start, unit.wall), args))
    about = {"target": run.target, "stack": run.stack, "outcome": run.outcome, "jobs": run.jobs}
    return {"displayTimeUnit": "ms", "otherData": about, "traceEvents": events}


def rows(steps: Sequence[StepRun]) -> list[int]:
    """Return a row for each step, such that steps of one row do not overlap."""
    ends: list[float] = []
    found = [0] * len(steps)
    for index in sorted(range(len(steps)), key=lambda index: steps[index].start):
        step = steps[index]
        row = next((row for row, end in enumerate(ends) if end <= step.start), len(ends))
        ends[row : row + 1] = [step.end]
        found[index] = row
    return found


def _bar(
    run: Run, name: str, kind: str, place: tuple[int, int], when: tuple[float, float], args: dict[str, Any]
) -> dict[str, Any]:
    start, seconds = when
    micros = round((start - run.started) * 1e6), max(0, round(seconds * 1e6))
    return {
        "ph": "X", "name": name, "cat": kind, "pid": place[0], "tid": place[1], "ts": micros[0], "dur": micros[1],
        "args": args,
    }  # fmt: skip


def _name(group: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": "process_name", "pid": group, "tid": 0, "args": {"name": name}}
