"""What one data file cannot say of itself: each kind of problem between the files, with file and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.data_root import Recipe, pin, write_data, write_lock, write_recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.config.catalogue import load_catalogue
from bringup.config.check import _ranges
from bringup.errors import ConfigError, UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(
        tmp_path, Recipe(name="alpha"), Recipe(name="beta", needs=("alpha",)), gpus=("h200", "l40s"), stack=""
    )


def report(data: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_catalogue(data)
    return caught.value.message


def change(data: Path, file: str, old: str, new: str) -> None:
    path = data / file
    text = path.read_text()
    assert old in text, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new, 1))


def test_whole_data_loads(data: Path):
    catalogue = load_catalogue(data)
    assert list(catalogue.recipes) == ["alpha", "beta"]
    assert set(catalogue.gpus) == {"h200", "l40s"}
    assert "13.0" in catalogue.cuda
    assert catalogue.stack("tiny").packages["beta"].version == "1.0"


GPU, STACK = "toolchains/gpus/h200.toml", "recipes/stacks/tiny.toml"
ALPHA, BETA = "recipes/alpha.toml", "recipes/beta.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (GPU, 'stack = "tiny"', 'stack = "tinny"', f"{GPU}: stack: no stack 'tinny'; did you mean tiny?"),
        (GPU, "[cuda]", '[cuda]\nbefore = "1.0"', f"{GPU}: cuda: range from "),
        (GPU, 'exact = "sm_90a"', 'exact = "sm_90b"', f"{GPU}: machine_code.any: sm_90b (exact) is not in any"),
        (GPU, 'capability = "9.0"', 'capability = "8.0"', f"{GPU}: machine_code.exact: sm_90a does not fit capability"),
        (GPU, "cmake = ", "cmaek = ", f"{GPU}: arch: 'cmake' is missing"),
        (GPU, "schema = 1", 'schema = 1\naliases = ["l40s"]', f"{GPU}: aliases: 'l40s' is also l40s"),
        (GPU, 'name = "h200"', 'name = "h201"', f"{GPU}: describes 'h201', which its file name does not say"),
        ("toolchains/cuda/13.0.toml", 'release = "13.0', 'release = "12.9', "13.0.toml: release: 12.9"),
        ("toolchains/cuda/12.4.toml", "gcc_min = 11", "gcc_min = 14", "12.4.toml: host: range gcc 14 to 13 is empty"),
        ("toolchains/cuda/12.4.toml", "[12, 13, 11]", "[15, 12]", "host.prefer: [15] is outside gcc 11 to 13"),
        (STACK, 'cuda = ["13.0"]', 'cuda = ["13.7"]', f"{STACK}: cuda: no CUDA release '13.7'; did you mean "),
        (STACK, 'python = "3.11"', 'python = "3.12"', f"{STACK}: python: no Python '3.12'; did you mean 3.11?"),
        (STACK, 'date = "2026-05-28"', 'date = "2026-02-30"', f"{STACK}: date: 2026-02-30 is no day"),
        (STACK, "alpha = {", "alhpa = {", f"{STACK}: packages.alhpa: no recipe 'alhpa'; did you mean alpha?"),
        (STACK, "alpha = {", "# {", f"{STACK}: packages.beta: beta needs alpha, which the stack does not have"),
        (STACK, 'alpha = { version = "1.0"', 'alpha = { version = "1.1"', "packages.alpha.version: alpha has no 1.1"),
        (STACK, 'source = "archive"', 'source = "archiv"', "packages.alpha.source: alpha 1.0 has no source 'archiv'"),
        (STACK, 'source = "archive"', 'variant = "v", source = "archive"', "alpha has no variant 'v'; it has none"),
        (STACK, "lock = false", "lock = true", f"{STACK}: lock: recipes/stacks/tiny.lock does not exist"),
        (STACK, "[packages]", "[options.gamma]\n[packages]", f"{STACK}: options.gamma: the stack has no such package"),
        (BETA, 'needs = ["alpha"]', 'needs = ["alhpa"]', f"{BETA}: needs: no recipe 'alhpa'; did you mean alpha?"),
        (BETA, 'needs = ["alpha"]', "needs = []", f"{BETA}: built_against: 'alpha' is not in needs"),
        (ALPHA, "needs = []", 'needs = ["beta"]', "needs: circle: "),
        (ALPHA, 'version = "1.0"', 'version = "one.0"', f"{ALPHA}: versions[0].version: 'one.0' is not a PEP 440"),
        (ALPHA, 'version = "1.0"', 'version = "1.0"\npython = ">>3"', "python: '>>3' is not a version range"),
        (ALPHA, 'version = "1.0"', 'version = "1.0"\ncuda = ">13,<12"', "versions[0].cuda: '>13,<12' is empty"),
        (ALPHA, 'version = "1.0"', 'version = "1.0"\npython = ">=3.12"', "packages.alpha.version: wants Python >=3.12"),
        (ALPHA, "patches = []", 'patches = ["0001-x.patch"]', "patches/alpha/1.0/0001-x.patch does not exist"),
        (ALPHA, "patches = []", "patches_for = { sdist = [] }", "patches_for: no source 'sdist'"),
        (ALPHA, 'backend = "pep517"', 'backend = "hook"', "backend is hook, but recipes/alpha.py does not exist"),
        (ALPHA, "[build]", '[[when]]\ngpus = ["h2000"]\n[build]', "when[0].gpus: no GPU 'h2000'; did you mean h200?"),
        (ALPHA, "[build]", '[[when]]\nvariants = ["x"]\n[build]', "when[0].variants: no variant 'x'; known: none"),
        (ALPHA, "[build]", '[[when]]\ncuda = "12"\n[build]', "when[0].cuda: '12' is not a version range"),
    ],
)  # fmt: skip
def test_problem_between_files(data: Path, file: str, old: str, new: str, expected: str):
    change(data, file, old, new)
    assert expected in report(data)


def test_problems_of_all_files_are_in_one_report(data: Path):
    change(data, GPU, 'stack = "tiny"', 'stack = "tinny"')
    change(data, BETA, 'needs = ["alpha"]', 'needs = ["alhpa"]')
    (data / "toolchains/gpus/odd.toml").write_text("a = [")
    (data / "patches/gamma/1.0").mkdir(parents=True)
    found = report(data)
    for part in (f"{GPU}: stack", f"{BETA}: needs", "odd.toml:1: not valid TOML", "patches/gamma/1.0: no recipe has"):
        assert part in found
    assert len(found.splitlines()) >= 5


def test_broken_file_is_not_reported_as_missing_too(data: Path):
    (data / ALPHA).write_text("a = [")
    found = report(data)
    assert "1 problem in data files" in found
    assert f"{ALPHA}:1: not valid TOML" in found


def test_patch_that_nobody_lists(data: Path):
    write_recipe(data, Recipe(name="alpha", patches={"0001-a.patch": "x"}))
    (data / "patches/alpha/1.0/0002-b.patch").write_text("x")
    assert "patches/alpha/1.0/0002-b.patch: patch nobody lists" in report(data)


def test_recipe_whose_file_has_an_odd_name_is_not_passed_over(data: Path):
    (data / "recipes/my_pkg.toml").write_text((data / ALPHA).read_text())
    assert "recipes/my_pkg.toml: describes 'alpha', which its file name does not say" in report(data)


def test_data_of_a_hook_is_no_recipe(data: Path):
    for name in ("my_pkg.py", "my_pkg.units.toml", "my_pkg_more.toml"):
        (data / "recipes" / name).write_text("")
    assert set(load_catalogue(data).recipes) == {"alpha", "beta"}


def test_version_twice(data: Path):
    text = (data / ALPHA).read_text()
    start, end = text.index("[[versions]]"), text.index("[build]")
    (data / ALPHA).write_text(text[:end] + text[start:end] + text[end:])
    assert "versions[1].version: 1.0 is there twice" in report(data)


def test_lock_that_is_there_is_no_problem(data: Path):
    change(data, STACK, "lock = false", "lock = true")
    assert load_catalogue(data, locks=False).stacks["tiny"].lock
    write_lock(data, pin("widget"))
    assert load_catalogue(data).stacks["tiny"].lock


@pytest.mark.parametrize(
    ("find", "expected"),
    [
        (lambda catalogue: catalogue.gpu("h20"), "unknown GPU 'h20'; did you mean h200?"),
        (lambda catalogue: catalogue.gpu("zzzz"), "unknown GPU 'zzzz'; known: auto, h200, l40s"),
        (lambda catalogue: catalogue.stack("Tiny"), "unknown stack 'Tiny'; did you mean tiny?"),
    ],
)
def test_names_that_are_not_known(data: Path, find: Callable[[object], object], expected: str):
    with pytest.raises(UsageError) as caught:
        find(load_catalogue(data))
    assert caught.value.message == expected
    assert "invoke list" in caught.value.hint


def test_gpu_by_alias_and_in_capitals(data: Path):
    change(data, GPU, "schema = 1", 'schema = 1\naliases = ["hopper-141"]')
    catalogue = load_catalogue(data)
    assert catalogue.gpu("H200").name == catalogue.gpu("Hopper-141").name == "h200"


# --- version ranges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", ">=12.4", ">=12.4,<13", "==12.8", ">=12.4,<=12.4", "!=12.5,>12.4"])
def test_ranges_that_are_right(text: str):
    assert list(_ranges("f", "k", cuda=text)) == []


@pytest.mark.parametrize("text", [">=13,<12", ">13,<13", ">13,<=13", ">=13,<13", "<=1,>=2"])
def test_ranges_that_hold_nothing(text: str):
    assert [problem.text for problem in _ranges("f", "k", cuda=text)] == [f"{text!r} is empty"]


OPERATORS = st.sampled_from([">=", ">", "<=", "<", "==", "!=", "~=", "===", "", "=>"])
PARTS = st.lists(st.tuples(OPERATORS, st.text("0123456789.*ax+", max_size=6)), max_size=3)


@settings(max_examples=examples(150), deadline=None)
@given(st.one_of(PARTS.map(lambda parts: ",".join(a + b for a, b in parts)), st.text(max_size=12)))
def test_any_range_is_right_or_a_problem(text: str):
    found = list(_ranges("f", "k", cuda=text))
    assert all(problem.key == "k.cuda" and repr(text) in problem.text for problem in found)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.sampled_from([">=", ">"]), st.sampled_from(["<=", "<"]), *[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2
)
def test_empty_means_that_no_release_is_in_it(low: str, high: str, a: tuple[int, int], b: tuple[int, int]):
    """Compared with trying all releases, half steps included."""
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415

    text = f"{low}{a[0]}.{a[1]},{high}{b[0]}.{b[1]}"
    releases = [f"{x}.{y}{z}" for x in range(5) for y in range(5) for z in ("", ".0.1")]
    some = any(release in SpecifierSet(text) for release in releases)
    assert bool(list(_ranges("f", "k", cuda=text))) == (not some)
