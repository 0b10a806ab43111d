"""What people see: lines without a terminal, one live line on it, tables, times in words."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from helpers.data_root import Recipe
from helpers.plans import World

from bringup import report
from bringup.context import Outcome
from bringup.model.hooks import Progress
from bringup.model.plan import Decision, Phase, Step
from bringup.model.verify import Check, Level, Status
from bringup.report import (
    Console,
    duration,
    level_lines,
    nothing_to_do,
    plan_lines,
    progress_text,
    shown,
    summary_lines,
)

STEP = Step(package="alpha", phase=Phase.BUILD, decision=Decision.RUN, why="it was never built", fingerprint="f")
OTHER = Step(package="beta", phase=Phase.FETCH, decision=Decision.RUN, why="", fingerprint="f")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (0.44, "0.4 s"), (9.99, "10.0 s"), (12.4, "12 s"), (59.4, "59 s"), (59.7, "1 min 00 s"),
        (60, "1 min 00 s"), (185, "3 min 05 s"), (3599.6, "1 h 00 min"), (4800, "1 h 20 min"), (90_000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(done=12, total=36, now="prefill", eta_seconds=240), "12/36 prefill, about 4 min 00 s left"),
        (Progress(done=0, total=0, now="7 MiB fetched"), "7 MiB fetched"),
        (Progress(done=1, total=2, now=""), "1/2"),
    ],
)
def test_progress_in_words(progress: Progress, text: str):
    assert progress_text(progress) == text


def test_of_many_running_units_a_few_are_named():
    text = progress_text(Progress(done=2, total=33, now=", ".join(f"unit{n}" for n in range(30))))
    assert text == "2/33 unit0, unit1, unit2 and 27 more"


def test_lines_without_a_terminal():
    out = io.StringIO()
    console = Console(out)
    console.started(STEP)
    console.progress(STEP, Progress(done=1, total=2, now="x"))
    console.finished(STEP, Outcome(note="one wheel"), 12)
    console.failed(OTHER, 0.5, stopped=False)
    console.failed(OTHER, 0.5, stopped=True)
    console.line("end")
    assert out.getvalue() == (
        "  done  alpha build                          12 s  one wheel\n"
        "  FAIL  beta fetch                          0.5 s\n"
        "  stop  beta fetch                          0.5 s\n"
        "end\n"
    )


def test_progress_without_a_terminal_comes_now_and_then(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "QUIET_SECONDS", 0.0)
    out = io.StringIO()
    console = Console(out)
    console.started(STEP)
    console.progress(STEP, Progress(done=1, total=2, now="x"))
    assert out.getvalue() == "  ...   alpha build  1/2 x\n"


def screen(text: str) -> list[str]:
    """Return what a terminal shows after this output."""
    lines = [""]
    for part in text.replace("\r\x1b[K", "\0").replace("\n", "\n\1").split("\1"):
        body, newline, _ = part.partition("\n")
        lines[-1] = body.rpartition("\0")[2] if "\0" in body else lines[-1] + body
        if newline:
            lines.append("")
    return lines


def test_live_line_is_written_over_and_never_stays():
    out = io.StringIO()
    console = Console(out, live=True)
    console.started(STEP)
    console.started(OTHER)
    assert screen(out.getvalue()) == ["alpha build  |  beta fetch"]
    console.progress(STEP, Progress(done=1, total=9, now="x"))
    console.line("hello")
    assert screen(out.getvalue()) == ["hello", "alpha build  1/9 x  |  beta fetch"]
    console.finished(OTHER, Outcome(note="url"), 1)
    console.failed(STEP, 2, stopped=False)
    shown_lines = screen(out.getvalue())
    assert shown_lines[0] == "hello"
    assert shown_lines[1].startswith("  done  beta fetch")
    assert shown_lines[2].startswith("  FAIL  alpha build")
    assert shown_lines[3] == ""


def test_live_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "30")
    out = io.StringIO()
    console = Console(out, live=True)
    console.started(STEP)
    console.progress(STEP, Progress(done=1, total=2, now="x" * 200))
    assert len(screen(out.getvalue())[-1]) == 29


def test_many_threads_write_whole_lines():
    out = io.StringIO()
    console = Console(out, live=False)

    def work(name: str) -> None:
        for _ in range(200):
            console.line(name * 20)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(set(out.getvalue().splitlines())) == [name * 20 for name in "abcd"]


# --- tables -------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path):

    return World(tmp_path, Recipe(name="alpha", env={"FLAG": "1"}), Recipe(name="beta", needs=("alpha",)))


def test_plan_for_people(world):
    lines = plan_lines(world.plan())
    assert lines[0] == "h200-cu130-cp311  stack tiny: A stack for a test"
    assert "  run   alpha build           it was never built" in lines
    assert "  reuse cuda prepare          cuda here" in lines


def test_plan_explains_one_package(world):
    plan = world.plan()
    text = "\n".join(plan_lines(plan, why="alpha"))
    assert f"fingerprint {plan.fingerprints['alpha']}, over:" in text
    assert "environment variables: {'FLAG': '1'}" in text
    assert "beta" not in text


def test_nothing_to_do_names_what_is_reused(world):
    world.known.carry_out(world.plan())
    plan = world.plan()
    assert nothing_to_do(plan) == [
        "h200-cu130-cp311  stack tiny: nothing to do",
        f"  alpha build: nothing changed since it was built ({plan.fingerprints['alpha'][:12]})",
        f"  beta build: nothing changed since it was built ({plan.fingerprints['beta'][:12]})",
    ]


def level(status: Status, *checks: Check, warnings: tuple[str, ...] = ()) -> Level:
    return Level(level="static", status=status, why="because", seconds=1.5, checks=checks, warnings=warnings)


def test_summary_holds_steps_levels_and_warnings(world):
    levels = [level(Status.OK), level(Status.SKIPPED, warnings=("old driver",))]
    lines = summary_lines(world.plan(), [(STEP, 75.0, "one wheel")], levels)
    assert lines[1:3] == ["h200-cu130-cp311  stack tiny", "  alpha build    1 min 15 s  one wheel"]
    assert [line.split() for line in lines[3:5]] == [
        ["verify", "static", "OK", "because"], ["verify", "static", "SKIPPED", "because"],
    ]  # fmt: skip
    assert lines[5] == "          warning: old driver"


def test_levels_show_what_is_not_ok():
    fine, bad = Check(id="a", status=Status.OK, why="fine"), Check(id="b", status=Status.FAIL, why="sm_80 only")
    assert len(level_lines([level(Status.OK, fine)])) == 1
    failed = level_lines([level(Status.FAIL, fine, bad)])
    assert failed[0].split()[:2] == ["static", "FAIL"]
    assert failed[0].endswith("1 of 2 checks fail")
    assert [line.strip() for line in failed[1:]] == ["FAIL     b: sm_80 only"]


def test_one_cause_of_many_checks_is_shown_once():
    checks = [Check(id=f"flashinfer.op.{name}", status=Status.FAIL, why="sm_80 only") for name in "abc"]
    lines = level_lines([level(Status.FAIL, *checks)])
    assert [line.strip() for line in lines[1:]] == ["FAIL     flashinfer.op.a and 2 more: sm_80 only"]


def test_warnings_of_a_level_are_shown():
    assert (
        level_lines([level(Status.OK, warnings=("the GPU is not idle",))])[-1].strip() == "warning  the GPU is not idle"
    )


def test_long_values_are_cut():
    assert shown({"a": "x" * 500}).endswith(" ...")
    assert len(shown("x" * 500)) == 160
    assert shown([1, 2]) == "[1, 2]"


def test_summary_fits_a_hundred_columns_and_keeps_paths_whole(world):
    note = "13 modules " * 20 + "/a/path/" + "x" * 120
    levels = [level(Status.SKIPPED, warnings=("word " * 60,))]
    lines = summary_lines(world.plan(), [(STEP, 75.0, note)], levels)
    assert all(len(line) <= 100 or "/a/path/" in line for line in lines)
    assert " ".join(" ".join(lines).split()).count("13 modules") == 20
    below = [line for line in lines if line.startswith(" " * 20)]
    assert below
    assert any("/a/path/" + "x" * 120 in line for line in lines)
