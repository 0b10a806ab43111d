"""Records of finished steps, and what `clean` and `gc` remove and keep."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

import pytest

from bringup import housekeeping
from bringup.context import Outcome
from bringup.errors import BusyError, UsageError
from bringup.housekeeping import clean, collect, parse_size
from bringup.model.plan import Decision, Phase, Step
from bringup.state import TargetState
from bringup.store import Store
from bringup.system.fs import mark_used, sha256_of
from bringup.system.layout import Layout, default_cache
from bringup.system.leases import lease, leased
from bringup.system.runlock import run_lock

STEP = Step(package="alpha", phase=Phase.FETCH, decision=Decision.RUN, why="", fingerprint="f1")


@pytest.fixture
def state(tmp_path: Path) -> TargetState:
    layout = Layout(build=tmp_path / "build", target="h200", cache=tmp_path / "cache")
    return TargetState(layout, Store(tmp_path / "cache/store"))


def test_step_is_done_with_its_fingerprint_and_its_files(state: TargetState, tmp_path: Path):
    file = tmp_path / "out"
    file.touch()
    assert not state.done("alpha:fetch", "f1")
    state.finish(STEP, Outcome(note="here", outputs=(file,), facts={"n": 1}), 1.239)
    assert state.done("alpha:fetch", "f1")
    assert not state.done("alpha:fetch", "f2")
    assert not state.done("beta:fetch", "f1")
    record = state.record("alpha:fetch")
    assert record is not None
    assert (record["seconds"], record["note"], record["facts"]) == (1.24, "here", {"n": 1})
    file.unlink()
    assert not state.done("alpha:fetch", "f1")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"fingerprint": "f1"'])
def test_damaged_record_means_not_done(state: TargetState, tmp_path: Path, content: bytes):
    state.finish(STEP, Outcome(), 1)
    assert state.done("alpha:fetch", "f1")
    (path,) = (tmp_path / "build/h200/records").iterdir()
    path.write_bytes(content)
    assert not state.done("alpha:fetch", "f1")


def test_wheels_and_last_build_come_from_the_store(state: TargetState, tmp_path: Path):
    assert state.wheel("ab" + "0" * 30) == (False, "")
    assert state.last_build("alpha") is None
    (tmp_path / "alpha.whl").write_bytes(b"x")
    store = Store(tmp_path / "cache/store")
    for key, date in (("ab" + "0" * 30, "2026-01-01"), ("cd" + "0" * 30, "2026-01-02")):
        store.add(
            key, package="alpha", version="1", wheels=[tmp_path / "alpha.whl"], inputs={"d": date}, seconds=2, date=date
        )
    state = TargetState(state._layout, store)  # a state is that of one plan
    assert state.wheel("ab" + "0" * 30) == (True, "")
    assert state.last_build("alpha") == ({"d": "2026-01-02"}, 2.0)


def test_other_headers_of_this_machine_count_for_what_was_built_here_alone(state: TargetState, tmp_path: Path):
    header = tmp_path / "stdio.h"
    header.write_text("1")
    (tmp_path / "alpha.whl").write_bytes(b"x")
    store, key = Store(tmp_path / "cache/store"), "ab" + "0" * 30
    outside = {str(header): sha256_of(header)}
    store.add(
        key,
        package="alpha",
        version="1",
        wheels=[tmp_path / "alpha.whl"],
        inputs={},
        seconds=2,
        date="2026-01-01",
        outside=outside,
    )
    header.write_text("another C library's")
    assert TargetState(state._layout, store).changed_headers(key) == {str(header): sha256_of(header)}
    assert TargetState(state._layout, store, built_here=False).changed_headers(key) == {}


# --- clean --------------------------------------------------------------------------------------------------------


@pytest.fixture
def build(tmp_path: Path) -> Path:
    for name in ("h200-cu130-cp311", "h100-cu130-cp311"):
        with run_lock(tmp_path / "build" / name):
            (tmp_path / "build" / name / "work").mkdir()
    (tmp_path / "build/toolchains/cuda").mkdir(parents=True)
    (tmp_path / "build/notes.txt").write_text("somebody's own")
    return tmp_path / "build"


def left(build: Path) -> list[str]:
    return sorted(path.name for path in build.iterdir())


def test_clean_removes_one_target(build: Path):
    assert list(clean(build, "h200-cu130-cp311", everything=False)) == [f"removed {build / 'h200-cu130-cp311'}"]
    assert left(build) == ["h100-cu130-cp311", "notes.txt", "toolchains"]


def test_clean_all_keeps_what_is_not_ours(build: Path):
    assert len(list(clean(build, "", everything=True))) == 3
    assert left(build) == ["notes.txt"]
    assert list(clean(build, "", everything=True)) == [f"{build}: nothing to remove"]


def test_clean_without_a_name_or_with_a_wrong_one(build: Path):
    with pytest.raises(UsageError, match="needs --target or --all") as caught:
        list(clean(build, "", everything=False))
    assert "h100-cu130-cp311, h200-cu130-cp311" in caught.value.hint
    with pytest.raises(UsageError, match="no target 'h200-cu130-cp312'") as caught:
        list(clean(build, "h200-cu130-cp312", everything=False))
    assert "did you mean h200-cu130-cp311?" in caught.value.hint
    for name in ("..", "notes.txt", "toolchains", "../build"):
        with pytest.raises(UsageError):
            list(clean(build, name, everything=False))
    assert len(left(build)) == 4


def test_clean_leaves_a_target_in_use_alone(build: Path):
    with run_lock(build / "h200-cu130-cp311"), pytest.raises(BusyError):
        list(clean(build, "h200-cu130-cp311", everything=False))
    assert (build / "h200-cu130-cp311/work").is_dir()


# --- gc -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three downloads and a wheel of 1000 bytes each, and a git mirror; the first was used longest ago."""
    for age, name in enumerate(["downloads/aa/1", "downloads/bb/2", "store/cc/3", "downloads/dd/4"]):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 1000)
        when = 1_700_000_000 + age * 1000
        os.utime(folder / "file", (when, when))
        os.utime(folder, (when, when))
    (tmp_path / "git/mirror.git").mkdir(parents=True)
    (tmp_path / "git/mirror.git/pack").write_bytes(b"x" * 5000)
    return tmp_path


def entries(cache: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(cache)) for path in cache.rglob("file"))


def test_gc_removes_what_was_used_longest_ago(cache: Path):
    lines = list(collect(cache, 2500))
    assert entries(cache) == ["downloads/dd/4", "store/cc/3"]
    assert lines[-1].endswith("2 entries, 2 removed")
    assert (cache / "git/mirror.git/pack").exists()


def test_gc_below_its_size_removes_nothing(cache: Path):
    assert list(collect(cache, 4000))[-1].endswith("4 entries, 0 removed")
    assert len(entries(cache)) == 4


def test_gc_leaves_what_is_being_fetched(cache: Path):
    with (cache / "downloads/aa/1/.lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.utime(cache / "downloads/aa/1/.lock", (1, 1))
        os.utime(cache / "downloads/aa/1", (1, 1))
        list(collect(cache, 0))
    assert entries(cache) == ["downloads/aa/1"]


def test_gc_leaves_what_a_running_build_holds(cache: Path):
    with lease(cache, ["1", "3"]):
        lines = list(collect(cache, 0))
        assert entries(cache) == ["downloads/aa/1", "store/cc/3"]
    assert lines[-1].endswith("2 entries, 2 removed, 2 kept because a build uses them")
    list(collect(cache, 0))
    assert entries(cache) == []


@pytest.mark.parametrize(
    ("owner", "counts"),
    [
        ("somewhere-else/pid:[1] 12 345", True),  # of another machine and new: it cannot be asked
        (f"{socket.gethostname()}/{Path('/proc/self/ns/pid').readlink()} 2147483646 345", False),  # no such process
        ("", True),  # unreadable: better kept for a day than removed under a build
    ],
)
def test_lease_counts_while_its_process_may_live(cache: Path, owner: str, *, counts: bool):
    (cache / "leases").mkdir()
    path = cache / "leases/1.json"
    path.write_text(json.dumps({"schema": 1, "owner": owner, "keys": ["1"]}))
    assert ("1" in leased(cache)) is counts
    assert path.exists() is counts
    if counts:
        os.utime(path, (1, 1))
        assert leased(cache) == frozenset()


def test_gc_goes_by_use_also_after_a_clock_was_set_back(cache: Path):
    """What was used by a clock that was ahead is no newer than what is used now."""
    ahead = time.time() + 10 * 86400
    os.utime(cache / "downloads/aa/1/file", (ahead, ahead))
    mark_used(cache / "downloads/aa/1/file")
    assert (cache / "downloads/aa/1/file").stat().st_atime < ahead
    assert (cache / "downloads/aa/1/file").stat().st_mtime < ahead
    list(collect(cache, 1000))
    assert entries(cache) == ["downloads/aa/1"]


def test_gc_counts_a_wheel_that_two_entries_share_once(cache: Path):
    for name in ("55", "66"):
        (cache / f"store/cc/{name}").mkdir()
    (cache / "store/cc/55/file").write_bytes(b"x" * 1000)
    os.link(cache / "store/cc/55/file", cache / "store/cc/66/file")
    assert list(collect(cache, 5000))[-1].endswith("6 entries, 0 removed")


def test_gc_removes_compiler_results_without_naming_each(cache: Path):
    (cache / "compiler/ab").mkdir(parents=True)
    for name in "123":
        (cache / f"compiler/ab/{name}").write_bytes(b"x" * 100)
        os.utime(cache / f"compiler/ab/{name}", (1, 1))
    lines = list(collect(cache, 4000))
    assert len(lines) == 1
    assert lines[0].endswith("4 entries, 3 removed")


def test_gc_removes_kept_environments_and_counts_their_share_of_linked_files(cache: Path, tmp_path: Path):
    tree = cache / "environments/abc/tree"
    tree.mkdir(parents=True)
    (tree / "own").write_bytes(b"x" * 1000)
    (tree / "shared").write_bytes(b"x" * 1000)
    os.link(tree / "shared", tmp_path / "in-use")
    (tree.parent / "kept").write_bytes(b"")
    os.utime(tree.parent / "kept", (1, 1))
    (found,) = housekeeping._environments(cache)
    assert found.size == 1500
    assert found.used == 1
    assert f"removed {tree.parent}" in "".join(collect(cache, 0))
    assert not tree.parent.exists()
    assert (tmp_path / "in-use").exists()


def test_gc_of_a_cache_that_is_not_there(tmp_path: Path):
    assert list(collect(tmp_path / "none", 0))[-1].endswith("0 entries, 0 removed")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500", 500), ("500M", 500 << 20), ("20g", 20 << 30), ("1.5 GiB", 3 << 29), ("2TB", 2 << 40)],
)  # fmt: skip
def test_sizes(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1G", "20GG", "1e9", "G"])
def test_sizes_that_are_none(text: str):
    with pytest.raises(UsageError, match="--max-size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/bringup"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/bringup"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "rel"}, "/h/.cache/bringup"),
        ({"HOME": "/h", "BRINGUP_CACHE": "/own"}, "/own"),
        ({}, "/tmp/.cache/bringup"),
    ],
)
def test_place_of_the_cache(env: dict[str, str], expected: str):
    assert default_cache(env) == Path(expected)
