"""The job server with clients that behave as ninja does: killed ones, ones that do not take part, changed limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bringup.errors import UsageError
from bringup.jobs import running_builds, set_limits
from bringup.system import jobtable
from bringup.system.jobbudget import MARK, announce, read_mark
from bringup.system.jobcontrol import change

# Calls itself ninja, takes as many tokens as there are or as it is told, starts a job for each and one more, and waits.
CLIENT = """
import os, subprocess, sys, time
open("/proc/self/comm", "w").write(sys.argv[1])
most = int(sys.argv[2])
pipe = os.open(sys.argv[3], os.O_RDWR | os.O_NONBLOCK) if len(sys.argv) > 3 else None
jobs = [subprocess.Popen(["sleep", "30"])]
while len(jobs) < most:
    try:
        token = os.read(pipe, 1) if pipe else b""
    except BlockingIOError:
        break
    jobs.append(subprocess.Popen(["sleep", "30"]))
print(len(jobs), flush=True)
sys.stdin.read()
for job in jobs:
    job.kill()
    job.wait()
if pipe:
    os.write(pipe, b"+" * (len(jobs) - 1))
"""


def client(bench, name: str, most: int, *, takes_part: bool = True) -> tuple[subprocess.Popen, int]:
    argv = [sys.executable, "-c", CLIENT, name, str(most), *([bench.server.pipe] if takes_part else [])]
    started = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    bench.started.append(started)
    return started, int(started.stdout.readline())


def end(started: subprocess.Popen) -> None:
    started.communicate(timeout=20)


def within(seconds: float, true) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if true():
            return True
        time.sleep(0.02)
    return False


def test_clients_share_the_jobs(bench):
    server = bench.serve(jobs=5)
    one, count = client(bench, "ninja", 3)
    two, other = client(bench, "make", 9)
    assert (count, other) == (3, 3), "each has one for nothing, and there are four besides"
    time.sleep(1.2)
    assert server.level() == 0
    end(one)
    end(two)
    assert server.level() == 4
    assert bench.said == []


def test_tokens_of_a_killed_client_are_back_within_two_seconds(bench):
    server = bench.serve(jobs=5)
    two, _ = client(bench, "ninja", 2)
    one, count = client(bench, "ninja", 9)
    assert (count, server.level()) == (4, 0)
    time.sleep(1.0)
    os.killpg(one.pid, signal.SIGKILL)
    one.communicate()
    assert within(2.0, lambda: server.level() == 3)
    end(two)
    assert server.level() == 4
    assert bench.said == ["job tokens put back after a program that held them was killed: 3"]


def test_client_that_does_not_take_part_is_reported_once(bench):
    bench.serve(jobs=2)
    one, _ = client(bench, "ninja", 4, takes_part=False)
    assert within(4.0, lambda: bench.said)
    time.sleep(0.7)
    assert len(bench.said) == 1
    assert f"ninja (process {one.pid}) does not take part in the job budget" in bench.said[0]
    assert "did not open the pipe" in bench.said[0]
    end(one)


def test_limits_follow_the_control_file(bench):
    server = bench.serve(jobs=2)
    change(server.folder, jobs=6)
    assert within(2.0, lambda: server.level() == 5)
    assert server.makeflags == f" -j6 --jobserver-auth=fifo:{server.pipe}"
    one, count = client(bench, "ninja", 4)
    assert count == 4
    change(server.folder, jobs=1)
    assert within(2.0, lambda: server.level() == 0)
    end(one)
    assert within(2.0, lambda: server.level() == 0)
    assert jobtable.read_table(server.table)[1] == 0
    assert bench.said == []


def test_token_that_a_waiting_launcher_put_back_is_taken_out_after_it_was_killed(bench):
    server = bench.serve(jobs=4, mib=100, usual=80)
    first = bench.compile("a", "sleep 30000")
    assert within(5, lambda: any(entry.running for entry in jobtable.read_table(server.table)[0]))
    second = bench.compile("b")
    assert within(5, lambda: any(entry.donated for entry in jobtable.read_table(server.table)[0]))
    assert server.level() == 4
    second.kill()
    second.wait()
    assert within(2.0, lambda: server.level() == 3)
    assert jobtable.read_table(server.table)[1] == 0
    first.kill()


def test_limits_of_a_running_build_are_found_and_changed(bench, tmp_path):
    build = tmp_path / "build"
    (build / "h200").mkdir(parents=True)
    with pytest.raises(UsageError, match="no build runs"):
        set_limits(build, "", jobs=1, memory_gib=0, nice=None)
    server = bench.serve(jobs=1, mib=2048)
    with announce(build / "h200", server.folder):
        assert running_builds(build) == {"h200": server.folder}
        started = bench.compile("a", "sleep 300")
        assert within(5, lambda: any(entry.child for entry in jobtable.read_table(server.table)[0]))
        lines = set_limits(build, "", jobs=3, memory_gib=1, nice=5)
        assert lines[0] == "h200: 3 jobs, 1.0 GiB of memory, nice 5"
        assert lines[1].endswith("demo: a.cc")
        assert lines[2] == "  1 compilers run, 0 wait"
        (entry,) = jobtable.read_table(server.table)[0]
        assert os.getpriority(os.PRIO_PROCESS, entry.child) == 5
        started.communicate(timeout=20)
        with pytest.raises(UsageError, match="no build of gone runs"):
            set_limits(build, "gone", jobs=1, memory_gib=0, nice=None)
        with pytest.raises(UsageError, match="nice"):
            set_limits(build, "", jobs=1, memory_gib=0, nice=40)
    assert read_mark(build / "h200") is None


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    left = tmp_path / "bringup-jobs-left"
    left.mkdir()
    (tmp_path / MARK).write_text(f'{{"folder": "{left}", "pid": 4194304, "start": "1"}}')
    assert read_mark(tmp_path) == (left, False)
    with announce(tmp_path, tmp_path / "bringup-jobs-now"):
        assert not left.exists()
    (tmp_path / MARK).write_text(f'{{"folder": "{Path.home()}", "pid": 1, "start": "1"}}')
    assert read_mark(tmp_path) is None, "only what is ours is removed"
