"""What is kept of the data files is used only while no file and no code that reads them has changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import msgspec
import pytest
from helpers.data_root import STACK, Recipe, pin, write_data, write_lock, write_recipe
from helpers.own_data import own_catalogue
from helpers.ticks import next_tick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.config.lockfile import read_lock
from bringup.errors import ConfigError
from bringup.snapshot import HASH_BYTES, DataFiles, KeptCatalogue

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path / "data", Recipe(name="alpha", patches={"0001-a.patch": "x"}), lock=True)
    write_lock(tmp_path / "data", pin("setuptools"))
    next_tick(tmp_path)
    return tmp_path / "data"


def files(data: Path) -> DataFiles:
    return DataFiles(data, data.parent / "cache", tick_ns=0)


def kept(data: Path, name: str = "catalogue") -> list[Path]:
    return list((data.parent / "cache").glob(f"data/*/*/{name}"))


def forge(path: Path, **changes: object) -> None:
    """Put another catalogue into a kept file, with the hash that belongs to it."""
    known = msgspec.msgpack.decode(path.read_bytes()[HASH_BYTES:], type=KeptCatalogue)
    content = msgspec.msgpack.encode(msgspec.structs.replace(known, **changes))
    path.write_bytes(hashlib.sha256(content).digest() + content)


def test_unchanged_data_comes_from_the_snapshot(data: Path):
    first = files(data).catalogue()
    assert first == load_catalogue(data)
    assert files(data).catalogue() == first
    forge(kept(data)[0], gpus={})
    assert files(data).catalogue().gpus == {}, "the TOML was read all the same"


def test_the_real_data_reads_back_equal(tmp_path: Path):
    assert DataFiles(ROOT, tmp_path, tick_ns=0).catalogue() == own_catalogue()
    found: Catalogue = DataFiles(ROOT, tmp_path, tick_ns=0).catalogue()
    assert found == own_catalogue()
    stack = found.stacks["kernels"]
    for _ in range(2):
        lock = DataFiles(ROOT, tmp_path, tick_ns=0).lock(stack, found)
        assert lock == read_lock(ROOT / "recipes/stacks/kernels.lock")
    assert len(list(tmp_path.glob("data/*/*/*"))) == 2


def change_text(data: Path) -> None:
    path = data / "toolchains/gpus/h200.toml"
    path.write_text(path.read_text().replace("H200", "H2OO"))


def change_text_keeping_size_and_time(data: Path) -> None:
    path = data / "toolchains/gpus/h200.toml"
    before = path.stat()
    change_text(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def replace_file(data: Path) -> None:
    path = data / "toolchains/gpus/h200.toml"
    fresh = path.with_suffix(".new")
    fresh.write_text(path.read_text().replace("H200", "H2OO"))
    fresh.replace(path)


def add_recipe(data: Path) -> None:
    write_recipe(data, Recipe(name="beta"))


def remove_gpu(data: Path) -> None:
    (data / "toolchains/gpus/h200.toml").unlink()


@pytest.mark.parametrize(
    "change", [change_text, change_text_keeping_size_and_time, replace_file, add_recipe, remove_gpu]
)
def test_every_change_is_seen(data: Path, change):
    before = files(data).catalogue()
    assert files(data).catalogue() == before
    change(data)
    after = files(data).catalogue()
    assert after == load_catalogue(data)
    assert after != before
    next_tick(data.parent)
    files(data).catalogue()
    assert len(kept(data)) == 1, "snapshots of states that are gone are removed"


@pytest.mark.parametrize("change", ["patch nobody lists", "empty folder", "no lock"])
def test_problems_between_files_are_seen(data: Path, change: str):
    files(data).catalogue()
    if change == "patch nobody lists":
        (data / "patches/alpha/1.0/0002-b.patch").write_text("")
    elif change == "empty folder":
        (data / "patches/alpha/2.0").mkdir()
    else:
        (data / f"recipes/stacks/{STACK}.lock").unlink()
    for _ in range(2):
        with pytest.raises(ConfigError):
            files(data).catalogue()


def test_an_edit_within_a_tick_is_not_kept(data: Path):
    DataFiles(data, data.parent / "cache").catalogue()
    assert kept(data) == []
    later = time.time_ns() + 3600 * 10**9
    os.utime(data / "recipes/alpha.toml", ns=(later, later))
    files(data).catalogue()
    assert kept(data) == [], "a time in the future says nothing"


def test_a_lock_that_is_too_old_is_refused_each_time(data: Path):
    catalogue = files(data).catalogue()
    stack = catalogue.stacks[STACK]
    assert files(data).lock(stack, catalogue) == files(data).lock(stack, catalogue)
    assert len(kept(data, f"{STACK}.lock")) == 1
    write_recipe(data, Recipe(name="alpha", build='requires = ["wheel"]', patches={"0001-a.patch": "x"}))
    next_tick(data.parent)
    catalogue = files(data).catalogue()
    for _ in range(2):
        with pytest.raises(ConfigError, match="older than stack"):
            files(data).lock(stack, catalogue)


def test_a_value_that_messagepack_does_not_have_is_read_from_toml(data: Path):
    path = data / f"recipes/stacks/{STACK}.toml"
    path.write_text(path.read_text() + "[options.alpha]\nday = 2026-01-02\n")
    next_tick(data.parent)
    assert files(data).catalogue() == load_catalogue(data) == files(data).catalogue()


def test_a_folder_behind_a_link_is_always_read(data: Path):
    (data / "patches").rename(data.parent / "elsewhere")
    (data / "recipes/more").symlink_to(data.parent / "elsewhere")
    write_recipe(data, Recipe(name="alpha", patches={"0001-a.patch": "x"}))
    files(data).catalogue()
    assert kept(data) == []


@given(st.data())
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_snapshot_is_not_used(data: Path, draws: st.DataObject):
    catalogue = files(data).catalogue()
    path = kept(data)[0]
    content = bytearray(path.read_bytes())
    at = draws.draw(st.integers(0, len(content) - 1))
    if draws.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= draws.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert files(data).catalogue() == catalogue


def test_a_cache_that_cannot_be_written_is_as_good(data: Path):
    (data.parent / "cache").write_text("a file")
    assert files(data).catalogue() == load_catalogue(data)
