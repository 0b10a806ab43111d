"""What a configured tree says: a feature asked for that it lacks, and why it is configured afresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from bringup.building.cmake_cache import changed_since, half_configured, switched_off


@pytest.mark.parametrize("file", ["build.ninja", "Makefile"])
def test_a_tree_whose_build_files_are_missing_was_not_configured_to_the_end(tmp_path: Path, file: str):
    (tmp_path / "CMakeCache.txt").write_text("CMAKE_BUILD_TYPE:STRING=Release\n")
    assert half_configured(tmp_path) == "configuring it was interrupted"
    (tmp_path / file).touch()
    assert half_configured(tmp_path) == ""


def test_features_that_cmake_switched_off_are_found():
    text = "USE_CUDNN:BOOL=OFF\nUSE_NCCL:BOOL=1\nUSE_MKLDNN:BOOL=0\nUSE_GLOO:BOOL=ON\n"
    wanted = {"USE_CUDNN": "1", "USE_NCCL": "1", "USE_MKLDNN": "0", "USE_GLOO": "1", "USE_OTHER": "1"}
    assert switched_off(text, wanted) == ["USE_CUDNN"]


def test_what_a_tree_was_configured_with_is_said():
    titles = {"toolkit": "nvcc 12.4 in /a", "host compiler": "gcc 12.2.0 at /usr/bin/gcc-12"}
    known = {"toolkit": "1", "host compiler": "2", "environment": {"USE_CUDNN": "0", "A": "1"}, "titles": titles}
    assert list(changed_since(known, {key: known[key] for key in ("toolkit", "host compiler")}, titles)) == []
    now = {"toolkit": "3", "host compiler": "4", "environment": {"USE_CUDNN": "1", "A": "1", "B": ""}}
    assert list(changed_since(known, now, {**titles, "toolkit": "nvcc 12.6 in /b"})) == [
        "toolkit was nvcc 12.4 in /a and is now nvcc 12.6 in /b",
        "host compiler changed since",  # another one at the same path
        "B was not set and is now empty, USE_CUDNN was 0 and is now 1",
    ]


def test_a_tree_without_such_a_note_is_judged_by_its_cache_alone():
    assert list(changed_since(None, {"toolkit": "1"}, {"toolkit": "nvcc"})) == []
    assert list(changed_since({"toolkit": "0"}, {"toolkit": "1"}, {"toolkit": "nvcc"})) == ["toolkit changed since"]
