"""The critical path of a run and what bounded it. Pure: records in, an answer out.

The path goes back from the step that ended last, each time to that step, among those it came after, which ended last.

Its seconds are divided among five causes by these rules, the first that fits:

- network: steps that fetch, that make the toolchain, a build environment, or install published distributions;
- within a build, at each moment: *memory* while a unit waits for memory or pressure; *cores* while as many compilers
  run as there are jobs; *one unit* while a single one runs;
- other: the rest, as configuring, packing, verifying, and compilers that leave no records.

What has most seconds bounded the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bringup.building.unit_history import Unit
from bringup.stats.runs import Run, StepRun

NETWORK, MEMORY, CORES, ONE_UNIT, OTHER = "network", "memory", "cores", "one unit", "other"
FOR_MEMORY = ("memory", "pressure", "alone")


@dataclass(frozen=True, kw_only=True, slots=True)
class Critical:
    """What decided how long a run took.

    Attributes:
        path: steps in the order they ran.
        shares: seconds of the path by cause, those without any left out.
        bound: the cause with most seconds; "" for an empty path.
        unit: the unit that ran alone longest on the path; "" if none did.
        unit_seconds: how long.
    """

    path: tuple[StepRun, ...]
    shares: Mapping[str, float]
    bound: str
    unit: str = ""
    unit_seconds: float = 0

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the path's steps."""
        return sum(step.seconds for step in self.path)


def critical(run: Run, units: Sequence[Unit]) -> Critical:
    """Return the critical path of a run and what bounded it.

    Args:
        run: its record.
        units: its compiled units, of all packages.
    """
    path = critical_path(run)
    shares: dict[str, float] = {}
    alone: dict[str, float] = {}
    for step in path:
        if is_network(step.step):
            _add(shares, NETWORK, step.seconds)
            continue
        inside = 0.0
        if step.step.endswith(":build"):
            for cause, seconds, names in _moments(step, units, run.jobs):
                _add(shares, cause, seconds)
                inside += seconds
                if cause == ONE_UNIT:
                    _add(alone, names[0], seconds)
        _add(shares, OTHER, max(0.0, step.seconds - inside))
    shares = {cause: round(seconds, 2) for cause, seconds in shares.items() if seconds >= 0.005}
    bound = max(shares, key=lambda cause: shares[cause]) if shares else ""
    unit = max(alone, key=lambda name: alone[name]) if alone else ""
    seconds = round(alone.get(unit, 0.0), 2)
    return Critical(path=path, shares=shares, bound=bound, unit=unit, unit_seconds=seconds)


def is_network(step_id: str) -> bool:
    """Tell whether a step mostly waits for the network, or for the cache that stands in for it."""
    return step_id.endswith((":fetch", ":prepare")) or step_id == "requirements:install"


def critical_path(run: Run) -> tuple[StepRun, ...]:
    """Return the steps that decided when the run ended; steps that did not run are passed through."""
    ran = {step.step: step for step in run.steps}
    if not ran:
        return ()
    order = {**run.order, **{step.step: step.after for step in run.steps}}
    path = [max(run.steps, key=lambda step: step.end)]
    seen = {path[0].step}
    while True:
        before = [ran[name] for name in _before(path[-1].step, order, ran) if name not in seen]
        if not before:
            return tuple(reversed(path))
        path.append(max(before, key=lambda step: step.end))
        seen.add(path[-1].step)


def _before(step_id: str, order: Mapping[str, Sequence[str]], ran: Mapping[str, StepRun]) -> set[str]:
    """Return the nearest steps before one that did run."""
    found: set[str] = set()
    seen: set[str] = set()
    todo = list(order.get(step_id, ()))
    while todo:
        name = todo.pop()
        if name in ran:
            found.add(name)
        elif name not in seen:
            seen.add(name)
            todo += order.get(name, ())
    return found


def _moments(step: StepRun, units: Sequence[Unit], jobs: int) -> list[tuple[str, float, list[str]]]:
    """Return (cause, seconds, what ran) for each stretch of a build step in which compilers ran or waited."""
    events: list[tuple[float, int, int, str]] = []
    for unit in units:
        end = unit.start + unit.wall
        _between(events, step, unit.start, end, (1, 0, unit.name))
        if unit.why in FOR_MEMORY:
            _between(events, step, unit.start - unit.wait, unit.start, (0, 1, unit.name))
    events.sort(key=lambda event: event[0])
    found = []
    running: dict[str, int] = {}
    count = waiting = 0
    for index, (at, runs, waits, name) in enumerate(events):
        count += runs
        waiting += waits
        if runs:
            running[name] = running.get(name, 0) + runs
            if not running[name]:
                del running[name]
        until = events[index + 1][0] if index + 1 < len(events) else at
        if until > at and (count or waiting):
            cause = MEMORY if waiting else CORES if count >= jobs else ONE_UNIT if count == 1 else OTHER
            found.append((cause, until - at, list(running)[:1]))
    return found


def _between(
    events: list[tuple[float, int, int, str]], step: StepRun, start: float, end: float, what: tuple[int, int, str]
) -> None:
    """Add begin and end of a stretch, as far as it lies within the step."""
    start, end = max(start, step.start), min(end, step.end)
    if end > start:
        runs, waits, name = what
        events += [(start, runs, waits, name), (end, -runs, -waits, name)]


def _add(sums: dict[str, float], key: str, value: float) -> None:
    sums[key] = sums.get(key, 0.0) + value
