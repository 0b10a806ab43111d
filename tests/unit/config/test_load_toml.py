"""TOML files to models: every problem at once, where it is, and never a traceback."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from helpers.data_root import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.config.load import MAX_PROBLEMS, Problem, load_toml, parse_toml, raise_if_any
from bringup.config.near import nearest
from bringup.config.settings import UserSettings
from bringup.errors import ConfigError, StorageError
from bringup.model.gpu import Gpu
from bringup.model.recipe import Recipe
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, PythonRelease

MODELS = (Recipe, Stack, Gpu, CudaRelease, PythonRelease, UserSettings)
RECIPE = (ROOT / "recipes/flashinfer.toml").read_text()


def problems(text: str, model: type = Gpu) -> list[str]:
    value, found = parse_toml(text, model, name="f.toml")
    assert (value is None) == bool(found)
    return [str(problem) for problem in found]


GPU = """\
schema = 1
name = "x1"
title = "X1"
family = "xfam"
capability = "9.0"
machines = ["x86_64"]
memory_gib = 80
stack = "s"
driver_min = "1"
sources = []

[cuda]
min = "12.4"

[arch]
torch = "9.0"

[machine_code]
exact = "sm_90a"
any = ["sm_90a"]
"""


def test_valid_text_has_no_problem():
    value, found = parse_toml(GPU, Gpu, name="f.toml")
    assert found == []
    assert value is not None
    assert value.cuda.min == "12.4"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("memory_gib", "memory_gb", "f.toml:7: memory_gb: unknown key; did you mean memory_gib?"),
        ("memory_gib = 80", 'memory_gib = "80"', "f.toml:7: memory_gib: expected int, got str (value: '80')"),
        ('min = "12.4"', 'min = "12"', "f.toml:13: cuda.min: "),
        ('min = "12.4"', 'mni = "12.4"', "f.toml:13: cuda.mni: unknown key; did you mean min?"),
        ('torch = "9.0"', "torch = 9.0", "f.toml:16: arch.torch: expected str, got float (value: 9.0)"),
        ('machines = ["x86_64"]', 'machines = ["x86_64", "arm"]', "f.toml:6: machines[1]: "),
        ('name = "x1"', 'name = "X 1"', "f.toml:2: name: "),
        ("schema = 1", "schema = 7", "f.toml:1: schema: "),
        ('exact = "sm_90a"\n', "", "f.toml:18: machine_code.exact: missing"),
    ],
)
def test_problem_names_line_key_value_and_nearest_name(old: str, new: str, expected: str):
    assert any(line.startswith(expected) for line in problems(GPU.replace(old, new))), problems(GPU.replace(old, new))


def test_all_problems_of_a_file_are_in_one_report():
    text = GPU.replace('title = "X1"\n', "").replace("memory_gib = 80", 'memory_gib = "x"').replace("[cuda]", "[cudo]")
    found = "\n".join(problems(text))
    for part in (
        "title: missing",
        "memory_gib: expected int",
        "cudo: unknown key; did you mean cuda?",
        "cuda: missing",
    ):
        assert part in found


def test_problems_of_nested_lists_name_the_element():
    text = RECIPE.replace("sha256 = ", "sha265 = ", 1)
    assert any("versions[0].sources." in line and "did you mean sha256?" in line for line in problems(text, Recipe))


def test_broken_toml_names_the_line():
    (line,) = problems(GPU.replace('title = "X1"', 'title = "X1'))
    assert line.startswith("f.toml:3: not valid TOML: ")


def test_key_given_twice_is_a_problem():
    assert "not valid TOML" in problems(GPU + '\n[cuda]\nmin = "13.0"\n')[0]


def test_deep_nesting_is_a_problem_and_no_crash():
    assert "nested too deeply" in problems("a = " + "[" * 20_000)[0]


def test_files_that_cannot_be_read(tmp_path: Path):
    assert "no such file" in str(load_toml(tmp_path / "none.toml", Gpu)[1][0])
    (tmp_path / "bad.toml").write_bytes(b"name = '\xff'")
    assert "bad.toml: not UTF-8 at byte 8" in str(load_toml(tmp_path / "bad.toml", Gpu)[1][0])
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(StorageError, match=r"folder\.toml"):
        load_toml(tmp_path / "folder.toml", Gpu)


def test_report_counts_and_is_cut():
    raise_if_any([])
    with pytest.raises(ConfigError, match=r"^1 problem in data files:\n  f\.toml: odd$"):
        raise_if_any([Problem(file="f.toml", text="odd")])
    with pytest.raises(ConfigError) as caught:
        raise_if_any([Problem(file="f.toml", line=line, text="odd") for line in range(1, MAX_PROBLEMS + 8)])
    assert "... and 7 more" in caught.value.message
    assert caught.value.exit_code == 2


def test_nearest():
    assert nearest("flashinfr", ["flashinfer", "pytorch"]) == "flashinfer"
    assert nearest("zzz", ["flashinfer", "pytorch"]) == ""
    assert nearest("x", []) == ""


# --- anything at all ----------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(st.text(max_size=8), st.integers(-5, 5), st.booleans(), st.floats(allow_nan=False), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=examples(80), deadline=None)
@given(st.text(max_size=200), st.sampled_from(MODELS))
def test_any_text_gives_a_value_or_problems(text: str, model: type):
    value, found = parse_toml(text, model, name="f.toml")
    assert (value is None) == bool(found)


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_give_a_value_or_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    value, found = load_toml(path, UserSettings)
    assert (value is None) == bool(found)


def put(data: object, steps: list[int], value: object) -> None:
    """Put a value somewhere into nested tables, the place chosen by numbers."""
    for step in steps:
        keys = list(data) if isinstance(data, dict) else list(range(len(data))) if isinstance(data, list) else []
        if not keys:
            return
        key = keys[step % len(keys)]
        inner = data[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or step % 3 == 0:
            data[key] = value  # type: ignore[index]
            return
        data = inner


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), VALUES, st.sampled_from(["recipe", "gpu", "stack"]))
def test_real_files_with_one_value_replaced(steps: list[int], value: object, kind: str):
    """Problems are found without a crash, and name a key unless the whole document is wrong."""
    from bringup.config.load import _convert  # noqa: PLC0415 - values that TOML text could hold, without writing it

    text, model = {
        "recipe": (RECIPE, Recipe),
        "gpu": (GPU, Gpu),
        "stack": ((ROOT / "recipes/stacks/kernels.toml").read_text(), Stack),
    }[kind]
    data = tomllib.loads(text)
    put(data, steps, value)
    found_value, found = _convert(data, model, text=text, name="f.toml")
    assert (found_value is None) == bool(found)
    assert all(problem.key for problem in found)


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_real_files_with_lines_lost_or_doubled(data: st.DataObject):
    lines = GPU.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    extra = data.draw(st.sampled_from([[], [lines[at], lines[at]], [lines[at][: len(lines[at]) // 2]], ["[[cuda]]"]]))
    problems("\n".join([*lines[:at], *extra, *lines[at + 1 :]]))
