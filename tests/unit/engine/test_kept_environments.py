"""Environments that are kept as links: the next one is the same with its own path, and nothing edited gets into it."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup import kept
from bringup.kept import MANIFEST, keep, key_of, restore

SITE = "lib/python3.11/site-packages"


def digest(content: bytes) -> str:
    found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={found},{len(content)}"


def script(place: Path) -> bytes:
    return f"#!{place}/bin/python\nimport alpha\n".encode()


def record(place: Path) -> str:
    return f"alpha.py,{digest(b'VALUE = 1')}\n../../../bin/tool,{digest(script(place))}\nalpha-1.dist-info/RECORD,,\n"


class Cache:
    """uv's cache, and environments with links into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unpacked = folder / "uv"
        self.unpacked.mkdir()
        (self.unpacked / "alpha.py").write_text("VALUE = 1")
        self.kept = folder / "cache/environments/abc"

    def install(self, name: str) -> Path:
        place = self.folder / name
        (place / SITE / "alpha-1.dist-info").mkdir(parents=True)
        (place / "bin").mkdir()
        (place / "empty").mkdir(mode=0o700)
        os.link(self.unpacked / "alpha.py", place / SITE / "alpha.py")
        (place / SITE / "alpha-1.dist-info/RECORD").write_text(record(place))
        (place / "bin/tool").write_bytes(script(place))
        (place / "bin/tool").chmod(0o755)
        (place / "bin/python").symlink_to("/usr/bin/python3")
        (place / "pyvenv.cfg").write_text("home = /usr/bin\n")
        (place / ".mark").write_text("of this one alone")
        return place


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def tree(place: Path) -> dict[str, tuple[str, int, bytes]]:
    found = {}
    for path in place.rglob("*"):
        content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        kind = "link" if path.is_symlink() else "file" if path.is_file() else "folder"
        found[str(path.relative_to(place))] = (kind, path.lstat().st_mode, content)
    return found


def test_the_next_one_is_what_installing_would_have_made(cache: Cache, tmp_path: Path):
    old = cache.install("old")
    assert keep(old, cache.kept, without={".mark"})
    new = tmp_path / "elsewhere/new"
    new.parent.mkdir()
    assert restore(cache.kept, new)
    wanted = cache.install("wanted")
    (wanted / ".mark").unlink()
    found, expected = tree(new), tree(wanted)
    for name in ("bin/tool", f"{SITE}/alpha-1.dist-info/RECORD"):
        assert found.pop(name)[:2] == expected.pop(name)[:2]
    assert found == expected
    assert (new / "bin/tool").read_bytes() == script(new)
    assert (new / SITE / "alpha-1.dist-info/RECORD").read_text() == record(new)
    assert (new / SITE / "alpha.py").samefile(cache.unpacked / "alpha.py")
    assert not (new / "bin/tool").samefile(old / "bin/tool")


def test_an_edit_in_any_environment_ends_the_keeping(cache: Cache, tmp_path: Path):
    old = cache.install("old")
    assert keep(old, cache.kept)
    with (old / SITE / "alpha.py").open("r+") as handle:
        handle.write("VALUE = 2")
    assert not restore(cache.kept, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not cache.kept.exists()


def test_a_new_file_in_an_old_environment_does_not_matter(cache: Cache, tmp_path: Path):
    old = cache.install("old")
    assert keep(old, cache.kept)
    (old / SITE / "alpha.py").unlink()
    (old / SITE / "alpha.py").write_text("VALUE = 3")
    assert restore(cache.kept, tmp_path / "new")
    assert (tmp_path / "new" / SITE / "alpha.py").read_text() == "VALUE = 1"


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_a_damaged_manifest_is_removed_and_nothing_is_laid_down(cache: Cache, tmp_path: Path, damage: bytes | None):
    assert keep(cache.install("old"), cache.kept)
    path = cache.kept / MANIFEST
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert not restore(cache.kept, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not cache.kept.exists()


def test_what_gc_took_away_is_installed(cache: Cache, tmp_path: Path):
    assert keep(cache.install("old"), cache.kept)
    (cache.kept / "tree" / SITE / "alpha.py").unlink()
    assert not restore(cache.kept, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not restore(cache.folder / "cache/environments/none", tmp_path / "new")


@pytest.mark.parametrize("name", ["with space", "with'quote", "with$dollar", "ümlaut"])
def test_a_path_that_scripts_would_quote_is_not_used(cache: Cache, tmp_path: Path, name: str):
    assert not keep(cache.install(name), cache.kept)
    assert not cache.kept.exists()
    assert keep(cache.install("old"), cache.kept)
    assert not restore(cache.kept, tmp_path / name / "new")
    assert restore(cache.kept, tmp_path / "plain")


def test_a_first_line_that_the_kernel_would_cut_is_not_written(cache: Cache, tmp_path: Path):
    assert keep(cache.install("old"), cache.kept)
    assert not restore(cache.kept, tmp_path / ("long" * 30))
    assert cache.kept.exists()


def test_an_environment_of_copies_is_not_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "MAX_TEXTS", 100)
    old = cache.install("old")
    (old / SITE / "large.so").write_bytes(b"x" * 101)
    assert not keep(old, cache.kept)
    assert not cache.kept.exists()
    assert not (cache.folder / "cache").exists()


def test_a_path_of_its_own_in_an_unknown_file_is_not_kept(cache: Cache):
    old = cache.install("old")
    (old / SITE / "editable.pth").write_text(f"{old}/src")
    assert not keep(old, cache.kept)


def test_only_a_few_are_kept_those_used_last(cache: Cache):
    old = cache.install("old")
    home = cache.kept.parent
    for index in range(kept.MOST + 2):
        assert keep(old, home / f"key{index}")
        os.utime(home / f"key{index}" / MANIFEST, (1000 + (index or 10**6), 1000))
    assert keep(old, home / "last")
    assert sorted(path.name for path in home.iterdir()) == ["key0", "key4", "key5", "last"]


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_keys_differ_as_their_parts_do(one: list[str], other: list[str]):
    plain = [[part.replace("\0", "") for part in parts] + ["end"] for parts in (one, other)]
    assert (key_of(plain[0]) == key_of(plain[1])) == (plain[0] == plain[1])
