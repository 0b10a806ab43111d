import json
import os
import subprocess
import sys
import time
from pathlib import Path

import level_io
import pytest

LEVELS = Path(level_io.__file__).parent


def document(path):
    return json.loads(path.read_text())


def run(tmp_path, body, limit_s=60.0):
    out = tmp_path / "out" / "level.json"
    assert level_io.run_level("torch", body, out=out, limit_s=limit_s) == 0
    return document(out)


def test_checks_are_written_in_order_with_their_level(tmp_path):
    def body(result):
        result.add("one", True, "fine", evidence={"path": Path("/x"), "nan": float("nan"), "pair": (1, 2)})
        result.skip("two", "no GPU", required=True)
        result.warnings.append("slow")

    told = run(tmp_path, body)
    assert [(check["id"], check["status"], check["required"]) for check in told["checks"]] == [
        ("torch.one", "OK", True), ("torch.two", "SKIPPED", True),
    ]  # fmt: skip
    assert told["checks"][0]["evidence"] == {"path": "/x", "nan": None, "pair": [1, 2]}
    assert told["warnings"] == ["slow"]
    assert told["evidence"]["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["level.json"]


def test_an_exception_becomes_a_check_with_its_cause(tmp_path):
    def body(result):
        result.add("one", True, "fine")
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    told = run(tmp_path, body)
    assert [check["status"] for check in told["checks"]] == ["OK", "FAIL"]
    assert told["checks"][1]["why"].startswith("A binary holds no machine code for this GPU")
    assert told["checks"][1]["evidence"]["signature"] == "no-kernel-image"


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


def test_a_child_sees_the_given_variables_and_its_output_is_kept(tmp_path):
    status, _, log = level_io.run_child(
        ["sh", "-c", "echo $FLAVOUR; echo oops >&2; exit 3"], log=tmp_path / "log", env={"FLAVOUR": "sour"}, limit_s=30
    )
    assert (status, log) == (3, "sour\noops\n")


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
