"""Which steps decided how long a run took, and what bounded them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from bringup.building.unit_history import Unit, together_mib
from bringup.stats.critical import critical, critical_path
from bringup.stats.runs import Run


def test_path_goes_back_from_what_ended_last(run: Run):
    assert [step.step for step in critical_path(run)] == ["alpha:fetch", "alpha:build", "environment:install"]


def test_seconds_are_divided_by_the_rules(run: Run, units: list[Unit]):
    found = critical(run, units)
    assert found.seconds == 32
    # fetch; c waits from 14 to 17; a and b fill both jobs from 11 to 14, while nothing waits; c alone from 17 to 29
    assert found.shares == {"network": 10, "cores": 3, "memory": 3, "one unit": 12, "other": 4}
    assert (found.bound, found.unit, found.unit_seconds) == ("one unit", "c.cu", 12)


def test_with_more_jobs_than_compilers_cores_did_not_bound(units: list[Unit], change_run: Callable[..., Run]):
    assert "cores" not in critical(change_run(jobs=3), units).shares


def test_without_units_a_build_is_other(run: Run):
    assert critical(run, []).shares == {"network": 10, "other": 22}


def test_steps_that_did_not_run_are_passed_through(run: Run):
    order = run.order | {"environment:install": ("gone:patch",), "gone:patch": ("beta:build", "gone:patch")}
    install = msgspec.structs.replace(run.steps[-1], after=("gone:patch",))
    changed = msgspec.structs.replace(run, order=order, steps=(*run.steps[:-1], install))
    assert [step.step for step in critical_path(changed)] == ["beta:fetch", "beta:build", "environment:install"]


def test_a_circle_of_steps_ends(run: Run):
    first = msgspec.structs.replace(run.steps[0], after=("environment:install",))
    assert len(critical_path(msgspec.structs.replace(run, steps=(first, *run.steps[1:])))) == 3


def test_run_in_which_nothing_ended(run: Run):
    found = critical(msgspec.structs.replace(run, steps=()), [])
    assert (found.path, found.bound, found.seconds) == ((), "", 0)


@pytest.mark.parametrize(("names", "mib"), [("abcd", 4000), ("cd", 500), ("", 0)])
def test_memory_at_the_same_time(units: list[Unit], names: str, mib: int):
    assert together_mib(unit for unit in units if unit.name[0] in names) == mib
