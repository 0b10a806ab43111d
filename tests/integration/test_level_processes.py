"""Levels as processes of their own: time limits, wrong options, a machine without a GPU."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

LEVELS = Path(__file__).resolve().parents[2] / "bringup" / "verify" / "levels"
sys.path.insert(0, str(LEVELS))  # they import one another as top-level modules, as they do where they run

import level_io  # noqa: E402


def document(path):
    return json.loads(path.read_text())


HANGS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {levels!r})
import level_io
def body(result):
    result.add("one", True, "fine")
    level_io.run_child([sys.executable, "-c", "import time; time.sleep(600)"], log=Path({log!r}), limit_s=600)
level_io.run_level("torch", body, out=Path({out!r}), limit_s=1.0)
"""


def test_a_level_that_hangs_fails_and_leaves_no_child(tmp_path):
    out, log = tmp_path / "level.json", tmp_path / "child.log"
    code = HANGS.format(levels=str(LEVELS), log=str(log), out=str(out))
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0
    assert time.monotonic() - started < 30
    told = document(out)
    assert [check["id"] for check in told["checks"]] == ["torch.one", "torch.time-limit"]
    assert told["checks"][1]["status"] == "FAIL"
    assert "run_child" in told["checks"][1]["evidence"]["stacks"]


def test_a_child_that_outlasts_its_limit_is_ended_with_its_children(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"sleep 600 & echo $! > {pid_file}; wait"
    status, seconds, log = level_io.run_child(["sh", "-c", code], log=tmp_path / "log", limit_s=1.0)
    assert status == -9
    assert seconds < 30
    assert "ended after the limit of 1 s" in log
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid_file.read_text().strip()}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{pid_file.read_text().strip()}/cmdline").read_bytes():
            break  # dead, only not yet collected
        time.sleep(0.05)
    else:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "/m"], "--model needs --prompts"),
        (["--prompts", "/p"], "--prompts needs --model"),
        (["--tp", "x"], "--tp"),
    ],
)
def test_wrong_options_of_the_sglang_level(tmp_path, arguments, told):
    done = subprocess.run(
        [sys.executable, LEVELS / "sglang_level.py", "--json", tmp_path / "x.json", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert told in done.stderr


def test_without_a_gpu_the_sglang_level_is_skipped(tmp_path):
    env = {**os.environ, "PATH": str(tmp_path)}
    out = tmp_path / "x.json"
    argv = [sys.executable, LEVELS / "sglang_level.py", "--json", out]
    assert subprocess.run(argv, env=env, check=False, timeout=60).returncode == 0
    (check,) = document(out)["checks"]
    assert (check["id"], check["status"], check["required"]) == ("sglang.gpu", "SKIPPED", True)
