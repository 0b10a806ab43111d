"""One run at a time on a folder, and nothing of a killed run left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bringup.errors import BusyError, StorageError
from bringup.system import process
from bringup.system.runlock import run_lock

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from bringup.system import process
from bringup.system.runlock import run_lock
with run_lock(Path(sys.argv[1])):
    process.run(["sh", "-c", sys.argv[2]], env={"PATH": "/usr/bin:/bin"}, on_line=lambda line: print(line, flush=True))
"""


def holder(root: Path, command: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that holds the lock and runs a command that prints its id first."""
    one = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert one.stdout is not None
    return one, int(one.stdout.readline())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_second_run_is_refused_and_told_who_has_it(tmp_path: Path):
    one, _ = holder(tmp_path, "echo $$; exec sleep 30")
    try:
        with pytest.raises(BusyError) as caught, run_lock(tmp_path):
            pytest.fail("two runs hold the lock")
        assert f"process {one.pid} since" in caught.value.message
        assert "--build-dir" in caught.value.hint
    finally:
        one.terminate()
        one.communicate()


def test_lock_is_free_after_the_run_and_after_an_error(tmp_path: Path):
    with run_lock(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    with run_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.parametrize(
    "command",
    ["echo $$; exec sleep 60", "sleep 60 & echo $!; wait", "sh -c 'echo $$; sleep 60' & exit 0 & wait; wait"],
)
def test_orphans_of_a_killed_run_are_ended_first(tmp_path: Path, command: str):
    one, child = holder(tmp_path, command)
    one.kill()
    one.communicate()
    assert not gone(child)
    with run_lock(tmp_path):
        assert list((tmp_path / "children").iterdir()) == []
        limit = time.monotonic() + 3
        while not gone(child) and time.monotonic() < limit:
            time.sleep(0.02)
        assert gone(child)


def test_group_whose_leader_died_is_ended_too(tmp_path: Path):
    one, child = holder(tmp_path, "sleep 60 >/dev/null & echo $!; wait")
    leader = os.getpgid(child)
    one.kill()
    one.communicate()
    os.kill(leader, signal.SIGKILL)
    limit = time.monotonic() + 3
    while not gone(leader) and time.monotonic() < limit:
        time.sleep(0.02)
    with run_lock(tmp_path):
        assert gone(child)


def test_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path):
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        (tmp_path / "children").mkdir()
        (tmp_path / "children" / str(stranger.pid)).write_text("1")
        with run_lock(tmp_path):
            assert stranger.poll() is None
        assert stranger.poll() is None
        assert list((tmp_path / "children").iterdir()) == []
    finally:
        stranger.kill()
        stranger.wait()


def test_rubbish_in_the_folder_of_children(tmp_path: Path):
    (tmp_path / "children").mkdir()
    (tmp_path / "children/abc").write_text("x")
    (tmp_path / "children/0").write_text("")
    with run_lock(tmp_path):
        pass
    assert list((tmp_path / "children").iterdir()) == []


def test_commands_are_recorded_while_it_is_held(tmp_path: Path):
    def look(line: str) -> None:
        assert (tmp_path / "children" / line).exists()

    with run_lock(tmp_path):
        process.run(["sh", "-c", "echo $$"], env={"PATH": "/usr/bin:/bin"}, on_line=look)


def test_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), run_lock(tmp_path / "file"):
        pass
