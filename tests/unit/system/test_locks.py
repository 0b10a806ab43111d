"""Locks hold with flock, and where a file system has none."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from bringup.errors import BusyError
from bringup.system import locks
from bringup.system.groups import start_time
from bringup.system.locks import created_lock, file_lock, is_alive, owner
from bringup.system.runlock import run_lock


@pytest.fixture(params=["flock", "none"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With locks of the file system, and with what NFS answers without its lock daemon."""
    if request.param == "none":

        def no_locks(_file: object, _operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", no_locks)
        monkeypatch.setattr(locks, "POLL_SECONDS", 0.002)
    return str(request.param)


@pytest.mark.usefixtures("kind")
def test_one_holder_at_a_time(tmp_path: Path):
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with file_lock(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.usefixtures("kind")
def test_without_waiting_a_held_lock_is_an_error_and_free_again_later(tmp_path: Path):
    with file_lock(tmp_path / "lock"), pytest.raises(BlockingIOError), file_lock(tmp_path / "lock", wait=False):
        pass
    with file_lock(tmp_path / "lock", wait=False):
        pass


@pytest.mark.usefixtures("kind")
def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path):
    with run_lock(tmp_path), pytest.raises(BusyError, match="in use by another run"), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass


def test_lock_of_a_process_that_is_gone_is_broken(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as other:
        gone = f"{owner().rsplit(' ', 2)[0]} {other.pid} {start_time(other.pid)}"
        assert is_alive(gone) is True
        other.kill()
    assert is_alive(gone) is False
    (tmp_path / "lock").write_text(gone)
    with created_lock(tmp_path / "lock", wait=False):
        assert (tmp_path / "lock").read_text() == owner()
    assert not (tmp_path / "lock").exists()


def test_lock_of_another_machine_holds_until_it_is_old(tmp_path: Path):
    path = tmp_path / "lock"
    path.write_text("elsewhere/pid:[1] 7 123")
    with pytest.raises(BlockingIOError), created_lock(path, wait=False):
        pass
    old = time.time() - locks.STALE_SECONDS - 1
    os.utime(path, (old, old))
    with created_lock(path, wait=False):
        pass


def test_owner_of_this_process_is_alive():
    assert is_alive(owner()) is True
    assert is_alive(owner().rpartition(" ")[0] + " 1") is False
    assert is_alive("nonsense") is None
