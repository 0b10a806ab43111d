"""Every input changes the fingerprint, and `difference` names it; order, paths and sizes change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers.data_root import Recipe
from helpers.plans import World
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.model.plan import Package, PatchFile, Request, Target
from bringup.model.source import GitSource, UrlSource
from bringup.planning.fingerprint import Identities, build_inputs, difference, fingerprint, source_inputs

TOOLS = Identities(python="cp311", cuda="cuda-1", gcc="gcc-1")
ARCH = {"torch": "9.0", "flashinfer": "9.0a", "cmake": "90a", "other": "x"}


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Package, Target]:
    world = World(tmp_path, Recipe(name="alpha", cuda=True, patches={"0001-a.patch": "one"}, env={"A": "1"}))
    target, packages, _ = world.resolve(Request(gpu="h200"))
    return packages["alpha"], target


def inputs(package: Package, target: Target, **values: Any) -> dict[str, Any]:
    given = {"tools": TOOLS, "arch": ARCH, "requires": ["wheel==1 x"], "against": {"b": "1"}, "hook": ["h"]} | values
    return dict(fingerprint(build_inputs(package, target, **given)).inputs)


def build(package: Package, **values: Any) -> Package:
    return replace(package, build=msgspec.structs.replace(package.build, **values))


CHANGES: dict[str, Callable[[Package], Package]] = {
    "source": lambda one: replace(one, source=msgspec.structs.replace(one.source, sha256="1" * 64)),
    "extras": lambda one: replace(one, extras={"x": UrlSource(url="https://x.org/a", sha256="2" * 64)}),
    "patches": lambda one: replace(one, patches=(PatchFile(path=one.patches[0].path, sha256="3" * 64),)),
    "backend": lambda one: build(one, backend="setup.py"),
    "label": lambda one: build(one, local="x"),
    "environment variables": lambda one: build(one, env={"A": "2"}),
    "build settings": lambda one: build(one, config_settings={"a": "b"}),
    "variant": lambda one: replace(one, variant="v"),
    "options": lambda one: replace(one, options={"head_dims": [64]}),
    "package": lambda one: replace(one, version="1.1"),
}


@pytest.mark.parametrize("topic", CHANGES)
def test_each_part_of_a_package_counts_and_is_named(parts: tuple[Package, Target], topic: str):
    package, target = parts
    before, after = inputs(package, target), inputs(CHANGES[topic](package), target)
    assert difference(before, after) == topic
    assert fingerprint(before).value != fingerprint(after).value


@pytest.mark.parametrize(
    ("topic", "values"),
    [
        ("python", {"tools": replace(TOOLS, python="cp312")}),
        ("toolkit", {"tools": replace(TOOLS, cuda="cuda-2")}),
        ("host compiler", {"tools": replace(TOOLS, gcc="gcc-2")}),
        ("arch list", {"arch": ARCH | {"torch": "9.0a"}}),
        ("build requirements", {"requires": ["wheel==2 x"]}),
        ("built against", {"against": {"b": "2"}}),
        ("hook", {"hook": ["h", "i"]}),
    ],
)
def test_each_part_of_the_surroundings_counts_and_is_named(
    parts: tuple[Package, Target], topic: str, values: dict[str, Any]
):
    assert difference(inputs(*parts), inputs(*parts, **values)) == topic


def test_processor_architecture_counts(parts: tuple[Package, Target]):
    package, target = parts
    assert difference(inputs(package, target), inputs(package, replace(target, machine="aarch64"))) == "platform"


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, source=msgspec.structs.replace(one.source, size=9)),
        lambda one: replace(one, patches=(replace(one.patches[0], path=Path("/else/where.patch")),)),
        lambda one: replace(one, notes=("a",), warnings=("b",)),
        lambda one: build(one, seconds=5, disk_mib=7, memory_per_job_gib=3.0, max_jobs=True, tools=("cargo",)),
    ],
)
def test_what_cannot_change_the_result_does_not_count(
    parts: tuple[Package, Target], change: Callable[[Package], Package]
):
    package, target = parts
    assert inputs(package, target) == inputs(change(package), target)


def test_arch_list_of_others_does_not_count(parts: tuple[Package, Target]):
    assert difference(inputs(*parts), inputs(*parts, arch=ARCH | {"other": "y"})) == ""


def test_without_cuda_neither_toolkit_nor_arch_list_count(parts: tuple[Package, Target]):
    package, target = parts
    plain = build(package, cuda=False)
    other = {"tools": replace(TOOLS, cuda="cuda-2"), "arch": {"torch": "1.0"}}
    assert inputs(plain, target) == inputs(plain, target, **other)


def test_repacked_wheel_depends_on_its_file_alone(parts: tuple[Package, Target]):
    package, target = parts
    plain = build(package, backend="repack")
    other = {"tools": replace(TOOLS, gcc="gcc-2", python="cp399"), "requires": [], "hook": ["z"]}
    assert inputs(plain, target) == inputs(plain, target, **other)


def test_tag_counts_only_where_no_commit_is_recorded(parts: tuple[Package, Target]):
    package = parts[0]

    def of(commit: str, tag: str) -> dict[str, Any]:
        return source_inputs(replace(package, source=GitSource(url="https://x.org/a.git", commit=commit, tag=tag)))

    assert of("a" * 40, "v1") == of("a" * 40, "v2")
    assert of("unrecorded", "v1") != of("unrecorded", "v2")
    assert of("a" * 40, "v1") != of("b" * 40, "v1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(list(value))}
    return [reversed_keys(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=examples(50), deadline=None)
@given(TABLES)
def test_order_of_keys_changes_nothing(table: dict[str, Any]):
    assert fingerprint(table).value == fingerprint(reversed_keys(table)).value


def exact(value: Any) -> str:
    """Return a text that is equal for equal JSON values only (to Python, True is 1)."""
    return msgspec.json.encode(value, order="sorted").decode()


@settings(max_examples=examples(50), deadline=None)
@given(TABLES, TABLES)
def test_different_values_differ_and_the_difference_is_named(one: dict[str, Any], two: dict[str, Any]):
    same = exact(one) == exact(two)
    assert (fingerprint(one).value == fingerprint(two).value) == same
    if one != two:
        assert set(difference(one, two).split(", ")) >= {key for key in {**one, **two} if ", " not in key} & {
            key for key in {**one, **two} if one.get(key) != two.get(key)
        }
