"""A run with a time limit ends its commands and says that it can go on."""

from __future__ import annotations

import threading
import time

import pytest

from bringup.errors import BringupError, Interrupted
from bringup.model.plan import Decision, Phase, Step
from bringup.schedule import run_steps
from bringup.system import process


def step(name: str) -> Step:
    return Step(package=name, phase=Phase.BUILD, decision=Decision.RUN, why="", fingerprint="f")


def test_commands_are_ended_when_the_time_is_over():
    ended: list[str] = []
    stopping = threading.Event()

    def work(_: Step) -> None:
        try:
            process.run(["sleep", "60"], env={"PATH": "/usr/bin:/bin"})
        except BringupError as exc:
            ended.append(exc.message)
            raise

    begin = time.monotonic()
    with pytest.raises(Interrupted, match=r"time limit of 0\.3 s is over") as caught:
        run_steps([step("torch")], work, heavy=lambda _: True, stopping=stopping, seconds=0.3)
    assert time.monotonic() - begin < 10
    assert stopping.is_set()
    assert len(ended) == 1
    assert "SIGTERM" in ended[0]
    assert caught.value.exit_code == 130
    assert "same command goes on" in caught.value.hint


def test_a_run_within_its_limit_is_not_disturbed():
    done: list[str] = []
    run_steps(
        [step("torch")],
        lambda one: done.append(one.package),
        heavy=lambda _: True,
        stopping=threading.Event(),
        seconds=5,
    )
    assert done == ["torch"]
