"""Wheels by fingerprint: an entry is whole, or it is reported and not used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.entry import Lookup
from bringup.errors import StorageError
from bringup.store import Store

KEY = "ab" + "0" * 30


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def wheel(folder: Path, name: str = "alpha-1.0-py3-none-any.whl", content: bytes = b"wheel") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def add(store: Store, *wheels: Path, key: str = KEY, package: str = "alpha", date: str = "2026-01-01") -> Lookup:
    return store.add(
        key, package=package, version="1.0", wheels=list(wheels), inputs={"a": 1}, seconds=1.234, date=date
    )


def test_what_is_added_is_found(store: Store, tmp_path: Path):
    assert store.lookup(KEY) == Lookup()
    added = add(store, wheel(tmp_path / "out"), wheel(tmp_path / "out", "more-1.0-py3-none-any.whl", b"x"))
    found = store.lookup(KEY)
    assert found == added
    assert found.problem == ""
    assert [path.read_bytes() for path in found.wheels] == [b"wheel", b"x"]
    assert found.entry is not None
    assert (found.entry.package, found.entry.inputs, found.entry.seconds) == ("alpha", {"a": 1}, 1.23)
    assert [path.name for path in store.folder(KEY).parent.iterdir()] == [KEY]


def test_entry_belongs_to_the_store_and_not_to_the_build(store: Store, tmp_path: Path):
    out = wheel(tmp_path / "out")
    add(store, out)
    out.write_bytes(b"changed in place")
    assert store.lookup(KEY).entry


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.write_bytes(b"whee"), "has 4 bytes and should have 5"),
        (lambda path: path.write_bytes(b"Wheel"), "has SHA-256 "),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: (path.parent / "entry.json").unlink(), "the store's entry is incomplete"),
        (lambda path: (path.parent / "entry.json").write_text("{"), "the store's entry is damaged"),
        (lambda path: (path.parent / "entry.json").write_text("[]"), "the store's entry is damaged"),
        (lambda path: (path.parent / "entry.json").write_bytes(b"\xff"), "the store's entry is damaged"),
    ],
)
def test_damage_is_reported_and_mended_by_the_next_build(store: Store, tmp_path: Path, damage, problem: str):
    (path,) = add(store, wheel(tmp_path / "out")).wheels
    store.lookup(KEY)
    damage(path)
    found = store.lookup(KEY)
    assert found.entry is None
    assert found.wheels == ()
    assert problem in found.problem
    assert add(store, wheel(tmp_path / "out")).entry
    assert store.lookup(KEY).problem == ""


@pytest.mark.parametrize("change", [{"schema": 2}, {"fingerprint": "x"}, {"wheels": []}])
def test_entry_of_something_else_is_not_used(store: Store, tmp_path: Path, change: dict[str, object]):
    add(store, wheel(tmp_path / "out"))
    path = store.folder(KEY) / "entry.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert "another version or for another fingerprint" in store.lookup(KEY).problem


def test_names_that_lead_out_of_the_entry_are_not_followed(store: Store, tmp_path: Path):
    add(store, wheel(tmp_path / "out"))
    path = store.folder(KEY) / "entry.json"
    data = json.loads(path.read_text())
    (store.folder(KEY).parent / "alpha-1.0-py3-none-any.whl").write_bytes(b"wheel")
    data["wheels"][0]["file"] = "../alpha-1.0-py3-none-any.whl"
    path.write_text(json.dumps(data))
    assert store.lookup(KEY).entry is None


def test_what_was_checked_is_not_read_again_and_a_later_change_is_seen(store: Store, tmp_path: Path):
    (path,) = add(store, wheel(tmp_path / "out")).wheels
    assert store.lookup(KEY).entry
    stat = path.stat()
    path.write_bytes(b"WHEEL")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert "SHA-256" in store.lookup(KEY).problem


def test_unfinished_entry_of_a_killed_run_is_no_entry(store: Store, tmp_path: Path):
    fresh = store.folder(KEY).with_name(f".{KEY}.new-123")
    fresh.mkdir(parents=True)
    (fresh / "alpha-1.0-py3-none-any.whl").write_bytes(b"wh")
    assert store.lookup(KEY) == Lookup()
    assert store.entries() == []
    assert add(store, wheel(tmp_path / "out")).entry


def test_first_entry_wins(store: Store, tmp_path: Path):
    first = add(store, wheel(tmp_path / "out"), date="2026-01-01")
    again = add(store, wheel(tmp_path / "out", content=b"other"), date="2026-01-02")
    assert again == first
    assert again.wheels[0].read_bytes() == b"wheel"


def test_entries_newest_first_and_of_one_package(store: Store, tmp_path: Path):
    out = wheel(tmp_path / "out")
    for index, (package, date) in enumerate([("alpha", "2026-01-01"), ("beta", "2026-01-03"), ("alpha", "2026-01-02")]):
        add(store, out, key=f"{index}{index}" + "f" * 30, package=package, date=date)
    (store.folder("11" + "f" * 30) / "entry.json").write_text("{")
    assert [entry.date for entry in store.entries()] == ["2026-01-02", "2026-01-01"]
    assert [entry.date for entry in store.entries("alpha")] == ["2026-01-02", "2026-01-01"]
    assert store.entries("gamma") == []
    store.remove("00" + "f" * 30)
    assert len(store.entries("alpha")) == 1


def test_disk_that_is_full_leaves_no_entry(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(StorageError, match="no space left"):
        add(store, wheel(tmp_path / "out"))
    assert store.lookup(KEY) == Lookup()


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_to_entry_json_is_a_problem_and_no_crash(store: Store, tmp_path: Path, data: st.DataObject):
    store.remove(KEY)
    add(store, wheel(tmp_path / "out"))
    path = store.folder(KEY) / "entry.json"
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 9)) :])
    found = store.lookup(KEY)
    assert bool(found.entry) != bool(found.problem)
