"""The command for a node, with a stand-in for bringup: parts, what is kept, and going on where it stopped."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "gpu" / "run_levels.sh"
BRINGUP = """#!/bin/sh
# Says what it was asked; fails while the file `broken` is there, once.
echo "$@ in $HOME" >>"$0.asked"
echo '{"levels": []}' >"$(dirname "$0")/../build/t/verify.json"
[ ! -e "$0.broken" ] || { rm "$0.broken"; exit 9; }
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "h200"
    for folder in ("bin", "engine/bin", "build/t/env", "build/t/logs"):
        (root / folder).mkdir(parents=True)
    (root / "bin/bringup").write_text(BRINGUP)
    (root / "bin/bringup").chmod(0o755)
    (root / "engine/bin/python").touch()
    (root / "build/t/logs/verify.torch.log").write_text("log")
    return root


def run(root: Path, code: int, *words: str) -> str:
    out, env = root.parent / "out", {"PATH": "/usr/bin:/bin", "HOME": str(root.parent)}
    done = subprocess.run(
        ["sh", str(SCRIPT), str(root), str(out), *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def asked(root: Path) -> list[str]:
    return (root / "bin/bringup.asked").read_text().splitlines()


def test_a_part_that_is_done_is_not_done_again(root):
    run(root, 0, "--part", "verify")
    out = root.parent / "out"
    assert (out / "verify.json").exists()
    assert (out / "logs/verify.verify.torch.log").read_text() == "log"
    assert "done before" in run(root, 0, "--part", "verify")
    (only,) = asked(root)
    assert only.startswith("verify in ")
    assert str(root) in only
    assert not list(root.glob("build/t/home-of-*"))


def test_a_failure_is_tried_again_with_warm_caches(root):
    (root / "bin/bringup.broken").touch()
    run(root, 0, "--part", "verify")
    assert len(asked(root)) == 2
    assert (root.parent / "out/verify-again.json").exists()


def test_faults_want_their_files(root):
    assert "--files FOLDER is missing" in run(root, 9, "--part", "faults")


def installation(folder: Path) -> Path:
    triton = folder / "build/t/env/lib/python3.11/site-packages/sglang_jit_cache/triton"
    triton.mkdir(parents=True)
    (triton / "index.json").write_text("own entries")
    (folder / "build/t/wheels").mkdir(parents=True)
    (folder / "build/t/wheels/bringup_harvest-1-py3-none-any.whl").touch()
    return triton / "index.json"


@pytest.mark.parametrize("broken", [False, True])
def test_a_harvest_is_tried_in_the_other_installation(root, broken):
    installation(root)
    other = root.with_name("other")
    shutil.copytree(root, other)
    if broken:
        (other / "bin/bringup.broken").touch()
    text = run(root, 9 if broken else 0, "--part", "harvest", "--other", str(other))
    assert f"harvest in the other installation: exit {9 if broken else 0}" in text
    assert (other / "build/t/env/lib/python3.11/site-packages/sglang_jit_cache/triton/index.json").exists()
    assert "--harvest" in asked(root)[0]
    assert [line.split()[0] for line in asked(other)] == (["install"] if broken else ["install", "verify"])


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has GPUs")
def test_tensor_parallelism_wants_two_gpus(root):
    assert "left out, 0 GPU" in run(root, 0, "--part", "tp")


@pytest.mark.parametrize("words", [("--part", "all"), ("--part",), ("--what", "x")])
def test_wrong_use(root, words):
    assert "usage:" in run(root, 2, *words)


def test_no_installation(tmp_path):
    assert "install the bundle first" in run(tmp_path / "none", 2)
