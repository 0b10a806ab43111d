"""Wheels of the store in environments that share files with uv's cache: an edit in one reaches no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.program import Program
from helpers.sdists import local_recipe


@pytest.fixture
def program(tmp_path: Path) -> Program:
    recipe = local_recipe(tmp_path / "src", "alpha", during_build="VALUE = 1\n")
    return Program.at(tmp_path, write_data(tmp_path / "data", recipe))


def test_an_edit_in_one_environment_does_not_reach_the_next(program: Program, tmp_path: Path):
    program.run("install")
    (module,) = tmp_path.glob("build/*/env/lib/python3.*/site-packages/alpha.py")
    if module.stat().st_nlink == 1:
        pytest.skip("uv copies here instead of linking")
    with module.open("r+") as handle:
        handle.write("VALUE = 2")
    fresh = replace(program, build_dir=tmp_path / "again")
    done = fresh.run("install")
    assert fresh.python("import alpha; print(alpha.VALUE)") == "1"
    assert "uv's cache has alpha-1.0-py3-none-any.whl with changed files" in " ".join(done.text.split())
    (stored,) = tmp_path.glob("cache/store/??/*/*.whl")
    assert stored.stat().st_nlink == 1, "the store's wheel is in no environment"


def test_the_second_environment_is_linked_from_the_first_and_its_own(program: Program, tmp_path: Path):
    assert "linked from the cache" not in program.run("install").text
    if not list(tmp_path.glob("cache/environments/*/kept")):
        pytest.skip("uv copies here instead of linking")
    fresh = replace(program, build_dir=tmp_path / "again")
    assert "distributions and our wheels, linked from the cache" in fresh.run("install").text
    assert (
        fresh.python("import alpha, sys; print(alpha.VALUE, sys.prefix)") == f"1 {next(fresh.build_dir.glob('*/env'))}"
    )
    for path in place_of(fresh).rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert str(program.build_dir).encode() not in path.read_bytes(), path
    assert program.python("import alpha; print(alpha.VALUE)") == "1"
    levels = json.loads(fresh.run("verify", "--level", "static", "--json").out)["levels"]
    assert [level["status"] for level in levels if level["level"] == "static"] == ["OK"]


def test_verification_leaves_bytecode_for_the_next_start(program: Program):
    program.run("install")
    assert not list(place_of(program).rglob("alpha.*.pyc"))
    program.run("verify", "--level", "import")
    assert list(place_of(program).rglob("alpha.*.pyc"))


def place_of(program: Program) -> Path:
    (env,) = program.build_dir.glob("*/env")
    return env.resolve()
