"""Interruptions in the middle of a build: what is ended, what is kept, and how the next run goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.program import Program, finish
from helpers.sdists import local_recipe

# A "compiler" in a process tree of its own: waits for the file `go`, and says that it runs by `started`.
WAITING = """
import pathlib, subprocess
here = pathlib.Path({here!r})
if not (here / "go").exists():
    child = "trap '' TERM; touch started; while [ ! -e go ]; do sleep 0.05; done; : {marker}"
    subprocess.run(["sh", "-c", child if {stubborn} else child.split(";", 1)[1]], cwd=here, check=True)
with open(here / "compiled", "a") as log:
    log.write("gamma\\n")
VALUE = 3
"""
COMPILED = """
with open({path!r}, "a") as log:
    log.write("alpha\\n")
VALUE = 1
"""


class Halted:
    """Two packages; the second one's build waits until it is let go."""

    def __init__(self, folder: Path, *, stubborn: bool = False) -> None:
        self.here = folder
        self.marker = f"marker-{os.getpid()}-{folder.name}"
        waiting = WAITING.format(here=str(folder), marker=self.marker, stubborn=stubborn)
        first = local_recipe(folder / "src", "alpha", during_build=COMPILED.format(path=str(folder / "compiled")))
        second = local_recipe(folder / "src", "gamma", during_build=waiting, needs=("alpha",))
        self.program = Program.at(folder, write_data(folder / "data", first, second))

    def start(self) -> subprocess.Popen[str]:
        """Start a build and return once its second package compiles."""
        process = self.program.start("build")
        wait_for((self.here / "started").exists, process)
        return process

    def let_go(self) -> None:
        (self.here / "go").touch()

    def compiled(self) -> list[str]:
        return (self.here / "compiled").read_text().split()

    def left(self) -> list[int]:
        """Return the processes that still carry our marker or work in our folder."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if self.marker.encode() in words or str(self.program.build_dir).encode() in words:
                    found.append(int(entry.name))
        return found


def wait_for(condition, process: subprocess.Popen[str] | None = None, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"it ended with {process.returncode} before its time:\n{out}{err}")
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain")
        time.sleep(0.02)


@pytest.fixture
def halted(tmp_path: Path) -> Iterator[Halted]:
    one = Halted(tmp_path)
    yield one
    one.let_go()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_the_children_and_the_next_run_goes_on(halted: Halted, number: signal.Signals):
    process = halted.start()
    assert halted.left()
    os.kill(process.pid, number)
    done = finish(process, 130)
    assert "interrupted; what is finished is kept" in done.err
    assert "goes on where it stopped" in done.err
    wait_for(lambda: not halted.left(), seconds=3)
    plan = halted.program.plan()
    assert plan["alpha:build"][0] == "reuse"
    assert plan["gamma:patch"][0] == "reuse"
    assert plan["gamma:build"] == ("run", "it was never built")
    halted.let_go()
    halted.program.run("build")
    assert halted.compiled() == ["alpha", "gamma"]
    assert halted.program.python("import alpha, gamma; print(alpha.VALUE + gamma.VALUE)") == "4"


def test_a_build_that_nohup_started_outlasts_its_terminal(halted: Halted):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = halted.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    halted.let_go()
    finish(process, 0)
    assert halted.compiled() == ["alpha", "gamma"]


def test_a_reader_that_goes_away_does_not_stop_the_build(halted: Halted):
    """`build | head` shows the first lines; what was asked for is built all the same."""
    process = halted.start()
    assert process.stdout is not None
    process.stdout.close()
    halted.let_go()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == ""
    assert "nothing to do" in halted.program.run("build").out


def test_time_limit_keeps_what_is_finished_and_the_next_run_goes_on(halted: Halted):
    """As on a node that is lent for an hour."""
    halted.program.run("build", "--only", "alpha")
    done = halted.program.run("build", "--time-limit", "6", code=130)
    assert (halted.here / "started").exists()
    assert "the time limit of 6 s is over" in done.err
    assert "the same command goes on where it stopped" in done.err
    wait_for(lambda: not halted.left(), seconds=3)
    halted.let_go()
    halted.program.run("build", "--time-limit", "600")
    assert halted.compiled() == ["alpha", "gamma"]


def test_child_that_does_not_listen_is_killed(tmp_path: Path):
    halted = Halted(tmp_path, stubborn=True)
    process = halted.start()
    os.kill(process.pid, signal.SIGINT)
    finish(process, 130)
    wait_for(lambda: not halted.left(), seconds=3)


def test_kill_9_and_the_run_after_ends_the_orphans(halted: Halted):
    process = halted.start()
    process.kill()
    process.communicate()
    assert halted.left(), "nothing was left behind, so this test shows nothing"
    (halted.here / "started").unlink()
    again = halted.start()
    halted.let_go()
    finish(again, 0)
    assert halted.compiled() == ["alpha", "gamma"]
    assert not halted.left()


def test_two_runs_at_once(halted: Halted):
    process = halted.start()
    done = halted.program.run("build", code=13)
    assert "in use by another run" in done.err
    assert f"process {process.pid} " in done.err
    assert "--build-dir" in done.err
    assert halted.program.plan()["alpha:build"][0] == "reuse"  # looking is allowed
    assert finish(halted.program.popen("clean", "--all", "--build-dir", str(halted.program.build_dir)), 13).err
    halted.let_go()
    finish(process, 0)
    halted.program.run("build")


def test_other_build_directory_at_the_same_time(halted: Halted):
    process = halted.start()
    elsewhere = Program.at(halted.here, halted.program.data)
    elsewhere.build_dir = halted.here / "other"
    elsewhere.run("build", "--only", "alpha")
    halted.let_go()
    finish(process, 0)
    assert halted.compiled() == ["alpha", "gamma"]


def test_build_that_somebody_killed_fails_and_names_the_package(halted: Halted):
    process = halted.start()
    groups = {os.getpgid(pid) for pid in halted.left()} - {os.getpgid(process.pid)}
    assert len(groups) == 1
    os.killpg(groups.pop(), signal.SIGKILL)
    done = finish(process, 7)
    assert "build of gamma 1.0" in done.err
    assert not halted.left()
