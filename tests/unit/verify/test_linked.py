"""Files that several environments share by hard links: hashed once, and again after any edit through any of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from helpers.ticks import next_tick

from bringup.formats.wheel import check_installed, make_wheel, unpack_wheel
from bringup.verify.linked import check_linked


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    (tmp_path / "tree/pkg").mkdir(parents=True)
    (tmp_path / "tree/pkg/__init__.py").write_text("VALUE = 1\n")
    (tmp_path / "tree/pkg/lib.so").write_bytes(b"machine code")
    return make_wheel(tmp_path / "tree", tmp_path / "store", name="pkg", version="1", tag="py3-none-any")


@pytest.fixture
def cache(wheel: Path, tmp_path: Path) -> Path:
    """An installer's cache: the wheel unpacked once."""
    unpack_wheel(wheel, tmp_path / "cache")
    next_tick(tmp_path)
    return tmp_path / "cache"


def link(cache: Path, env: Path) -> Path:
    """Make an environment of hard links and return its site-packages."""
    shutil.copytree(cache, env, copy_function=os.link)
    return env


def marks(wheel: Path) -> list[Path]:
    return list(wheel.parent.glob(".*.installed"))


def check(site: Path, wheel: Path) -> list[str]:
    return [problem.path for problem in check_linked(site, wheel, tick_ns=0)]


def test_what_was_hashed_once_is_not_read_again(cache: Path, wheel: Path, tmp_path: Path):
    assert check(link(cache, tmp_path / "one"), wheel) == []
    assert len(marks(wheel)) == 1
    site = link(cache, tmp_path / "two")
    before = (site / "pkg/lib.so").stat()
    (site / "pkg/lib.so").write_bytes(b"MACHINE code")
    os.utime(site / "pkg/lib.so", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert check(site, wheel) == [], "the file was read all the same"
    assert len(check_installed(site, wheel)) == 1, "which verification does"


def test_an_edit_through_another_environment_is_found(cache: Path, wheel: Path, tmp_path: Path):
    other = link(cache, tmp_path / "one")
    assert check(other, wheel) == []
    with (other / "pkg/lib.so").open("r+b") as handle:
        handle.write(b"M")
    site = link(cache, tmp_path / "two")
    assert (site / "pkg/lib.so").read_bytes() == b"Machine code"
    assert check(site, wheel) == ["pkg/lib.so"]


@pytest.mark.parametrize("change", ["gone", "replaced", "copied"])
def test_other_files_are_hashed(cache: Path, wheel: Path, tmp_path: Path, change: str):
    assert check(link(cache, tmp_path / "one"), wheel) == []
    site = link(cache, tmp_path / "two")
    path = site / "pkg/lib.so"
    path.unlink()
    if change == "replaced":
        path.write_bytes(b"MACHINE code")
    elif change == "copied":
        shutil.copy2(cache / "pkg/lib.so", path)
    assert check(site, wheel) == ([] if change == "copied" else ["pkg/lib.so"])


def test_another_wheel_of_the_same_name_is_compared_anew(cache: Path, wheel: Path, tmp_path: Path):
    site = link(cache, tmp_path / "one")
    assert check(site, wheel) == []
    (tmp_path / "tree/pkg/lib.so").write_bytes(b"other code!!")
    make_wheel(tmp_path / "tree", tmp_path / "again", name="pkg", version="1", tag="py3-none-any").replace(wheel)
    assert "pkg/lib.so" in check(site, wheel)


def test_nothing_is_noted_of_files_that_were_written_just_now(cache: Path, wheel: Path, tmp_path: Path):
    assert check_linked(link(cache, tmp_path / "one"), wheel) == []
    assert marks(wheel) == []


def test_nothing_is_noted_of_a_wheel_that_is_not_installed_right(cache: Path, wheel: Path, tmp_path: Path):
    assert check(tmp_path / "nowhere", wheel) == ["pkg"]
    (cache / "pkg/lib.so").unlink()
    assert check(link(cache, tmp_path / "one"), wheel) == ["pkg/lib.so"]
    assert marks(wheel) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x81\xa5wheel\x90", b"{}"])
def test_a_damaged_note_is_not_used(cache: Path, wheel: Path, tmp_path: Path, content: bytes):
    site = link(cache, tmp_path / "one")
    assert check(site, wheel) == []
    marks(wheel)[0].write_bytes(content)
    (site / "pkg/lib.so").write_bytes(b"MACHINE code")
    assert check(site, wheel) == ["pkg/lib.so"]
