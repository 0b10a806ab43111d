"""The compiler cache in whole builds of the program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.program import Program
from helpers.sdists import local_recipe

COMPILES = """
import os, pathlib, subprocess
pathlib.Path("a.c").write_text("int a(void) { return 1; }")
subprocess.run([os.environ["CC"], "-c", os.path.abspath("a.c"), "-o", "a.o"], check=True)
VALUE = len(pathlib.Path("a.o").read_bytes()) > 0
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    recipe = local_recipe(tmp_path / "src", "alpha", during_build=COMPILES)
    return Program.at(tmp_path, write_data(tmp_path / "data", recipe))


def counted(program: Program) -> dict[str, int]:
    (record,) = program.build_dir.glob("*/records/alpha.build.json")
    found: dict[str, int] = json.loads(record.read_text())["facts"]["compiler_cache"]
    return found


def test_a_second_checkout_compiles_nothing_and_the_summary_says_so(program: Program):
    text = program.run("build", "--only", "alpha", "--compiler-cache", "on").text
    assert "compiler cache: 0 of 1 results were there" in text
    assert counted(program)["misses"] == 1
    shutil.rmtree(program.folder / "cache/store")
    program.build_dir = program.folder / "somewhere/else"
    text = program.run("build", "--only", "alpha", "--compiler-cache", "on").text
    assert "compiler cache: 1 of 1 results were there" in text
    assert counted(program)["hits"] == 1


def test_a_cache_that_was_asked_for_and_does_not_work_fails_the_build(program: Program):
    (program.folder / "cache").mkdir()
    (program.folder / "cache/compiler").write_text("a file where a folder should be")
    done = program.run("build", "--only", "alpha", "--compiler-cache", "on", code=7)
    assert "--compiler-cache on: the cache does not work with g++: its result was not found" in done.err


def test_it_is_off_without_being_asked_for(program: Program):
    assert "compiler cache" not in program.run("build", "--only", "alpha").text
    assert not (program.folder / "cache/compiler").exists()


def test_an_unknown_mode_is_wrong_use(program: Program):
    done = program.run("plan", "--compiler-cache", "yes", code=2)
    assert "known are auto, on, off" in done.err
