"""The one place that starts programs: environment, log, output, timeouts, and the end of whole trees."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from bringup.errors import BuildError, FetchError, InstallError, StorageError
from bringup.system import groups, process
from bringup.system.process import TAIL_LINES, describe_status, run

ENV = {"PATH": "/usr/bin:/bin"}


def sh(script: str, **values: object) -> process.Completed:
    return run(["sh", "-c", script], env=ENV, **values)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    limit = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not [pid for pid in pids if alive(pid)]


def test_environment_is_what_is_given_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CFLAGS", "-O0")
    done = run([sys.executable, "-c", "import os; print(sorted(os.environ))"], env={"ONE": "1", "LC_ALL": "C"})
    assert done.output == "['LC_ALL', 'ONE']"


def test_output_of_both_streams_lines_and_figures(tmp_path: Path):
    seen: list[str] = []
    done = sh("echo one; echo two >&2; printf three; pwd", cwd=tmp_path, on_line=seen.append)
    assert seen == ["one", "two", f"three{tmp_path}"]
    assert done.output.splitlines() == seen
    assert done.returncode == 0
    assert done.argv[0] == "sh"
    assert 0 <= done.cpu_seconds < 5
    assert done.seconds > 0
    assert done.max_rss_kb > 100


def test_stdin_is_empty():
    assert sh("cat; echo end").output == "end"


def test_output_that_is_no_text_and_carriage_returns():
    assert sh(r"printf 'a\377b\r\nc'").output == "a\N{REPLACEMENT CHARACTER}b\nc"


def test_tail_is_kept_and_the_log_has_all(tmp_path: Path):
    log = tmp_path / "deep/er/x.log"
    done = sh("seq 1 1000", log=log, cwd=tmp_path)
    assert done.output.splitlines() == [str(number) for number in range(1001 - TAIL_LINES, 1001)]
    lines = log.read_text().splitlines()
    assert lines[0] == f"$ (cd {tmp_path}) sh -c 'seq 1 1000'"
    assert lines[1:] == [str(number) for number in range(1, 1001)]
    sh("echo again", log=log)
    assert log.read_text().splitlines()[-2:] == ["$ sh -c 'echo again'", "again"]


def test_failure_is_of_the_named_class_with_the_end_of_the_output(tmp_path: Path):
    with pytest.raises(InstallError) as caught:
        sh("seq 1 30; exit 3", error=InstallError, what="install of x", log=tmp_path / "x.log")
    assert caught.value.message.startswith("install of x failed (exit status 3)\n    19\n")
    assert caught.value.message.endswith("\n    30")
    assert caught.value.log == str(tmp_path / "x.log")
    assert sh("exit 3", check=False).returncode == 3


@pytest.mark.parametrize("script", ["kill -9 $$", "exit 137"])
def test_killed_command_speaks_of_memory(script: str):
    with pytest.raises(BuildError) as caught:
        sh(script)
    assert "memory" in caught.value.hint
    assert "--jobs" in caught.value.hint


def test_program_that_is_not_there():
    with pytest.raises(FetchError, match="cannot start /nowhere/git: No such file"):
        run(["/nowhere/git"], env=ENV, error=FetchError)


def test_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(BuildError, match="cannot start"):
        sh("true", cwd=tmp_path / "none")


def test_timeout_ends_the_whole_tree(tmp_path: Path):
    started = time.monotonic()
    with pytest.raises(BuildError, match=r"^sh did not finish within 0\.3 s$"):
        sh("sleep 60 & echo $! > pid; sleep 60", cwd=tmp_path, timeout=0.3)
    assert time.monotonic() - started < 4
    wait_until_gone([int((tmp_path / "pid").read_text())])


def test_silent_background_child_does_not_hold_up_the_end(tmp_path: Path):
    """Its output goes elsewhere, so the command's end is the end."""
    done = sh("sleep 20 >/dev/null 2>&1 & echo $!", cwd=tmp_path)
    assert done.seconds < 5
    os.kill(int(done.output), signal.SIGKILL)


def test_error_in_the_callback_ends_the_tree():
    pids: list[int] = []

    def fail(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh("echo $$; sleep 60", on_line=fail)
    wait_until_gone(pids)


def test_end_all_ends_what_other_threads_run(tmp_path: Path):
    pids: list[int] = []
    started = threading.Event()

    def line(text: str) -> None:
        pids.append(int(text))
        started.set()

    def work() -> None:
        with pytest.raises(BuildError, match="killed by SIGTERM"):
            sh("echo $$; sleep 60", on_line=line)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    process.end_all()
    thread.join(10)
    assert not thread.is_alive()
    wait_until_gone(pids)


def test_children_that_ignore_the_first_signal_are_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(groups, "GRACE_SECONDS", 0.05)
    pids: list[int] = []

    def stop(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh("trap '' TERM; echo $$; while :; do sleep 0.02; done", on_line=stop)
    wait_until_gone(pids)


def test_running_commands_are_recorded_until_they_end(tmp_path: Path):
    seen: dict[str, str] = {}

    def look(_line: str) -> None:
        seen.update({path.name: path.read_text() for path in tmp_path.iterdir()})

    process.record_groups(tmp_path)
    try:
        done = sh("echo $$", on_line=look)
    finally:
        process.record_groups(None)
    assert list(seen) == [done.output]
    assert seen[done.output].isdigit()
    assert list(tmp_path.iterdir()) == []


def test_start_time_tells_processes_apart():
    own = groups.start_time(os.getpid())
    assert own.isdigit()
    assert own == groups.start_time(os.getpid())
    assert groups.start_time(2**22 + 1) == ""


def test_file_descriptors_are_passed_only_when_named():
    read, write = os.pipe()
    try:
        assert sh(f"echo hi > /proc/self/fd/{write}", pass_fds=[write]).returncode == 0
        assert os.read(read, 10) == b"hi\n"
        assert sh(f"echo hi > /proc/self/fd/{write}", check=False).returncode != 0
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(2, "exit status 2"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200")],
)
def test_status_in_words(status: int, expected: str):
    assert describe_status(status) == expected


def test_log_on_a_full_disk_is_no_bug(tmp_path: Path):
    """Writes to /dev/full fail as on a full disk."""
    full = tmp_path / "x.log"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="no space left"):
        sh("echo hello", log=full)


def test_seconds_spent_in_commands_are_counted_by_thread(tmp_path: Path):
    told: list[float] = []

    def work() -> None:
        before = process.tool_seconds()
        sh("sleep 0.03", cwd=tmp_path)
        told.append(process.tool_seconds() - before)

    here = process.tool_seconds()
    other = threading.Thread(target=work)
    other.start()
    other.join()
    assert told[0] >= 0.03
    assert process.tool_seconds() == here
