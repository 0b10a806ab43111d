"""A build with nothing to do starts no process and opens no connection; a replaced compiler is something to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.data_root import ROOT, write_data
from helpers.program import Program
from helpers.sdists import local_recipe

# Python tells of every process and connection before it is made.
WATCHED = """
import json, sys
seen = []
names = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.connect"}
sys.addaudithook(lambda name, args: seen.append([name, repr(args)[:200]]) if name in names else None)
from bringup.cli import main
try:
    main(["bringup", *sys.argv[1:]])
finally:
    print(json.dumps(seen))
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    recipes = [
        local_recipe(tmp_path / "src", "alpha", cuda=True),
        local_recipe(tmp_path / "src", "beta", needs=("alpha",)),
    ]
    program = Program.at(tmp_path, write_data(tmp_path / "data", *recipes))
    before = time.time() - 60  # of a file that was only just written nothing is remembered
    for path in (tmp_path / "cuda").rglob("*"):
        os.utime(path, (before, before))
    return program


def watched(program: Program, task: str) -> tuple[str, list[list[str]]]:
    """Run a task; return what it printed, and the processes and connections that it began."""
    place = ("--gpu", "h200", "--data", str(program.data), "--build-dir", str(program.build_dir))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, task, *place],
        cwd=ROOT, env=program.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said, _, seen = done.stdout.rstrip().rpartition("\n")
    return said, json.loads(seen)


def test_a_second_build_starts_no_process(program: Program):
    said, seen = watched(program, "build")
    assert "done  alpha build" in said
    assert seen, "the watch sees nothing"
    said, seen = watched(program, "build")
    assert "nothing to do" in said
    assert seen == []
    assert watched(program, "plan")[1] == []


def test_a_compiler_that_is_replaced_under_its_path_is_noticed(program: Program, tmp_path: Path):
    """By one of the same size and with the same date, as an unpacked archive may set it."""
    program.run("build")
    ptxas = tmp_path / "cuda/bin/ptxas"
    before, text = ptxas.stat(), ptxas.read_text()
    ptxas.write_text(text.replace("release x", "release y"))
    os.utime(ptxas, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ptxas.stat().st_size == before.st_size
    assert program.plan()["alpha:build"] == ("run", "changed since the last build: toolkit")
    ptxas.write_text(text)
    os.utime(ptxas, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert program.plan()["alpha:build"][0] == "reuse"
