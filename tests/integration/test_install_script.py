"""install.sh of a bundle, run by a real sh on real parts; the Python inside is a stand-in that is told what to do."""

import os
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from bringup.bundling.parts import write_parts
from bringup.bundling.write import install_script
from bringup.model.frozen import Frozen

FROZEN = Frozen(
    schema=1, target="h200-cu130-cp311", gpu="h200", stack="kernels", cuda="13.0", toolkit="wheels", variants={},
    full=False, python="cp311", nvcc="n", gcc="g", environment="e", with_toolkit=False, driver="580.65.06",
    glibc="2.28", machine=os.uname().machine, date="2026-11-21", version="0.1.0",
)  # fmt: skip
PYTHON = """#!/bin/sh
# Stands for the bundle's Python: $2 is setup_node.py, $3 the destination.
[ ! -e "$3/fail" ] || exit 1
[ ! -e "$3/slow" ] || sleep 30
mkdir "$3/bin" && echo installed > "$3/bin/bringup"
"""


class Bundle:
    def __init__(self, folder: Path, *, extra: str = "", frozen: Frozen = FROZEN, need: int = 1000) -> None:
        tree = folder / "tree"
        program = tree / "build/toolchains/python-3.11-debs-0/usr/bin/python3.11"
        program.parent.mkdir(parents=True)
        program.write_text(PYTHON)
        program.chmod(0o755)
        (tree / "payload").write_bytes(os.urandom(20_000))
        files = [("build", tree / "build"), ("payload", tree / "payload")]
        if extra:
            (tree / extra).touch()
            files.append((extra, tree / extra))
        self.folder = folder / "h200.bundle"
        self.parts = write_parts(self.folder, files, 8192)
        (self.folder / "install.sh").write_text(install_script(frozen, need))
        self.dest = folder / "node" / "h200"

    def command(self, *arguments: str) -> list[str]:
        return ["sh", str(self.folder / "install.sh"), *(arguments or (str(self.dest),))]

    def install(self, code: int, *arguments: str, path: str = "/usr/bin:/bin") -> str:
        env = {"PATH": path, "HOME": "/nonexistent"}
        done = subprocess.run(
            self.command(*arguments), env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def test_installs_and_says_what_comes_next(bundle: Bundle) -> None:
    assert len(bundle.parts) > 3
    text = bundle.install(0)
    assert f"{bundle.dest}/bin/bringup verify" in text
    assert (bundle.dest / "bin/bringup").read_text() == "installed\n"
    assert (bundle.dest / "payload").stat().st_size == 20_000
    assert not (bundle.dest / ".incomplete").exists()


def test_missing_and_damaged_parts_are_named(bundle: Bundle) -> None:
    (bundle.folder / bundle.parts[1]).unlink()
    (bundle.folder / bundle.parts[2]).write_bytes(b"damaged")
    text = bundle.install(4)
    assert f"{bundle.parts[1]}(missing)" in text
    assert f"{bundle.parts[2]}(damaged)" in text
    assert bundle.parts[0] not in text
    assert not bundle.dest.exists()


def test_a_destination_that_is_not_empty_stays_as_it_is(bundle: Bundle) -> None:
    bundle.dest.mkdir(parents=True)
    (bundle.dest / "mine").touch()
    assert "not empty" in bundle.install(2)
    assert list(bundle.dest.iterdir()) == [bundle.dest / "mine"]


def test_wants_one_argument(bundle: Bundle) -> None:
    assert "one argument" in bundle.install(2, "a", "b")


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"machine": "riscv64"}, 3, "this bundle is for riscv64"),
        ({"glibc": "9.9"}, 3, "needs 9.9 or newer"),
    ],
)
def test_a_machine_that_does_not_fit(tmp_path: Path, changes: dict, code: int, says: str) -> None:
    bundle = Bundle(tmp_path, frozen=msgspec.structs.replace(FROZEN, **changes))
    assert says in bundle.install(code)
    assert not bundle.dest.exists()


def test_a_driver_that_is_too_old_is_named_before_anything_is_unpacked(bundle: Bundle, tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver of its own")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 535.104.05\n")
    (tools / "nvidia-smi").chmod(0o755)
    text = bundle.install(3, path=f"{tools}:/usr/bin:/bin")
    assert "535.104.05" in text
    assert "580.65.06" in text
    assert not bundle.dest.exists()


def test_no_space(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, need=1 << 60)
    assert "MiB free" in bundle.install(14)
    assert not bundle.dest.exists()


def test_a_failed_setup_leaves_nothing(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, extra="fail")
    assert "nothing is installed" in bundle.install(8)
    assert not bundle.dest.exists()


def test_an_interrupted_installation_starts_over(bundle: Bundle) -> None:
    bundle.dest.mkdir(parents=True)
    (bundle.dest / ".incomplete").touch()
    (bundle.dest / "half").touch()
    bundle.install(0)
    assert not (bundle.dest / "half").exists()
    assert (bundle.dest / "bin/bringup").exists()


def test_ctrl_c_removes_what_was_begun(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, extra="slow")
    process = subprocess.Popen(
        bundle.command(), env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    limit = time.monotonic() + 20
    while not (bundle.dest / "slow").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=20)
    assert process.returncode in (130, -signal.SIGINT)
    assert not bundle.dest.exists()
