"""Wrong input and broken surroundings: the exit code, the words that help, and never a traceback.

Packages are pure, sources are files or a web server on loopback: no network and no compiler is needed, only a
Python 3.11 for the target environment and a gcc.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.data_root import ROOT, Recipe, pin, sha256, write_data, write_lock, write_recipe
from helpers.program import Program, fake_toolkit, finish, script
from helpers.sdists import local_recipe, sdist_bytes, wheel_bytes


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """One package that builds; the data folder is the test's to spoil."""
    return Program.at(tmp_path, write_data(tmp_path / "data", local_recipe(tmp_path / "src", "alpha")))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Several GPUs; for what fails before anything is made."""
    folder = tmp_path_factory.mktemp("several")
    recipe = local_recipe(folder / "src", "alpha")
    return Program.at(folder, write_data(folder / "data", recipe, gpus=("h200", "h100", "gb200", "b200")))


# --- names -------------------------------------------------------------------------------------------------------


def test_unknown_gpu(several: Program):
    done = several.run("plan", target=("--gpu", "h20"), code=2)
    assert "unknown GPU 'h20'" in done.err
    assert "did you mean h200?" in done.err
    assert "invoke list gpus" in done.err


def test_unknown_stack(several: Program):
    done = several.run("plan", "--stack", "tinny", code=2)
    assert "unknown stack 'tinny'; did you mean tiny?" in done.err


def test_unknown_cuda_and_toolkit(several: Program):
    assert "unknown CUDA release '13.9'" in several.run("plan", "--cuda", "13.9", code=2).err
    assert "unknown toolkit provider 'wheel'" in (done := several.run("plan", "--toolkit", "wheel", code=2)).err
    assert "--toolkit wheels" in done.err


@pytest.mark.parametrize("task", ["build", "plan", "fetch", "verify"])
def test_unknown_flag(several: Program, task: str):
    done = finish(several.popen(task, "--gpu", "h200", "--stak", "kernels"), 2)
    assert f"{task} has no flag '--stak'; did you mean --stack?" in done.err


def test_unknown_task_and_missing_flag(several: Program):
    assert "there is no task 'biuld'; did you mean build?" in finish(several.popen("biuld", "--gpu", "h200"), 2).err
    assert "build needs --gpu" in finish(several.popen("build"), 2).err


def test_unknown_package_in_only(program: Program):
    assert "alpha" in (done := program.run("build", "--only", "alpa", code=2)).err
    assert "did you mean alpha?" in done.err
    assert not program.build_dir.exists()


@pytest.mark.parametrize("flags", [("--jobs", "-1"), ("--variant", "alpha"), ("--mirror", "x"), ("--jobs", "many")])
def test_flags_with_values_that_cannot_be(program: Program, flags: tuple[str, str]):
    assert flags[0].lstrip("-") in program.run("build", *flags, code=2).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "--gpu"), "--gpu needs a value"),
        (("plan", "--gpu", "h200", "--jobs", "4.5"), "--jobs wants a number, not '4.5'"),
        (("gc", "--max-size=x"), "--max-size x: wants a number with K, M, G or T"),
    ],
)
def test_values_that_are_missing_or_no_numbers(several: Program, words: tuple[str, ...], said: str):
    assert said in finish(several.popen(*words), 2).err


def test_data_folder_that_is_none(program: Program, tmp_path: Path):
    done = finish(program.popen("plan", "--gpu", "h200", "--data", str(tmp_path / "cuda")), 2)
    assert f"--data {tmp_path / 'cuda'}" in done.err


# --- targets -----------------------------------------------------------------------------------------------------


def with_devices(program: Program, *rows: str, code: int = 0) -> Program:
    """Put an nvidia-smi first on the PATH that prints these rows."""
    folder = program.folder / "smi"
    text = "\n".join(rows)
    script(folder / "nvidia-smi", f"cat <<'END'\n{text}\nEND\nexit {code}")
    program.env["PATH"] = f"{folder}:{program.env['PATH']}"
    return program


def test_auto_without_a_gpu(program: Program):
    done = with_devices(program, "No devices were found", code=6).run("plan", target=("--gpu", "auto"), code=3)
    assert "no GPU is visible" in done.err
    assert "--gpu h200" in done.err


def test_auto_with_different_gpus_lists_them(program: Program):
    with_devices(program, "NVIDIA H200, 9.0, 580.1, 143771", "NVIDIA L40S, 8.9, 580.1, 46068")
    done = program.run("plan", target=("--gpu", "auto"), code=3)
    assert "NVIDIA H200, capability 9.0" in done.err
    assert "NVIDIA L40S, capability 8.9" in done.err
    assert "--gpu NAME" in done.err


def test_auto_takes_the_gpu_that_is_there(program: Program):
    with_devices(program, "NVIDIA H200, 9.0, 580.1, 143771", "NVIDIA H200, 9.0, 580.1, 143771")
    assert "h200-cu130-cp311" in program.run("plan", target=("--gpu", "auto")).out


def test_auto_with_a_gpu_that_nobody_describes(program: Program):
    done = with_devices(program, "NVIDIA Future, 99.0, 999.1, 1").run("plan", target=("--gpu", "auto"), code=3)
    assert "NVIDIA Future (capability 99.0)" in done.err
    assert "new-gpu.md" in done.err


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86_64 machine")
def test_gpu_of_another_processor_architecture(several: Program):
    done = several.run("plan", target=("--gpu", "gb200"), code=3)
    assert "aarch64" in done.err
    assert "x86_64" in done.err


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86_64 machine")
@pytest.mark.parametrize("gpu", ["gb200", "gb300", "gh200", "dgx-spark", "jetson-orin", "jetson-thor"])
def test_every_part_with_an_arm_processor_is_refused_on_x86(gpu: str, tmp_path: Path):
    """With the project's own data: these parts need locks and wheels that no stack has."""
    done = Program.at(tmp_path, ROOT).run("plan", target=("--gpu", gpu), code=3)
    assert "comes with aarch64 processors and this machine is x86_64" in done.err


def can_hide_files() -> bool:
    """Return whether this user may mount in a namespace of its own."""
    return shutil.which("unshare") is not None and not subprocess.run(["unshare", "-m", "true"], check=False).returncode


@pytest.mark.skipif(not can_hide_files(), reason="mounting something over the system's gcc needs root")
def test_cuda_12_4_with_no_gcc_but_14(tmp_path: Path):
    recipe = local_recipe(tmp_path / "src", "alpha", cuda=True)
    data = write_data(tmp_path / "data", recipe, cuda=("12.4",), toolkits=("debs",))
    program = Program.at(tmp_path, data)
    # Where this test runs the compiler may be any; what is seen in its place says that it is gcc 14.
    part = script(tmp_path / "cc1plus", "exit 0")
    answers = f"-dumpfullversion) echo 14.2.0;; -print-prog-name=*) echo {part};;"
    fake = script(tmp_path / "gcc-14", f'case "$1" in {answers} esac')
    names = {f"{name}{suffix}" for name in ("gcc", "g++") for suffix in ("", *(f"-{n}" for n in range(9, 20)))}
    real = {path.resolve() for name in names if (path := Path("/usr/bin", name)).exists()}
    mounts = " && ".join(f"mount --bind {fake} {path}" for path in sorted(real))
    place = ["--data", str(data), "--build-dir", str(program.build_dir)]
    argv = [sys.executable, "-m", "bringup.cli", "plan", "--gpu", "h200", *place]
    command = ["unshare", "-m", "sh", "-c", f"{mounts} && exec {shlex.join(argv)}"]
    done = subprocess.run(command, cwd=ROOT, env=program.env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "CUDA 12.4 needs a host compiler gcc" in done.stderr
    assert "here is gcc 14.2.0" in done.stderr
    assert "apt-get install g++-1" in done.stderr
    assert "--host-compiler debs" in done.stderr


def test_toolkit_that_cannot_target_the_gpu(several: Program):
    done = several.run("plan", "--cuda", "12.4", target=("--gpu", "b200"), code=3)
    assert "CUDA 12.4 cannot make sm_100a code" in done.err
    assert "13.0" in done.err


def test_python_that_the_stack_is_not_for(several: Program):
    done = several.run("plan", "--python", "3.13", code=3)
    assert "Python 3.13: the stack tiny is for Python 3.11" in done.err
    assert "wheel" in done.err  # why there is only one


def test_toolkit_that_is_not_installed(program: Program, tmp_path: Path):
    program.env["CUDA_HOME"] = str(fake_toolkit(tmp_path / "old", version="11.8.89", header=11080))
    data = (program.data / "toolchains/cuda/13.0.toml").read_text()
    (program.data / "toolchains/cuda/13.0.toml").write_text(
        "\n".join('paths = ["/nonexistent"]' if line.startswith("paths = ") else line for line in data.splitlines())
    )
    done = program.run("build", code=3)
    assert "13.0" in done.err
    assert not list(program.build_dir.glob("*/work"))


# --- data files --------------------------------------------------------------------------------------------------


def test_broken_toml_and_wrong_keys_in_one_report(program: Program):
    (program.data / "toolchains/gpus/bad.toml").write_text('schema = 1\nname = "bad\n')
    recipe = program.data / "recipes/alpha.toml"
    recipe.write_text(
        recipe.read_text().replace("memory_per_job_gib = 0.1", 'memory_per_jobs_gib = 0.1\nseconds = "x"')
    )
    done = program.run("build", code=2)
    assert "toolchains/gpus/bad.toml:2: not valid TOML" in done.err
    assert "build.memory_per_jobs_gib: unknown key; did you mean memory_per_job_gib?" in done.err
    assert "build.seconds: expected int, got str (value: 'x')" in done.err
    assert "3 problems in data files" in done.err
    assert not program.build_dir.exists()


def test_data_files_that_are_no_text(program: Program):
    (program.data / "recipes/alpha.toml").write_bytes(b"\xff\xfe\x00schema")
    assert "recipes/alpha.toml: not UTF-8 at byte 0" in program.run("plan", code=2).err.replace(f"{program.data}/", "")


def test_settings_file_that_is_wrong(program: Program, tmp_path: Path):
    (tmp_path / "config.toml").write_text("job = 3\n")
    program.env["BRINGUP_CONFIG"] = str(tmp_path / "config.toml")
    assert "job: unknown key; did you mean jobs?" in program.run("plan", code=2).err


# --- sources -----------------------------------------------------------------------------------------------------


class Faulty(ThreadingHTTPServer):
    """Serves `pages` by path, and one file under every other path, of which only `cut` bytes where that is set."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        self.data, self.cut, self.requests = data, 0, 0
        self.pages: dict[str, bytes] = {}
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    server: Faulty

    def do_GET(self) -> None:
        self.server.requests += 1
        data = self.server.pages.get(self.path, self.server.data)
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if data[:1] == b"<" else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: self.server.cut or None])

    def do_HEAD(self) -> None:
        self.send_error(501)

    def log_message(self, *_args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def web() -> Iterator[Faulty]:
    server = Faulty(sdist_bytes("alpha"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def from_web(program: Program, web: Faulty, digest: str) -> Program:
    url = f"http://127.0.0.1:{web.server_port}/alpha-1.0.tar"
    write_recipe(program.data, Recipe(name="alpha", url=url, sha256=digest, size=len(web.data)))
    return program


def test_source_with_another_hash(program: Program, web: Faulty):
    done = from_web(program, web, "1" * 64).run("build", code=4)
    assert "alpha-1.0.tar has the wrong hash" in done.err
    assert "1" * 64 in done.err
    assert sha256(web.data) in done.err
    assert web.requests == 1, "a wrong hash is no reason to ask again"
    assert not list(program.folder.glob("cache/downloads/*/*/alpha*")), "the bad file is kept"


def test_source_that_is_cut_off_and_the_run_after(program: Program, web: Faulty):
    web.cut = 1000
    done = from_web(program, web, sha256(web.data)).run("build", code=4)
    assert "alpha-1.0.tar" in done.err
    assert f"truncated: 1000 of {len(web.data)} bytes" in done.err
    assert web.requests > 1
    web.cut = 0
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "1"


def test_no_network(program: Program, web: Faulty):
    web.server_close()
    done = from_web(program, web, sha256(web.data)).run("fetch", code=4)
    assert "cannot fetch alpha-1.0.tar from 127.0.0.1" in done.err
    assert "--offline" in done.err


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"], check=False).returncode != 0,
    reason="taking the network away needs root",
)
def test_machine_without_any_network(tmp_path: Path):
    """The default stack, whose sources are git repositories: said within seconds, before anything is made."""
    program = Program.at(tmp_path, ROOT)
    place = ["--build-dir", str(program.build_dir)]
    argv = ["unshare", "-n", sys.executable, "-m", "bringup.cli", "fetch", "--gpu", "h200", "--stack", "sglang-0.5.12"]
    argv += ["--only", "pytorch"]
    process = subprocess.Popen(
        [*argv, *place, "--host-compiler", "debs", "--toolkit", "wheels"], cwd=ROOT, env=program.env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    done = finish(process, 4)
    assert "github.com" in done.err
    assert "--mirror" in done.err
    assert "--stack kernels" in done.err
    assert not list(program.build_dir.glob("*/records/*"))


def test_offline_without_the_source(program: Program, web: Faulty):
    done = from_web(program, web, sha256(web.data)).run("build", "--offline", code=4)
    assert "alpha-1.0.tar" in done.err
    assert "--offline forbids" in done.err
    assert web.requests == 0


def test_archive_that_is_damaged_before_it_was_hashed(program: Program, web: Faulty):
    web.data = web.data[:2000]
    done = from_web(program, web, sha256(web.data)).run("build", code=4)
    assert "alpha-1.0.tar" in done.err


# --- package index -----------------------------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path) -> Program:
    """One package whose build environment holds `widget`, as the stack's lock pins it."""
    recipe = local_recipe(tmp_path / "src", "alpha", build='requires = ["widget"]')
    data = write_data(tmp_path / "data", recipe, lock=True)
    write_lock(data, pin("widget", "1.0", sha256(wheel_bytes("widget"))))
    return Program.at(tmp_path, data)


def test_no_package_index(locked: Program):
    done = locked.run("build", code=4)
    assert "the package index cannot be reached" in done.err
    assert "127.0.0.1:9" in done.err
    assert "--offline" in done.err
    assert "  log:  " in done.err


def test_offline_without_the_pinned_distribution(locked: Program):
    locked.run("patch")
    done = locked.run("build", "--offline", code=4)
    assert "widget" in done.err
    assert "network" in done.err


def test_package_index_that_serves_another_file(locked: Program, web: Faulty):
    file = "widget-1.0-py3-none-any.whl"
    web.pages["/simple/widget/"] = f'<html><a href="/{file}">{file}</a></html>'.encode()
    web.pages[f"/{file}"] = wheel_bytes("widget") + b"\0"
    locked.env["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{web.server_port}/simple"
    done = locked.run("build", code=4)
    assert "ash mismatch" in done.err
    assert sha256(wheel_bytes("widget")) in done.err
    web.pages[f"/{file}"] = wheel_bytes("widget")
    locked.run("build")
    assert locked.python("import alpha, widget; print(alpha.VALUE)") == "1"


def test_fetch_gets_all_that_an_offline_build_takes(locked: Program, web: Faulty):
    """Sources and what the lock pins, into the caches; the room that the build itself takes does not matter to it."""
    name = "widget-1.0-py3-none-any.whl"
    web.pages[f"/{name}"] = wheel_bytes("widget")
    web.pages["/simple/widget/"] = f'<a href="/{name}#sha256={sha256(wheel_bytes("widget"))}">{name}</a>'.encode()
    recipe = locked.data / "recipes/alpha.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("memory_per_job_gib = 0.1", "memory_per_job_gib = 0.1\ndisk_mib = 99999999"))
    locked.env["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{web.server_port}/simple"
    assert "fetch is done" in locked.run("fetch").out
    assert "as before" in locked.run("fetch").out
    assert "GiB are free" in locked.run("build", code=14).err
    recipe.write_text(text)
    web.shutdown()
    web.server_close()
    locked.run("build", "--offline")
    assert locked.python("import alpha, widget; print(alpha.VALUE)") == "1"


def test_lock_that_is_older_than_its_stack(locked: Program):
    stack = locked.data / "recipes/stacks/tiny.toml"
    stack.write_text(stack.read_text().replace('date = "2026-05-28"', 'date = "2026-05-29"'))
    done = locked.run("build", code=2)
    assert "tiny.lock is older than stack tiny" in done.err
    assert "date is 2026-05-29 and was 2026-05-28" in done.err
    assert "lock --stack tiny" in done.err


def test_lock_that_is_missing(locked: Program):
    (locked.data / "recipes/stacks/tiny.lock").unlink()
    assert "invoke lock --stack tiny" in locked.run("plan", code=2).err


# --- patches -----------------------------------------------------------------------------------------------------

PATCH = """From 1111111111111111111111111111111111111111 Mon Sep 17 00:00:00 2001
From: A Developer <dev@example.org>
Date: Thu, 28 May 2026 12:00:00 +0000
Subject: [PATCH] {title}

Upstream-Status: Inappropriate [test]
---

diff --git a/during_build.py b/during_build.py
--- a/during_build.py
+++ b/during_build.py
@@ -1 +1 @@
-VALUE = {old}
+VALUE = {new}
--{space}
2.39.5
"""


def test_patch_that_does_not_apply_leaves_nothing_behind(program: Program, tmp_path: Path):
    good, bad = PATCH.format(space=" ", title="Two", old=1, new=2), PATCH.format(space=" ", title="Four", old=3, new=4)
    recipe = local_recipe(tmp_path / "src", "alpha", patches={"0001-two.patch": good, "0002-four.patch": bad})
    write_recipe(program.data, recipe)
    done = program.run("build", code=5)
    assert "0002-four.patch" in done.err
    assert "during_build.py, hunk 1 of 1" in done.err
    assert not list(program.build_dir.glob("*/work/alpha/source"))
    write_recipe(program.data, local_recipe(tmp_path / "src", "alpha", patches={"0001-two.patch": good}))
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "2"


# --- disk --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tmpfs(place: Path, options: str) -> Iterator[Path]:
    """Mount a small file system, or skip: root may do that, and most containers forbid it."""
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False, capture_output=True
    ).returncode:
        pytest.skip("needs permission to mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_full_disk_below_the_build_directory(program: Program, tmp_path: Path):
    data = program.folder / "src"
    during = "open('big', 'wb').write(b'x' * 3_000_000)\nVALUE = 1\n"
    write_recipe(program.data, local_recipe(data, "alpha", during_build=during))
    with tmpfs(tmp_path / "small", "size=40k") as place:
        program.build_dir = place / "build"
        done = program.run("build", code=14)
        assert "no space left on the device" in done.err or "No space left" in done.err
        assert "--build-dir" in done.err or "free some space" in done.err


def test_estimate_larger_than_the_disk_stops_before_anything_runs(program: Program, tmp_path: Path):
    write_recipe(program.data, local_recipe(program.folder / "src", "alpha", build="disk_mib = 999_999_999"))
    done = program.run("build", code=14)
    assert "GiB are free" in done.err
    assert not list(program.build_dir.glob("*/work"))


def test_full_disk_below_the_cache(program: Program, tmp_path: Path):
    with tmpfs(tmp_path / "small", "size=8k") as place:
        program.env["BRINGUP_CACHE"] = str(place / "cache")
        done = program.run("build", code=14)
        assert "o space left on " in done.err
        assert str(place) in done.err


def test_read_only_build_directory(program: Program, tmp_path: Path):
    with tmpfs(tmp_path / "fixed", "ro,size=1m") as place:
        program.build_dir = place / "build"
        done = program.run("build", code=14)
        assert "read-only" in done.err
        assert str(place) in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_build_directory_of_somebody_else(program: Program):
    program.build_dir.mkdir(mode=0o555)
    assert "permission denied" in program.run("build", code=14).err


# --- builds ------------------------------------------------------------------------------------------------------


def test_compiler_killed_for_memory(program: Program, tmp_path: Path):
    during = "import os, subprocess\nsubprocess.run(['sh', '-c', 'kill -9 $$'], check=True)\nVALUE = 1\n"
    write_recipe(program.data, local_recipe(tmp_path / "src", "alpha", during_build=during))
    done = program.run("build", "--jobs", "8", code=7)
    assert "memory" in done.err
    assert "--jobs 4" in done.err


def test_build_backend_killed_for_memory(program: Program, tmp_path: Path):
    during = "import os\nos.kill(os.getpid(), 9)\nVALUE = 1\n"
    write_recipe(program.data, local_recipe(tmp_path / "src", "alpha", during_build=during))
    done = program.run("build", "--jobs", "8", code=7)
    assert "memory" in done.err
    assert "--jobs 4" in done.err


def test_compiler_that_reports_137(program: Program, tmp_path: Path):
    during = "import sys\nprint('ninja: job failed: exit code 137', file=sys.stderr)\nsys.exit(1)\n"
    write_recipe(program.data, local_recipe(tmp_path / "src", "alpha", during_build=during))
    assert "--jobs 1" in program.run("build", "--jobs", "2", code=7).err


def test_build_that_fails_names_its_log_and_is_built_again(program: Program, tmp_path: Path):
    write_recipe(program.data, local_recipe(tmp_path / "src", "alpha", during_build="raise SystemExit('boom 17')\n"))
    done = program.run("build", code=7)
    assert "boom 17" in done.err
    log = next(line.split("log:")[1].strip() for line in done.err.splitlines() if "  log:" in line)
    assert "boom 17" in Path(log).read_text()
    assert "FAIL  alpha build" in done.out
    # A log that was written later is not the one that is asked for.
    (Path(log).parent / "later.log").write_text("all is well\n")
    asked = finish(program.popen("diagnose", "--last", "--build-dir", str(program.build_dir), "--json"), 11)
    assert json.loads(asked.out)["log"] == log
    write_recipe(program.data, local_recipe(tmp_path / "src", "alpha", during_build="VALUE = 5\n"))
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "5"
    assert not list(program.build_dir.glob("*/failure.json"))


def test_not_enough_memory_for_one_compiler(program: Program, tmp_path: Path):
    recipe = program.data / "recipes/alpha.toml"
    recipe.write_text(recipe.read_text().replace("memory_per_job_gib = 0.1", "memory_per_job_gib = 99999.0"))
    assert "99999 GiB" in program.run("build", code=3).err


def test_fewer_jobs_where_memory_is_short(program: Program):
    """The recipe says 0.1 GiB for a compiler; the estimate of the time follows the lower number."""
    told = program.run("plan", "--jobs", "8", "--memory", "0.25").out
    assert "limits: 8 jobs (--jobs), 0.25 GiB of memory (--memory), which lowers alpha to 2 jobs of 0.1 GiB" in told
    assert "which lowers" not in program.run("plan", "--jobs", "8", "--memory", "1").out


def test_wheel_that_is_not_what_the_recipe_says(program: Program, tmp_path: Path):
    data = sdist_bytes("other")
    (tmp_path / "other.tar").write_bytes(data)
    recipe = Recipe(name="alpha", url=(tmp_path / "other.tar").as_uri(), sha256=sha256(data))
    write_recipe(program.data, recipe)
    done = program.run("build", code=7)
    assert "other" in done.err
    assert "the recipe promises ['alpha']" in done.err


# --- damage after a build ----------------------------------------------------------------------------------------


def test_damaged_store_is_built_again_and_never_used(program: Program):
    program.run("build")
    (wheel,) = program.folder.glob("cache/store/*/*/alpha-1.0-py3-none-any.whl")
    data = wheel.read_bytes()
    wheel.write_bytes(data[:-10] + b"0123456789")
    shutil.rmtree(program.build_dir)
    decision, why = program.plan()["alpha:build"]
    assert decision == "run"
    assert "SHA-256" in why
    program.run("build")
    assert program.plan()["alpha:build"][0] == "reuse"
    assert program.python("import alpha; print(alpha.VALUE)") == "1"


def test_json_output_is_one_document(program: Program):
    document = json.loads(program.run("build", "--json").out)
    assert {one["step"] for one in document["ran"]} >= {"alpha:build", "environment:install"}
    assert json.loads(program.run("build", "--json").out)["ran"] == []


def test_debug_shows_the_traceback_of_an_error(program: Program):
    process = program.start("plan", "--debug", "--stack", "none")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" in err
    assert "unknown stack" in err
    assert out == ""
