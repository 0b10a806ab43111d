"""The timeline: every bar in its group and row, times relative to the start."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bringup.stats.runs import DONE, FAILED, Run, RunLog, StepRun, read_run
from bringup.stats.trace import rows, write_trace
from bringup.system.layout import Layout


def bars(layout: Layout) -> dict[str, dict[str, Any]]:
    document = json.loads(layout.trace.read_bytes())
    return {event["name"]: event for event in document["traceEvents"] if event["ph"] == "X"}


def test_steps_and_units_have_their_rows(layout: Layout):
    write_trace(layout)
    found = bars(layout)
    assert len(found) == 9
    build, unit = found["alpha:build"], found["c.cu"]
    assert (build["pid"], build["ts"], build["dur"]) == (1, 10_000_000, 20_000_000)
    assert (unit["pid"], unit["tid"], unit["ts"], unit["dur"]) == (2, 0, 17_000_000, 12_000_000)
    assert (unit["args"]["waited_for"], unit["args"]["peak_mib"]) == ("memory", 500)
    assert found["alpha:fetch"]["tid"] != found["beta:fetch"]["tid"]


def test_only_units_of_the_run_are_in_it(layout: Layout, change_run: Callable[..., Run]):
    change_run(units="")
    write_trace(layout)
    assert {event["pid"] for event in bars(layout).values()} == {1}


def test_rows_hold_no_two_at_once(run: Run):
    found = rows(run.steps)
    for row in set(found):
        ends = 0.0
        for step in sorted(
            (step for step, at in zip(run.steps, found, strict=True) if at == row), key=lambda s: s.start
        ):
            assert step.start >= ends
            ends = step.end
    assert max(found) == 1


def test_without_a_record_nothing_is_written(layout: Layout):
    layout.run.write_text('{"schema": 1')
    write_trace(layout)
    assert not layout.trace.exists()


def test_a_failed_step_is_in_the_record_and_the_timeline(layout: Layout):
    start = Run(target="t", stack="s", started=1000, jobs=2, memory_mib=10)
    log = RunLog(layout.run, start)
    assert (read_run(layout.run) or start).outcome == "running"
    log.ended(StepRun(step="alpha:fetch", start=1000, seconds=1, outcome=DONE))
    log.ended(StepRun(step="alpha:build", after=("alpha:fetch",), start=1001, seconds=2, outcome=FAILED))
    log.close(FAILED)
    found = read_run(layout.run)
    assert found is not None
    assert (found.outcome, len(found.steps)) == ("failed", 2)
    write_trace(layout)
    assert bars(layout)["alpha:build"]["args"]["outcome"] == "failed"


def test_a_clock_that_is_set_back_makes_no_run_of_less_than_nothing(layout: Layout):
    log = RunLog(layout.run, Run(target="t", stack="s", started=4_000_000_000, jobs=2, memory_mib=10))
    log.close(DONE)
    found = read_run(layout.run)
    assert found is not None
    assert 0 <= found.seconds < 100


def test_a_record_that_cannot_be_written_ends_no_build(layout: Layout):
    layout.run.unlink()
    layout.run.mkdir()
    log = RunLog(layout.run, Run(target="t", stack="s", started=1000, jobs=2, memory_mib=10))
    log.close(DONE)
    assert layout.run.is_dir()
