"""A store that machines share, in a folder: what it has is used, what is wrong is said once and not used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bringup.planning.fingerprint import fingerprint
from bringup.remote import RemoteStore
from bringup.store import Store
from bringup.system.blobs import FolderBlobs

INPUTS = {"package": "alpha 1.0", "numbers": [1, 2.5, True, None], "text": "ä"}
KEY = fingerprint(INPUTS).value


class Machine:
    """One machine with its own store, in front of the shared one."""

    def __init__(self, folder: Path, shared: Path, *, writable: bool = True) -> None:
        self.said: list[str] = []
        self.remote = RemoteStore(FolderBlobs(shared), writable=writable, say=self.said.append)
        self.store = Store(folder, self.remote)
        self.folder = folder

    def build(self, content: bytes = b"wheel") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder.with_name(f"{self.folder.name}-out") / "alpha-1.0-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        made = self.store.add(
            KEY, package="alpha", version="1.0", wheels=[path], inputs=INPUTS, seconds=1, date="2026-01-01"
        )
        assert made.entry
        self.remote.publish(made.entry, made.wheels)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def one(tmp_path: Path, shared: Path) -> Machine:
    return Machine(tmp_path / "one", shared)


@pytest.fixture
def two(tmp_path: Path, shared: Path) -> Machine:
    return Machine(tmp_path / "two", shared, writable=False)


def test_what_one_machine_built_another_has(one: Machine, two: Machine):
    assert two.store.available(KEY)[0].entry is None
    one.build()
    found, elsewhere = two.store.available(KEY)
    assert found.entry is not None
    assert elsewhere
    pulled = two.store.pull(KEY)
    assert pulled.wheels[0].read_bytes() == b"wheel"
    assert pulled == two.store.lookup(KEY)
    assert two.store.available(KEY)[1] is False
    assert one.said == two.said == []


def test_a_store_that_is_only_read_is_not_written(two: Machine, shared: Path):
    two.build()
    assert list(shared.rglob("*")) == []
    assert two.said == []


def entry_of(shared: Path) -> Path:
    return shared / "entries" / KEY[:2] / f"{KEY}.json"


def change_entry(shared: Path, **values: object) -> None:
    known = json.loads(entry_of(shared).read_text())
    entry_of(shared).write_text(json.dumps(known | values))


def blob_of(shared: Path) -> Path:
    (found,) = [path for path in (shared / "blobs").rglob("*") if path.is_file()]
    return found


DAMAGE = {
    "is damaged": lambda shared: entry_of(shared).write_text("{"),
    "for another fingerprint": lambda shared: change_entry(shared, fingerprint="0" * 32),
    "inputs that are not those": lambda shared: change_entry(shared, inputs={"a": 1}),
    "names a file outside": lambda shared: change_entry(
        shared, wheels=[{"file": "../a.whl", "sha256": "0" * 64, "size": 1}]
    ),
    "another content than it says": lambda shared: blob_of(shared).write_bytes(b"WHEEL"),
    "another content": lambda shared: blob_of(shared).write_bytes(b"whe"),
    "lacks alpha-1.0": lambda shared: blob_of(shared).unlink(),
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_what_does_not_fit_is_said_once_and_never_used(one: Machine, two: Machine, shared: Path, problem: str):
    one.build()
    DAMAGE[problem](shared)
    assert two.store.pull(KEY).entry is None
    assert two.store.pull(KEY).entry is None
    assert two.store.available(KEY)[0].entry is None
    assert len(two.said) == 1
    assert problem in two.said[0]
    assert "it is ignored" in two.said[0]
    assert not list((two.folder / KEY[:2]).glob("*"))


def test_what_goes_wrong_before_there_is_anybody_to_tell_is_kept(tmp_path: Path):
    lost = Machine(tmp_path / "lost", tmp_path / "not-mounted")
    lost.remote.say = None
    assert lost.store.available(KEY)[0].entry is None
    lost.remote.say = lost.said.append
    lost.build()
    assert len(lost.remote.unsaid) == 1
    assert lost.said == []


def test_a_writer_mends_what_it_refused(tmp_path: Path, one: Machine, two: Machine, shared: Path):
    one.build()
    blob_of(shared).write_bytes(b"WHEEL")
    three = Machine(tmp_path / "three", shared)
    assert three.store.pull(KEY).entry is None
    three.build()
    assert two.store.pull(KEY).entry


def test_two_machines_that_write_one_entry_leave_a_whole_one(tmp_path: Path, one: Machine, two: Machine, shared: Path):
    """Their wheels differ, as builds that are not repeatable do; whoever is last, description and wheel fit."""
    other = Machine(tmp_path / "other", shared)
    one.build(b"wheel of one")
    other.build(b"wheel of another")
    assert two.store.pull(KEY).wheels[0].read_bytes() == b"wheel of another"
    assert two.said == []


def test_a_folder_that_is_gone_costs_one_warning(tmp_path: Path):
    lost = Machine(tmp_path / "lost", tmp_path / "not-mounted")
    assert lost.store.available(KEY)[0].entry is None
    assert lost.store.pull(KEY).entry is None
    lost.build()
    assert len(lost.said) == 1
    assert "no such folder; this run goes on without it" in lost.said[0]
    assert not (tmp_path / "not-mounted").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_costs_one_warning(one: Machine, shared: Path):
    shared.chmod(0o555)
    one.build()
    assert "cannot be written" in one.said[0]


def test_nothing_half_written_is_seen(one: Machine, shared: Path):
    one.build()
    assert all(len(path.name) in (64, 37) for path in shared.rglob("*") if path.is_file())
