"""The cache and the store on a mounted file system that has no locks, or only ones that other machines do not see.

That is NFS without its lock daemon, and NFS mounted with nolock. The file system here is FUSE's, which the kernel
treats the same way: flock fails with ENOLCK, or holds within one mount alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.fuse_folder import NotMountedError, fuse_folder
from helpers.machines import Machines
from helpers.program import Program
from helpers.sdists import local_recipe
from test_store_writers import ROOT, WRITER

from bringup.store import Store

COUNTER = """
import sys, time
from pathlib import Path
from bringup.system.locks import file_lock
lock, count = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(20):
    with file_lock(lock):
        seen = int(count.read_text())
        time.sleep(0.001)
        count.write_text(str(seen + 1))
"""
Mount = Callable[[str, str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    (tmp_path / "served").mkdir()
    with contextlib.ExitStack() as stack:

        def one(name: str, locks: str) -> Path:
            try:
                return stack.enter_context(fuse_folder(tmp_path / "served", tmp_path / name, locks=locks))
            except NotMountedError as exc:
                pytest.skip(f"cannot mount: {exc}")

        yield one


def test_what_the_mounts_answer(mount: Mount):
    """The ground of the other tests."""
    refused, here, there = mount("refused", "refused"), mount("here", "local"), mount("there", "local")
    with (refused / "lock").open("ab") as file, pytest.raises(OSError, match="No locks") as caught:
        fcntl.flock(file, fcntl.LOCK_EX)
    assert caught.value.errno == errno.ENOLCK
    with (here / "lock").open("ab") as one, (there / "lock").open("ab") as other, (here / "lock").open("ab") as same:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(same, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_holder_at_a_time_where_locks_are_refused(mount: Mount):
    place = mount("refused", "refused")
    (place / "count").write_text("0")
    argv = [sys.executable, "-c", COUNTER, place / "lock", place / "count"]
    running = [subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    assert [one.communicate(timeout=60)[1] for one in running] == [b""] * 3
    assert (place / "count").read_text() == "60"
    assert sorted(path.name for path in place.iterdir()) == ["count", "lock"]


@pytest.mark.parametrize("kinds", [("refused", "refused"), ("local", "local"), ("refused", "local")])
def test_machines_that_write_the_same_entries_leave_whole_ones(mount: Mount, tmp_path: Path, kinds: tuple[str, str]):
    places = [mount(f"machine{index}", kind) for index, kind in enumerate(kinds)]
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(b"x" * 10_000)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place / "store"), str(wheel), "ab" + "0" * 28],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for place in (*places, *places)
    ]  # fmt: skip
    for one in writers:
        assert one.stdout is not None
        one.stdout.readline()
    for one in writers:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    assert [one.communicate(timeout=120)[1].decode() for one in writers] == [""] * 4
    store = Store(tmp_path / "served/store")
    assert len(store.entries()) == 20
    assert all(store.lookup(entry.fingerprint).entry for entry in store.entries())
    assert not [path for path in (store.root / "ab").iterdir() if path.name.startswith(".")]


def test_a_whole_build_with_everything_on_it(mount: Mount, tmp_path: Path):
    place = mount("refused", "refused")
    recipe = local_recipe(tmp_path / "src", "alpha", during_build="VALUE = 1\n")
    program = Program.at(tmp_path, write_data(tmp_path / "data", recipe))
    program.env |= {"BRINGUP_CACHE": str(place / "cache"), "UV_CACHE_DIR": str(tmp_path / "uv")}
    program.build_dir = place / "build"
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "1"
    assert "nothing to do" in program.run("build").out
    collected = subprocess.run(
        [sys.executable, "-m", "bringup.cli", "gc", "--max-size", "0"],
        cwd=ROOT, env=program.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "removed" in collected.stdout
    assert not list((place / "cache/store").glob("??/*/*.whl"))
    assert not list((place / "cache").rglob("*.held"))


def test_a_shared_folder_between_two_machines(mount: Mount, tmp_path: Path):
    here, there = mount("here", "local"), mount("there", "refused")
    (here / "shared").mkdir()
    (tmp_path / "machines").mkdir()
    machines = Machines(tmp_path / "machines", str(here / "shared"))
    assert "warning" not in machines.build("one", "--remote-store-write")
    machines.url = str(there / "shared")
    assert "warning" not in machines.build("two")
    assert machines.compiled() == 1
