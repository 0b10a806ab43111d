"""Runs the steps of a plan as soon as what they come after is done, those first that most time comes after."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from bringup.errors import Interrupted
from bringup.model.plan import Decision, Step
from bringup.system import process

WORKERS = 8


def run_steps(
    steps: Sequence[Step],
    work: Callable[[Step], None],
    *,
    heavy: Callable[[Step], bool],
    seconds_of: Callable[[Step], float] = lambda _step: 1.0,
    stopping: threading.Event,
    seconds: float = 0,
) -> None:
    """Run every step whose decision is RUN, in an order that `after` allows.

    Args:
        steps: all steps of the plan; those not to run count as done.
        work: runs one step to its end, or raises.
        heavy: tells, when a step could start, whether it uses all processors by itself; one of these runs at a time.
        seconds_of: tells how long a step will take.
        stopping: set once the run is to end.
        seconds: after which the run is ended; 0 = never.

    Raises:
        BringupError: of the step that failed first; the others are ended.
        Interrupted: Ctrl-C, or the time is over; all commands are ended and what is finished stays recorded.
    """
    todo = {step.id: step for step in steps if step.decision is Decision.RUN}
    running: dict[concurrent.futures.Future[None], Step] = {}
    lengths = path_lengths(steps, seconds_of)
    turn = threading.Lock()
    end = time.monotonic() + seconds if seconds else None

    def one(step: Step) -> None:
        with turn if heavy(step) else contextlib.nullcontext():
            if stopping.is_set():
                return
            try:
                work(step)
            except BaseException:
                stopping.set()  # before the next one gets its turn
                raise

    with concurrent.futures.ThreadPoolExecutor(max_workers=WORKERS) as pool:
        try:
            while todo or running:
                started = {step.id for step in running.values()}
                ready = [step for step in todo.values() if not _waits(step, todo, started)]
                for step in sorted(ready, key=lambda step: -lengths[step.id]):
                    running[pool.submit(one, todo.pop(step.id))] = step
                left = None if end is None else max(0.0, end - time.monotonic())
                done, _ = concurrent.futures.wait(running, left, return_when=concurrent.futures.FIRST_COMPLETED)
                if not done:
                    _time_is_over(seconds)
                for future in done:
                    del running[future]
                    future.result()
        except KeyboardInterrupt as exc:
            _stop(stopping, running)
            msg = "interrupted; what is finished is kept"
            raise Interrupted(msg, hint="the same command goes on where it stopped") from exc
        except BaseException:
            _stop(stopping, running)
            raise


def _time_is_over(seconds: float) -> NoReturn:
    msg = f"the time limit of {seconds:g} s is over; what is finished is kept"
    raise Interrupted(msg, hint="the same command goes on where it stopped")


def _stop(stopping: threading.Event, running: Iterable[concurrent.futures.Future[None]]) -> None:
    """End all commands, again and again until no step runs: one may be just about to start its next command."""
    stopping.set()
    waiting = set(running)
    while True:
        process.end_all()
        _, waiting = concurrent.futures.wait(waiting, timeout=0.02)
        if not waiting:
            return


def path_lengths(steps: Sequence[Step], seconds_of: Callable[[Step], float]) -> dict[str, float]:
    """Return for each step the seconds until the end of the run if all that comes after it starts at once.

    Args:
        steps: in an order that `after` allows.
        seconds_of: tells how long a step will take.
    """
    lengths: dict[str, float] = {step.id: 0.0 for step in steps}
    for step in reversed(steps):
        lengths[step.id] += seconds_of(step) if step.decision is Decision.RUN else 0.0
        for before in step.after:
            if before in lengths:
                lengths[before] = max(lengths[before], lengths[step.id])
    return lengths


def _waits(step: Step, todo: Mapping[str, Step], started: set[str]) -> bool:
    return any(before in todo or before in started for before in step.after)
