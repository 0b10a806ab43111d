"""What a plan is expected to take, and how sure that is said to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.data_root import Recipe
from helpers.plans import World

from bringup.model.plan import Decision, Phase, Step
from bringup.planning.estimate import StepEstimate, at_once, estimate_plan, estimate_step
from bringup.report import estimate_lines

BUILD = Step(package="alpha", phase=Phase.BUILD, decision=Decision.RUN, why="", fingerprint="f", seconds=100)
FETCH = Step(package="alpha", phase=Phase.FETCH, decision=Decision.RUN, why="", fingerprint="f")
INSTALL = replace(FETCH, package="environment", phase=Phase.INSTALL, after=("alpha:build",))


@pytest.mark.parametrize(
    ("record", "stored", "expected"),
    [
        (None, False, (25, 8000, "recipe", 0)),
        (None, True, (100, 8000, "store", 1)),
        ({"seconds": 7}, True, (7, 8000, "here", 1)),
        ({"seconds": 1, "past": [{"seconds": 9, "peak_mib": 50}, {"seconds": 1}]}, True, (9, 50, "here", 2)),
        ({"seconds": 1, "past": []}, False, (25, 8000, "recipe", 0)),
        ({"past": [3, {"seconds": "x"}]}, False, (25, 8000, "recipe", 0)),
    ],
)
def test_step(record: dict[str, Any] | None, stored: bool, expected: tuple[float, int, str, int]):
    found = estimate_step(replace(BUILD, stored=stored), record, jobs=4, memory_mib=10_000, job_mib=2000)
    assert (found.seconds, found.memory_mib, found.source, found.runs) == expected


def test_memory_is_never_more_than_may_be_used():
    assert estimate_step(BUILD, None, jobs=4, memory_mib=5000, job_mib=2000).memory_mib == 5000


def test_plan_takes_its_longest_chain():
    build, reused = replace(BUILD, after=("alpha:fetch",)), replace(BUILD, package="beta", decision=Decision.REUSE)
    parts = {
        "alpha:fetch": StepEstimate(seconds=0, memory_mib=0, source="unknown"),
        "alpha:build": StepEstimate(seconds=60, memory_mib=2048, source="here", runs=3),
        "environment:install": StepEstimate(seconds=5, memory_mib=0, source="recipe"),
    }
    found = estimate_plan((FETCH, build, reused, INSTALL), parts, memory_mib=4096)
    assert (found.seconds, found.memory_mib) == (65, 2048)
    sure = "1 step from up to 3 runs here, 1 step by the recipe's guess, 1 step not known and not counted"
    assert found.document()["sureness"] == sure
    said = " ".join(line.strip() for line in estimate_lines(found))
    assert said == f"expected: at least 1 min 05 s, 2.0 GiB of memory for compilers ({sure})"


def test_where_nothing_is_known_that_is_said():
    found = estimate_plan(
        (FETCH,), {"alpha:fetch": StepEstimate(seconds=0, memory_mib=0, source="unknown")}, memory_mib=9
    )
    assert estimate_lines(found) == ["  expected: how long is not known, since no step of these was timed before"]


def test_a_compile_that_nobody_timed_makes_it_a_lower_bound():
    parts = {
        "alpha:build": StepEstimate(seconds=60, memory_mib=2048, source="recipe"),
        "beta:build": StepEstimate(seconds=0, memory_mib=1024, source="unknown"),
    }
    found = estimate_plan((BUILD, replace(BUILD, package="beta")), parts, memory_mib=4096)
    assert estimate_lines(found)[0].startswith("  expected: at least 1 min 00 s")


def test_nothing_is_said_of_nothing():
    assert estimate_lines(estimate_plan((), {}, memory_mib=1)) == []


def test_fewer_compilers_run_where_memory_is_short_and_it_takes_longer():
    assert at_once(8, 3000, 2048) == 1
    assert at_once(8, 9000, 2048) == 4
    assert at_once(8, 1000, 2048) == 1
    assert at_once(8, 1000, 0) == 8
    step = Step(package="a", phase=Phase.BUILD, decision=Decision.RUN, why="", fingerprint="f", seconds=800)
    short = estimate_step(step, None, jobs=8, memory_mib=5000, job_mib=2048)
    assert (short.seconds, short.memory_mib) == (400, 5000)


def test_a_build_of_other_contents_tells_nothing_about_the_next(tmp_path: Path):
    text = '[variants.plain]\nsummary = "less"\n[variants.more]\nsummary = "all"\n[options]\nfull = false\n'
    world = World(tmp_path, Recipe(name="alpha", build="seconds = 40", text=text))

    def build(**asked: Any) -> tuple[float, bool]:
        step = world.plan(**asked).step("alpha:build")
        return step.seconds, step.stored

    assert build() == (40, False)
    world.known.carry_out(world.plan())
    world.change("recipes/alpha.toml", "seconds = 40", 'seconds = 40\ntoolkit_groups = ["curand"]')
    assert build() == (1, True)
    assert build(variants={"alpha": "more"}) == (40, False)
    assert build(full=True) == (0, False)
