"""How builds get to the budget: compilers behind the launcher, old makes kept alive, order by time to the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from bringup.model.plan import Decision, Phase, Step
from bringup.schedule import path_lengths, run_steps
from bringup.system.jobbudget import JobBudget
from bringup.system.pypi import find_uv
from bringup.toolchain.host_compiler import Gcc
from bringup.toolchain.links import link_tools, shadow_make, share_ninja


def gcc_of(scripted: Path) -> Gcc:
    return Gcc(major=12, version="12.2.0", gcc=scripted, gxx=scripted, identity="gcc-x")


def test_compilers_are_behind_the_launcher_and_come_out_again(tmp_path, launcher, scripted):
    place = tmp_path / "bin"
    link_tools(place, gcc_of(scripted), None, {"ninja": scripted}, launcher=launcher)
    for name in ("gcc", "g++", "cc", "c++", "gcc-12", "g++-12"):
        assert (place / name).read_bytes() == launcher.read_bytes()
        assert (place / ".behind" / name).readlink() == scripted
        said = subprocess.run([place / name, "--version"], env={}, capture_output=True, text=True, check=True).stdout
        assert said == "scripted 1.0\n"
    assert (place / "ninja").readlink() == scripted
    before = (place / "g++").stat().st_ino
    link_tools(place, gcc_of(scripted), None, {}, launcher=launcher)
    assert (place / "g++").stat().st_ino == before, "build systems see no change"
    link_tools(place, gcc_of(scripted), None, {})
    assert (place / "g++").readlink() == scripted


OLD_MAKE = """#!/bin/sh
case $1 in --version) echo "GNU Make {version}"; exit;; esac
echo "$MAKEFLAGS"; read -r line <&8 && echo "$line"
"""


@pytest.mark.parametrize("name", ["make", "gmake"])
def test_an_old_make_gets_the_pipe_as_descriptors(tmp_path, name):
    (tmp_path / "bin").mkdir()
    (tmp_path / "sys").mkdir()
    make, pipe = tmp_path / "sys" / name, tmp_path / "pipe"
    make.write_text(OLD_MAKE.format(version="4.3"))
    make.chmod(0o755)
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    os.write(end, b"+\n")
    env = {"PATH": f"{tmp_path}/bin:{tmp_path}/sys:/usr/bin:/bin", "MAKEFLAGS": f" -j4 --jobserver-auth=fifo:{pipe}"}
    shadow_make(tmp_path / "bin", env)
    program = tmp_path / "bin" / name
    said = subprocess.run([program], env=env, capture_output=True, text=True, check=True)
    assert said.stdout == " -j --jobserver-auth=8,9\n+\n"
    os.close(end)


def test_this_machines_make_builds_with_the_pipe(tmp_path, bench):
    """Whatever its version: make 4.3 stops at the mere mention of a FIFO."""
    if shutil.which("make", path="/usr/bin:/bin") is None:
        pytest.skip("no make here")
    bench.serve(jobs=3)
    rules = "all: a b c d\n" + "".join(f"{one}:\n\ttouch {one}\n" for one in "abcd")
    (tmp_path / "Makefile").write_text(rules)
    (tmp_path / "front").mkdir()
    env = bench.env | {"PATH": f"{tmp_path}/front:/usr/bin:/bin"}
    shadow_make(tmp_path / "front", env)
    program = shutil.which("make", path=env["PATH"])
    subprocess.run([program, "-C", tmp_path], env=env, check=True, capture_output=True)
    assert all((tmp_path / one).exists() for one in "abcd")
    assert bench.server.level() == 2


@pytest.mark.parametrize("version", ["4.4", "4.4.1", "5.0"])
def test_a_make_that_knows_fifos_is_left_alone(tmp_path, version):
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/make").write_text(OLD_MAKE.format(version=version))
    (tmp_path / "sys/make").chmod(0o755)
    shadow_make(tmp_path / "bin", {"PATH": f"{tmp_path}/sys"})
    assert not (tmp_path / "bin").exists()


OLD_NINJA = """#!/bin/sh
case $1 in --version) echo "{version}"; exit;; esac
echo "$0 $MAKEFLAGS $1"; read -r line <&8 && echo "$line"
"""


def test_an_old_ninja_of_pypi_gets_the_pipe_as_descriptors(tmp_path):
    ninja, pipe = tmp_path / "ninja", tmp_path / "pipe"
    ninja.write_text(OLD_NINJA.format(version="1.11.1.git.kitware.jobserver-1"))
    ninja.chmod(0o755)
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    os.write(end, b"+\n")
    env = {"PATH": "/usr/bin:/bin", "MAKEFLAGS": f" -j4 --jobserver-auth=fifo:{pipe}"}
    linked = tmp_path / "of-uv's-cache"
    os.link(ninja, linked)
    before = linked.read_text()
    for _ in range(2):
        assert share_ninja(tmp_path, env)
        said = subprocess.run([ninja, "all"], env=env, capture_output=True, text=True, check=True).stdout
        moved, flags, *_ = said.partition(" ")[0], said
        assert Path(moved).name == "ninja", "clients are counted by their name"
        assert f"--jobserver-auth=8,9 --jobserver-auth=fifo:{pipe} all\n" in flags
        os.write(end, b"+\n")
    assert linked.read_text() == before
    plain = subprocess.run([ninja, "all"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert "8,9" not in plain.stdout
    os.close(end)


@pytest.mark.parametrize(
    ("version", "shared"),
    [("1.13.0.git.kitware.jobserver-pipe-1", True), ("1.13.1", True), ("2.0", True), ("1.11.1", False), ("?", False)],
)
def test_another_ninja_is_left_alone(tmp_path, version, shared):
    ninja = tmp_path / "ninja"
    ninja.write_text(OLD_NINJA.format(version=version))
    ninja.chmod(0o755)
    before = ninja.read_text()
    assert share_ninja(tmp_path, {"PATH": "/usr/bin:/bin"}) is shared
    assert ninja.read_text() == before
    assert not share_ninja(tmp_path / "nowhere", {})


@pytest.mark.network
@pytest.mark.parametrize("version", ["1.11.1.4", "1.13.0"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_ninjas_of_pypi_keep_to_the_budget(tmp_path, bench, version, jobs):
    """What PyTorch's setup.py starts: no -j; the older one would take three jobs on two cores and know no budget."""
    place = tmp_path / "env"
    for words in (
        ["venv", "-q", place],
        ["pip", "install", "-q", "--python", place / "bin/python", f"ninja=={version}"],
    ):
        subprocess.run([find_uv(), *words], check=True)
    bench.serve(jobs=jobs)
    assert share_ninja(place / "bin", bench.env)
    rule = "rule r\n  command = echo + >> log; sleep 0.1; echo - >> log; touch $out\n"
    (tmp_path / "build.ninja").write_text(rule + "".join(f"build o{index}: r\n" for index in range(12)))
    subprocess.run([place / "bin/ninja", "-C", tmp_path], env=bench.env, check=True, capture_output=True)
    running = [0]
    for line in (tmp_path / "log").read_text().split():
        running.append(running[-1] + (1 if line == "+" else -1))
    assert max(running) == jobs
    assert bench.server.level() == jobs - 1


def test_without_a_c_compiler_there_is_no_launcher_and_it_is_said_once(bench, tmp_path):
    said: list[str] = []
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no such thing' >&2; exit 1\n")
    broken.chmod(0o755)
    budget = JobBudget(bench.serve(), records=bench.records, cache=tmp_path, env={}, say=said.append)
    assert budget.launcher([broken]) is None
    assert budget.launcher([broken]) is None
    assert said == ["no launcher for compilers, packages are built one after another: no such thing"]


def step(name: str, *after: str, decision: Decision = Decision.RUN) -> Step:
    return Step(
        package=name, phase=Phase.BUILD, decision=decision, why="", fingerprint="",
        after=tuple(f"{one}:build" for one in after),
    )  # fmt: skip


SECONDS = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 4.0, "e": 100.0}


def test_time_to_the_end_is_that_of_the_longest_way():
    steps = [step("a"), step("b", "a"), step("c", "a"), step("d", "c"), step("e", decision=Decision.REUSE)]
    lengths = path_lengths(steps, lambda one: SECONDS[one.package])
    assert lengths == {"a:build": 7.0, "b:build": 5.0, "c:build": 6.0, "d:build": 4.0, "e:build": 0.0}


def test_of_what_is_ready_the_longest_way_starts_first():
    started: list[str] = []
    steps = [step("a"), step("b"), step("c"), step("d", "c")]
    run_steps(
        steps, lambda one: started.append(one.package), heavy=lambda _: True,
        seconds_of=lambda one: SECONDS[one.package], stopping=threading.Event(),
    )  # fmt: skip
    assert started[:2] == ["c", "b"], "c has 2 and 4 before it, b 5"
