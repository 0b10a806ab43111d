"""What the launcher writes down of each compiler, and what a tree says that lacks a feature asked for."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from bringup.building.cmake_cache import switched_off
from bringup.building.unit_log import VARIABLE, launcher_environment, read_unit_log, unit_log
from bringup.system import process

GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(not GCC, reason="no gcc")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    base = {"CC": str(GCC), "PATH": os.environ["PATH"], "CMAKE_CUDA_COMPILER_LAUNCHER": "/usr/bin/cache"}
    return base | launcher_environment(base, tmp_path, tmp_path / "log")


def run(env: dict[str, str], *argv: str) -> int:
    launcher = env["CMAKE_CXX_COMPILER_LAUNCHER"]
    return process.run([launcher, *argv], env=env, check=False).returncode


def test_a_unit_is_recorded_with_its_costs(env: dict[str, str], tmp_path: Path):
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    assert run(env, str(GCC), "-c", str(tmp_path / "a.c"), "-o", str(tmp_path / "a.o")) == 0
    assert run(env, str(GCC), str(tmp_path / "a.o"), "-o", str(tmp_path / "a")) == 0
    compiled, linked = read_unit_log(unit_log(tmp_path))
    assert (compiled.output, compiled.compiles, linked.compiles) == (str(tmp_path / "a.o"), True, False)
    assert compiled.status == 0
    assert compiled.peak_kib > 1000
    assert 0 < compiled.cpu_seconds <= (compiled.end - compiled.start) * 1.5 + 0.1
    assert compiled.end <= linked.start


def test_the_launcher_hands_on_the_exit_status(env: dict[str, str], tmp_path: Path):
    assert run(env, sys.executable, "-c", "raise SystemExit(3)") == 3
    assert run(env, sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == 137
    assert run(env, "/no/such/compiler") == 127
    assert [one.status for one in read_unit_log(unit_log(tmp_path))] == [3, 137, 127]


def test_a_unit_that_is_ended_is_recorded_too(env: dict[str, str], tmp_path: Path):
    end_group = "import os, signal; os.killpg(0, signal.SIGTERM)"
    assert run(env, sys.executable, "-c", end_group, "-o", "a.o") == 128 + 15
    assert [(one.output, one.status) for one in read_unit_log(unit_log(tmp_path))] == [("a.o", 143)]


@pytest.mark.parametrize("place", ["", "/no/such/folder/units.log"])
def test_without_a_file_to_write_the_command_runs_all_the_same(env: dict[str, str], place: str):
    assert run({**env, VARIABLE: place}, sys.executable, "-c", "raise SystemExit(5)") == 5


def test_a_launcher_that_is_there_comes_after_ours(env: dict[str, str]):
    assert env["CMAKE_CUDA_COMPILER_LAUNCHER"] == f"{env['CMAKE_C_COMPILER_LAUNCHER']};/usr/bin/cache"


def test_lines_that_were_cut_off_are_passed_over(tmp_path: Path):
    whole = "1.0\t3.5\t2.0\t0.25\t4096\t0\ta.o\n"
    (tmp_path / "units.log").write_text(f"{whole}1.0\t2.0\t3\n\n{whole}")
    found = list(read_unit_log(tmp_path / "units.log"))
    assert [(one.cpu_seconds, one.peak_kib, one.output) for one in found] == [(2.25, 4096, "a.o")] * 2
    assert list(read_unit_log(tmp_path / "none.log")) == []


def test_features_that_cmake_switched_off_are_found():
    text = "USE_CUDNN:BOOL=OFF\nUSE_NCCL:BOOL=1\nUSE_MKLDNN:BOOL=0\nUSE_GLOO:BOOL=ON\n"
    wanted = {"USE_CUDNN": "1", "USE_NCCL": "1", "USE_MKLDNN": "0", "USE_GLOO": "1", "USE_OTHER": "1"}
    assert switched_off(text, wanted) == ["USE_CUDNN"]
