"""Doctor as the user starts it, on whatever machine this is; and every pair of seeded faults."""

import json
import os
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in ("tests/unit/formats", "tests/unit/doctor"):
    sys.path.append(str(ROOT / folder))

from healthy_root import broken, copy_machine, found_alone, make_machine  # noqa: E402
from helpers.memory import quick_folder  # noqa: E402
from seeded_faults import FAULTS, apart  # noqa: E402 - its folder is on the path now


def doctor(*words, env=None, cwd=ROOT):
    argv = [sys.executable, "-m", "bringup.cli", "doctor", *words]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(argv, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)


def test_json_is_one_document_and_the_exit_code_follows_it():
    done = doctor("--gpu", "h200", "--stack", "kernels", "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert document["target"] == "h200-cu130-cp311"
    assert {check["status"] for check in document["checks"]} <= {"PASS", "WARN", "FAIL", "SKIP"}
    failed = [check for check in document["checks"] if check["status"] == "FAIL"]
    assert done.returncode == (12 if failed else 0)
    for check in document["checks"]:
        assert check["seen"]
        assert check["why"]
        assert bool(check["fix"]) == (check["status"] in ("WARN", "FAIL")), check["id"]


def test_a_toolkit_without_a_header_fails_with_its_fix(tmp_path):
    machine = make_machine(tmp_path / "root")
    machine.remove("usr/local/cuda-13.0/include/cuda_fp8.h")
    env = {"CUDA_HOME": machine.env["CUDA_HOME"], "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = doctor("--gpu", "h200", "--json", env=env)
    found = {check["id"]: check for check in json.loads(done.stdout)["checks"]}["toolkit.headers"]
    assert done.returncode == 12
    assert found["status"] == "FAIL"
    assert found["issue"] == "flashinfer-jit-cuda-fp8-header-missing"
    assert "cuda_fp8.h" in found["seen"]
    assert any("--toolkit wheels" in fix for fix in found["fix"])


def test_it_takes_less_than_two_seconds_and_does_not_import_torch():
    doctor("--gpu", "h200")  # what is known of programs is kept
    times = []
    for _ in range(3):
        started = time.perf_counter()
        doctor("--gpu", "h200")
        times.append(time.perf_counter() - started)
    assert min(times) < 2.0
    code = "import sys, bringup.doctor; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_wrong_use_is_told(tmp_path):
    assert doctor("--gpu", "h2000").returncode == 2
    done = doctor("--gpu", "h200", "--env", str(tmp_path))
    assert done.returncode == 2
    assert "no Python environment" in done.stderr
    assert doctor("--gpu", "h200", "--fix", "--json").returncode == 2


def test_fix_asks_before_it_does_anything(tmp_path):
    home = tmp_path / "home"
    stale = home / ".cache/flashinfer/0.2.5"
    (stale / "90/cached_ops/norm").mkdir(parents=True)
    env = {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    asked = subprocess.run(
        [sys.executable, "-m", "bringup.cli", "doctor", "--gpu", "h200", "--stack", "kernels", "--fix"],
        cwd=ROOT, env={**os.environ, **env}, input="n\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "do it? [y/N]" in asked.stdout
    assert stale.is_dir()


def test_fix_does_what_it_prints_and_its_undo_brings_everything_back(tmp_path):
    """Do, look, undo, look; then by hand what it printed that it did."""
    home = tmp_path / "home"
    stale = home / ".cache/flashinfer/0.2.5/90/cached_ops/norm/norm.so"
    lock = home / ".cache/flashinfer/0.6.8.post1/90a/cached_ops/tmp/x.lock"
    for path in (stale, lock):
        path.parent.mkdir(parents=True)
        path.write_text(path.name)
    os.utime(lock, (time.time() - 86400,) * 2)
    env = {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = ("--gpu", "h200", "--stack", "kernels")

    def look():
        document = json.loads(doctor(*words, "--json", env=env).stdout)
        found = {check["id"]: check["status"] for check in document["checks"]}
        return found["cache.flashinfer"], found["cache.locks"], files(home)

    before = look()
    assert before[:2] == ("WARN", "WARN")
    printed = doctor(*words, "--fix", "--yes", env=env).stdout.splitlines()
    did = [line.removeprefix("did:").rpartition("   (")[0].strip() for line in printed if line.startswith("did:")]
    undo = [line.removeprefix("undo:").strip() for line in printed if line.startswith("undo:")]
    assert len(did) == len(undo) == 2
    mended = look()
    assert mended[:2] == ("PASS", "PASS")
    assert sorted(mended[2].values()) == sorted(before[2].values())  # put aside, not lost
    for command in undo:
        subprocess.run(["/bin/sh", "-c", command], check=True)
    assert look() == before
    for command in did:
        subprocess.run(["/bin/sh", "-c", command], check=True)
    assert look() == mended


def files(folder):
    """Return the files below a folder with what is in them."""
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def template():
    with quick_folder() as folder:
        yield make_machine(folder / "root")


def test_a_healthy_machine_shows_none_when_asked_deeply(template):
    machine = copy_machine(template)
    machine.go_deep()
    machine.stack = "sglang-0.5.12"
    assert machine.troubles() == {}
    reach = {check.id: check for check in machine.report().checks}["network.reach"]
    assert reach.status == "PASS"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_found(template, fault):
    found_alone(template, fault)


def test_every_pair_of_faults_is_found(template):
    wrong = []
    pairs = [(one, other) for one, other in combinations(FAULTS, 2) if apart(one, other)]
    for first, second in pairs:
        found = set(broken(template, first, second).troubles())
        main = {first.check, second.check}
        if not main <= found or found - main - first.also - second.also:
            wrong.append((first.name, second.name, sorted(found)))
    assert len(pairs) > 2000
    assert wrong == []


QUOTED = "\u2018foo\u2019"  # as gcc writes it


@pytest.mark.parametrize("words", [("--brief",), ("--json",)])
def test_a_locale_without_the_compilers_quotes_ends_nothing(tmp_path, words):
    log = tmp_path / "build.log"
    log.write_text(
        f"x.cc:3:1: error: {QUOTED} was not declared in this scope\nninja: build stopped: subcommand failed.\n",
        encoding="utf-8",
    )
    env = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    argv = [sys.executable, "-m", "bringup.cli", "diagnose", str(log), *words]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, check=False)
    assert done.returncode in (10, 11), done.stderr
    assert (QUOTED if words == ("--json",) else "?foo?") in done.stdout.decode()
