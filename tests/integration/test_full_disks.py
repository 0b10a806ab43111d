"""Real file systems that are full: what is said, that nothing half-written counts, and that room is enough to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.disks import fill, small_disk
from helpers.fuse_folder import NotMountedError
from helpers.machines import Machines
from helpers.program import Program
from helpers.sdists import local_recipe
from test_compiler_cache import Checkout

from bringup.errors import StorageError
from bringup.remote import RemoteStore
from bringup.store import Store
from bringup.system.blobs import FolderBlobs

KEY = "ab" * 16


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "disks").mkdir()
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(small_disk(request.param, tmp_path / "disks", 24))
        except NotMountedError as exc:
            pytest.skip(f"cannot mount {request.param}: {exc}")
        yield place


def test_a_wheel_that_does_not_fit_leaves_the_store_as_it_was(disk: Path, tmp_path: Path):
    store = Store(disk / "store")
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(b"x" * (2 << 20))
    ballast = fill(disk, leave=1 << 20)
    before = files(disk)

    def add():
        return store.add(KEY, package="alpha", version="1.0", wheels=[wheel], inputs={}, seconds=1, date="2026-01-01")

    with pytest.raises(StorageError, match="no space left on the device") as caught:
        add()
    assert str(disk) in caught.value.message
    assert "gc" in caught.value.hint
    assert files(disk) == before, "what did not fit takes no room"
    assert store.lookup(KEY).entry is None
    ballast.unlink()
    assert add().wheels[0].read_bytes() == wheel.read_bytes()


def files(disk: Path) -> list[Path]:
    return sorted(path for path in disk.rglob("*") if path.is_file())


def test_a_build_with_a_full_cache_ends_with_its_reason_and_goes_on_with_room(disk: Path, tmp_path: Path):
    recipe = local_recipe(tmp_path / "src", "alpha", during_build="VALUE = 1\n")
    program = Program.at(tmp_path, write_data(tmp_path / "data", recipe))
    program.env["BRINGUP_CACHE"] = str(disk / "cache")
    program.run("plan")
    ballast = fill(disk, leave=0)
    done = program.run("build", code=14)
    assert "no space left on the device" in done.err
    assert str(disk) in done.err
    assert "invoke gc" in done.err
    ballast.unlink()
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "1"
    assert "nothing to do" in program.run("build").out


def test_a_full_shared_folder_is_said_once_and_holds_nothing_half(disk: Path, tmp_path: Path):
    shared = disk / "shared"
    shared.mkdir()
    said: list[str] = []
    remote = RemoteStore(FolderBlobs(shared), writable=True, say=said.append)
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(b"x" * (2 << 20))
    entry = Store(tmp_path / "store", remote).add(
        KEY, package="alpha", version="1.0", wheels=[wheel], inputs={}, seconds=1, date="2026-01-01"
    )
    assert entry.entry is not None
    fill(disk, leave=1 << 20)
    remote.publish(entry.entry, entry.wheels)
    remote.publish(entry.entry, entry.wheels)
    assert len(said) == 1
    assert "cannot be written: " in said[0]
    assert "o space left on" in said[0]
    assert files(shared) == []


def test_a_whole_build_goes_on_without_a_full_shared_folder(disk: Path, tmp_path: Path):
    (disk / "shared").mkdir()
    fill(disk, leave=0)
    (tmp_path / "machines").mkdir()
    machines = Machines(tmp_path / "machines", str(disk / "shared"))
    text = machines.build("one", "--remote-store-write")
    assert text.count("warning: ") == 1
    assert "cannot be written: " in text
    assert machines.machine("one").python("import alpha; print(alpha.VALUE)") == "1"
    assert files(disk / "shared") == []


def test_a_full_disk_under_the_compiler_cache_fails_no_compiler(disk: Path, tmp_path: Path):
    here = Checkout(tmp_path / "here", disk / "cache")
    here.compile()
    first = here.object
    here.write("a.h", "#define A 2\n")
    ballast = fill(disk, leave=0)
    here.compile()
    assert here.object != first
    report = here.report()
    assert (report.hits, report.misses) == (0, 2)
    ballast.unlink()
    here.compile()
    here.compile()
    assert here.report().hits == 1
