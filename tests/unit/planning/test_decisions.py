"""What the planner decides, as expected plans; no folder is written and nothing is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.data_root import Recipe, pin, write_lock, write_recipe
from helpers.plans import READY, World, shown
from step_order import too_early

from bringup.errors import UsageError
from bringup.model.plan import Decision, Phase
from bringup.planning.fingerprint import alias_inputs, fingerprint
from bringup.planning.known import Tool
from bringup.report import plan_lines

NEVER_BUILT = """\
reuse python:prepare
reuse gcc:prepare
reuse cuda:prepare
run alpha:fetch
run alpha:patch
run alpha:prepare
run alpha:build
run beta:fetch
run beta:patch
run beta:prepare
run beta:build
run requirements:install
run environment:install
run environment:verify"""

ALL_THERE = """\
reuse python:prepare
reuse gcc:prepare
reuse cuda:prepare
skip alpha:fetch
skip alpha:patch
skip alpha:prepare
reuse alpha:build
skip beta:fetch
skip beta:patch
skip beta:prepare
reuse beta:build
reuse requirements:install
reuse environment:install
reuse environment:verify"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(
        tmp_path,
        Recipe(name="alpha", cuda=True, patches={"0001-a.patch": "one"}, env={"FLAG": "1"}),
        Recipe(name="beta", needs=("alpha",)),
    )


def built(world: World) -> World:
    world.known.carry_out(world.plan())
    return world


def test_never_built(world: World):
    plan = world.plan()
    assert shown(plan) == NEVER_BUILT
    assert plan.step("alpha:build").why == "it was never built"
    assert plan.step("alpha:patch").why == "1 patch"
    assert plan.step("beta:patch").why == "no patches, but a clean tree of its own"
    assert plan.step("beta:build").needs == ("alpha",)
    assert too_early(plan.steps) == []


def test_nothing_changed(world: World):
    plan = built(world).plan()
    assert shown(plan) == ALL_THERE
    assert plan.step("alpha:build").why == "nothing changed since it was built"
    assert not [step for step in plan.steps if step.decision is Decision.RUN]


def test_fetched_and_patched_before_an_interruption(world: World):
    plan = world.plan()
    for name in ("alpha:fetch", "alpha:patch"):
        world.known.steps[name] = plan.step(name).fingerprint
    again = world.plan()
    assert [again.step(f"alpha:{phase}").decision for phase in ("fetch", "patch", "prepare", "build")] == [
        "reuse", "reuse", "run", "run",
    ]  # fmt: skip
    assert again.step("alpha:fetch").why == "done before"


def test_changed_patch_builds_it_and_what_is_built_against_it(world: World):
    built(world).change("patches/alpha/1.0/0001-a.patch", "one", "two")
    plan = world.plan()
    assert plan.step("alpha:build").why == "changed since the last build: patches"
    assert plan.step("alpha:fetch").decision == plan.step("alpha:patch").decision == "run"
    assert plan.step("beta:build").why == "changed since the last build: built against"
    assert plan.step("environment:install").decision == "run"


def test_changed_flag_keeps_the_source(world: World):
    built(world).change("recipes/alpha.toml", 'FLAG = "1"', 'FLAG = "2"')
    plan = world.plan()
    assert plan.step("alpha:build").why == "changed since the last build: environment variables"
    assert plan.step("alpha:fetch").decision == plan.step("alpha:patch").decision == "reuse"
    assert plan.step("alpha:prepare").decision == "run"


def test_changed_order_of_flags_changes_nothing(tmp_path: Path):
    world = built(World(tmp_path, Recipe(name="alpha", env={"A": "1", "B": "2"})))
    write_recipe(world.data, Recipe(name="alpha", env={"B": "2", "A": "1"}))
    assert world.plan().step("alpha:build").decision == "reuse"


def test_an_overlay_may_say_what_a_version_is_built_against(tmp_path: Path):
    overlay = '[[when]]\nversion = "<2"\nbuilt_against = ["alpha"]'
    world = built(
        World(tmp_path, Recipe(name="alpha"), Recipe(name="beta", needs=("alpha",), built_against=(), text=overlay))
    )
    world.change("recipes/alpha.toml", 'sha256 = "0', 'sha256 = "1')
    assert world.plan().step("beta:build").why == "changed since the last build: built against"


def test_not_built_against_means_not_built_again(tmp_path: Path):
    world = built(World(tmp_path, Recipe(name="alpha"), Recipe(name="beta", needs=("alpha",), built_against=())))
    world.change("recipes/alpha.toml", 'sha256 = "0', 'sha256 = "1')
    plan = world.plan()
    assert plan.step("alpha:build").why == "changed since the last build: source"
    assert plan.step("beta:build").decision == "reuse"


def with_interface(world: World, interface: str) -> None:
    """Let alpha be built with this interface, and beta enter the store under its second key."""
    plan = world.plan()
    world.known.carry_out(plan)
    world.known.interfaces[plan.fingerprints["alpha"]] = interface
    inputs = alias_inputs(plan.inputs["beta"], {"alpha": interface})
    assert inputs is not None
    world.known.wheels[fingerprint(inputs).value] = ""


def test_change_that_leaves_the_binary_interface_alone_rebuilds_nothing_downstream(world: World):
    with_interface(world, "same")
    world.change("patches/alpha/1.0/0001-a.patch", "one", "two")
    changed = world.plan().fingerprints["alpha"]
    assert world.plan().step("beta:build").decision == "run"  # nobody knows yet what alpha will look like
    world.known.wheels[changed] = ""
    world.known.interfaces[changed] = "same"
    plan = world.plan()
    assert plan.step("beta:build").decision == "reuse"
    assert plan.step("beta:build").why == "built against the same binary interface of alpha"
    assert plan.step("beta:fetch").decision == "skip"
    assert world.known.wheels[plan.aliases["beta"]] == ""
    assert plan.step("environment:install").decision == "run"


def test_change_of_the_binary_interface_rebuilds_what_is_built_against_it(world: World):
    with_interface(world, "one")
    world.change("patches/alpha/1.0/0001-a.patch", "one", "two")
    changed = world.plan().fingerprints["alpha"]
    world.known.wheels[changed] = ""
    world.known.interfaces[changed] = "two"
    plan = world.plan()
    assert plan.step("beta:build").decision == "run"
    assert plan.aliases == {}


def test_what_changed_is_shown_with_both_values(world: World):
    built(world).change("recipes/alpha.toml", 'FLAG = "1"', 'FLAG = "2"')
    lines = plan_lines(world.plan(), why="alpha")
    at = lines.index("        since the last build:")
    assert lines[at + 1 : at + 4] == [
        "          environment variables: FLAG",
        "            was  1",
        "            now  2",
    ]


def test_header_of_the_machine_that_was_compiled_in_counts_once_it_is_another(world: World):
    before = built(world).plan()
    world.known.headers[before.fingerprints["alpha"]] = {"/usr/include/x.h": "1"}
    plan = world.plan()
    assert plan.step("alpha:build").why == "changed since the last build: headers of this machine"
    assert plan.environment != before.environment
    world.known.carry_out(plan)
    assert world.plan().step("alpha:build").decision == "reuse"
    world.known.headers[plan.fingerprints["alpha"]] = {"/usr/include/y.h": "2"}
    again = world.plan()
    assert again.inputs["alpha"]["headers of this machine"] == {"/usr/include/x.h": "1", "/usr/include/y.h": "2"}


def test_pin_that_is_neutral_rebuilds_nothing(tmp_path: Path):
    build = 'requires = ["tool", "wheel"]\nneutral = ["tool"]'
    world = World(tmp_path, Recipe(name="alpha", build=build), lock=True)
    write_lock(world.data, pin("tool"), pin("helper", via="tool"), pin("wheel"))
    before = world.plan()
    write_lock(world.data, pin("tool", "2.0", "b" * 64), pin("helper", "2.0", via="tool"), pin("wheel"))
    assert world.plan().fingerprints == before.fingerprints
    write_lock(world.data, pin("tool"), pin("helper", via="tool"), pin("wheel", "2.0", "b" * 64))
    assert world.plan().fingerprints != before.fingerprints


def test_overlay_says_what_a_version_is_built_against(tmp_path: Path):
    more = '[[when]]\nversion = "<2"\nbuilt_against = ["alpha"]'
    world = World(tmp_path, Recipe(name="alpha"), Recipe(name="beta", needs=("alpha",), built_against=(), text=more))
    assert list(world.plan().inputs["beta"]["built against"]) == ["alpha"]


def test_other_toolkit_concerns_only_what_uses_it(world: World):
    built(world).tools = replace(READY, cuda=Tool(identity="cuda-2", ready=True, why="other"))
    plan = world.plan()
    assert plan.step("alpha:build").why == "changed since the last build: toolkit"
    assert plan.step("beta:build").why == "changed since the last build: built against"


def test_other_compiler_concerns_all(world: World):
    built(world).tools = replace(READY, gcc=Tool(identity="gcc-2", ready=True, why="other"))
    assert world.plan().step("beta:build").why == "changed since the last build: built against, host compiler"


def test_store_entry_gone(world: World):
    plan = built(world).plan()
    del world.known.wheels[plan.fingerprints["alpha"]]
    again = world.plan()
    assert again.step("alpha:build").why == "its wheel is no longer in the store"
    assert again.step("alpha:fetch").decision == "reuse"
    assert again.step("beta:build").decision == "reuse"


def test_store_entry_corrupt(world: World):
    plan = built(world).plan()
    world.known.wheels[plan.fingerprints["alpha"]] = "the store's alpha.whl has 3 bytes and should have 4"
    assert world.plan().step("alpha:build").why == "the store's alpha.whl has 3 bytes and should have 4"


def test_environment_gone_but_wheels_there(world: World):
    built(world).known.steps.pop("environment:install")
    plan = world.plan()
    assert [step.id for step in plan.steps if step.decision is Decision.RUN] == [
        "requirements:install", "environment:install", "environment:verify",
    ]  # fmt: skip


def test_not_verified_yet(world: World):
    built(world).known.steps.pop("environment:verify")
    assert [step.id for step in world.plan().steps if step.decision is Decision.RUN] == ["environment:verify"]


def test_only_takes_what_it_needs_and_no_environment(tmp_path: Path):
    names = Recipe(name="alpha"), Recipe(name="beta", needs=("alpha",)), Recipe(name="gamma")
    plan = World(tmp_path, *names).plan(only=("beta",))
    assert shown(plan, why=True).splitlines()[3:] == [
        "run alpha:fetch: source archive is not here yet",
        "run alpha:patch: no patches, but a clean tree of its own",
        "run alpha:prepare: its build environment is not here yet",
        "run alpha:build: it was never built",
        "skip gamma:build: not in --only",
        "run beta:fetch: source archive is not here yet",
        "run beta:patch: no patches, but a clean tree of its own",
        "run beta:prepare: its build environment is not here yet",
        "run beta:build: it was never built",
    ]
    assert not [step for step in plan.steps if step.package in ("environment", "requirements")]


def test_only_with_a_name_that_is_not_there(world: World):
    with pytest.raises(UsageError, match="has no package 'bete'"):
        world.plan(only=("bete",))


def test_tools_to_be_made_come_first_and_count(world: World):
    made = Tool(identity="cuda-1", ready=False, why="assembled", download_mib=200, disk_mib=700)
    world.tools = replace(READY, cuda=made)
    plan = world.plan()
    assert plan.step("cuda:prepare").decision == "run"
    assert plan.step("cuda:prepare").after == ("gcc:prepare",)
    assert "cuda:prepare" in plan.step("alpha:build").after
    assert "cuda:prepare" not in plan.step("beta:build").after
    assert (plan.download_mib, plan.disk_mib) == (200, 700)


def test_estimates_count_only_what_will_be_done(tmp_path: Path):
    world = World(tmp_path, Recipe(name="alpha", size=50 << 20, build="disk_mib = 30"), stack="")
    world.change("recipes/stacks/tiny.toml", "lock = false", "lock = false\ndownload_mib = 7\ndisk_mib = 9")
    plan = world.plan()
    assert (plan.download_mib, plan.disk_mib) == (57, 39)
    plan = built(world).plan()
    assert (plan.download_mib, plan.disk_mib) == (0, 0)


def test_needs_decide_the_order_and_not_the_names(tmp_path: Path):
    plan = World(tmp_path, Recipe(name="aaa", needs=("zzz",)), Recipe(name="zzz")).plan()
    assert list(plan.packages) == ["zzz", "aaa"]
    assert too_early(plan.steps) == []


def test_plan_is_the_same_in_another_folder(tmp_path: Path):
    recipes = Recipe(name="alpha", patches={"0001-a.patch": "one"}), Recipe(name="beta", needs=("alpha",))
    here, there = World(tmp_path / "here", *recipes).plan(), World(tmp_path / "a/long/way/off", *recipes).plan()
    assert here.fingerprints == there.fingerprints
    assert here.environment == there.environment
    assert here.document() == there.document()


def test_document(world: World):
    document = world.plan().document()
    assert (document["schema"], document["target"], document["stack"]) == (1, "h200-cu130-cp311", "tiny")
    step = next(one for one in document["steps"] if (one["package"], one["phase"]) == ("beta", "build"))
    assert (step["decision"], step["needs"]) == ("run", ["alpha"])
    assert len(step["fingerprint"]) == 32


def test_phases_of_a_package_follow_each_other(world: World):
    plan = world.plan()
    order = [Phase.FETCH, Phase.PATCH, Phase.PREPARE, Phase.BUILD]
    assert [step.phase for step in plan.steps if step.package == "alpha"] == order
    assert plan.step("alpha:patch").after == ("alpha:fetch",)
    assert "alpha:build" in plan.step("beta:prepare").after
