"""Steps run when what they wait for is done; heavy ones in turn; the first failure and Ctrl-C end the rest."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from step_order import too_early

from bringup.errors import BringupError, BuildError, Interrupted
from bringup.model.plan import Decision, Phase, Step
from bringup.schedule import WORKERS, run_steps
from bringup.system import process


def step(name: str, *after: str, decision: Decision = Decision.RUN) -> Step:
    return Step(
        package=name, phase=Phase.BUILD, decision=decision, why="", fingerprint="",
        after=tuple(f"{one}:build" for one in after),
    )  # fmt: skip


class Recorder:
    """Work that takes a moment and remembers what ran when."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.lock = threading.Lock()
        self.done: list[str] = []
        self.now: set[str] = set()
        self.together: set[frozenset[str]] = set()

    def __call__(self, one: Step) -> None:
        with self.lock:
            self.now.add(one.package)
            self.together.add(frozenset(self.now))
        time.sleep(self.seconds)
        with self.lock:
            self.now.remove(one.package)
            self.done.append(one.package)


def run(steps: list[Step], work: Callable[[Step], None], heavy: str = "") -> threading.Event:
    stopping = threading.Event()
    run_steps(steps, work, heavy=lambda one: one.package in heavy.split(), stopping=stopping)
    return stopping


def test_order_follows_after():
    work = Recorder(0)
    run([step("a"), step("b", "a"), step("c", "b"), step("d", "a", "c")], work)
    assert work.done == ["a", "b", "c", "d"]


def test_steps_that_are_not_to_run_count_as_done():
    work = Recorder(0)
    run([step("a", decision=Decision.REUSE), step("b", "a"), step("c", "x", decision=Decision.SKIP)], work)
    assert work.done == ["b"]


def test_independent_steps_run_together():
    gate = threading.Barrier(3, timeout=10)
    run([step("a"), step("b"), step("c")], lambda _one: gate.wait() and None)


def test_heavy_steps_run_one_at_a_time_beside_light_ones():
    work = Recorder()
    run([step("h1"), step("h2"), step("h3"), step("light")], work, heavy="h1 h2 h3")
    assert sorted(work.done) == ["h1", "h2", "h3", "light"]
    assert not [group for group in work.together if len(group & {"h1", "h2", "h3"}) > 1]
    assert any("light" in group and len(group) > 1 for group in work.together)


def test_failure_is_raised_and_nothing_new_starts():
    ran: list[str] = []

    def work(one: Step) -> None:
        ran.append(one.package)
        if one.package == "bad":
            msg = "broken"
            raise BuildError(msg)

    with pytest.raises(BuildError, match="broken"):
        run([step("bad"), step("later", "bad")], work)
    assert ran == ["bad"]


def test_failure_ends_commands_of_the_others():
    started = threading.Event()
    ended: list[str] = []

    def work(one: Step) -> None:
        if one.package == "bad":
            assert started.wait(10)
            msg = "broken"
            raise BuildError(msg)
        try:
            process.run(
                ["sh", "-c", "echo up; exec sleep 60"], env={"PATH": "/usr/bin:/bin"}, on_line=lambda _: started.set()
            )
        except BringupError as exc:
            ended.append(exc.message)
            raise

    begin = time.monotonic()
    with pytest.raises(BuildError, match="broken"):
        run([step("long"), step("bad")], work)
    assert time.monotonic() - begin < 10
    assert ["SIGTERM" in message for message in ended] == [True]


def test_heavy_step_that_waits_for_its_turn_does_not_start_after_a_failure():
    ran: list[str] = []
    started = threading.Event()

    def work(one: Step) -> None:
        ran.append(one.package)
        started.set()
        time.sleep(0.02)
        msg = "broken"
        raise BuildError(msg)

    with pytest.raises(BuildError):
        run([step("h1"), step("h2"), step("h3")], work, heavy="h1 h2 h3")
    assert len(ran) == 1


def test_step_that_tries_again_and_again_is_ended_all_the_same():
    """The first command of the long step is ended with the others; so are those that it starts afterwards."""
    up = threading.Event()

    def work(one: Step) -> None:
        if one.package == "bad":
            assert up.wait(10)
            msg = "broken"
            raise BuildError(msg)
        for _ in range(5):
            up.set()
            process.run(["sleep", "30"], env={"PATH": "/usr/bin:/bin"}, check=False)

    begin = time.monotonic()
    with pytest.raises(BuildError, match="broken"):
        run([step("long"), step("bad")], work)
    assert time.monotonic() - begin < 10


def test_steps_that_wait_for_a_worker_do_not_start_after_a_failure():
    ran: list[str] = []

    def work(one: Step) -> None:
        ran.append(one.package)
        time.sleep(0.02)
        msg = "broken"
        raise BuildError(msg)

    with pytest.raises(BuildError):
        run([step(f"s{number}") for number in range(40)], work)
    assert len(ran) <= WORKERS


def test_bug_in_a_step_is_raised_as_it_is():
    def work(_one: Step) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([step("a")], work)


def test_ctrl_c_ends_commands_and_says_what_is_next():
    def work(_one: Step) -> None:
        process.run(
            ["sh", "-c", "echo up; exec sleep 60"],
            env={"PATH": "/usr/bin:/bin"},
            on_line=lambda _: os.kill(os.getpid(), signal.SIGINT),
        )

    begin = time.monotonic()
    stopping = threading.Event()
    with pytest.raises(Interrupted) as caught:
        run_steps([step("a"), step("b", "a")], work, heavy=lambda _: True, stopping=stopping)
    assert time.monotonic() - begin < 10
    assert stopping.is_set()
    assert caught.value.exit_code == 130
    assert "goes on where it stopped" in caught.value.hint


def test_order_of_a_plan_is_checked():
    assert too_early([step("a"), step("b", "a", "elsewhere")]) == []
    assert too_early([step("b", "a"), step("a")]) == ["b:build comes before a:build"]
