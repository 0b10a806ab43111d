"""Files and folders: whole or not there, and storage problems with a name."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from bringup.errors import StorageError
from bringup.system import fs


def test_write_is_whole_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "new/x.json"
    fs.write_atomic(path, "one")
    fs.write_atomic(path, b"two")
    assert path.read_text() == "two"
    assert [one.name for one in path.parent.iterdir()] == ["x.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_readers_see_the_old_or_the_new_content(tmp_path: Path):
    path = tmp_path / "x"
    contents = {"a" * 200_000, "b" * 200_000}
    fs.write_atomic(path, "a" * 200_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                fs.write_atomic(path, content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert {path.read_text() for _ in range(150)} <= contents
    finally:
        stop.set()
        thread.join()


def test_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x"
    fs.write_atomic(path, "old")

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left on the device"):
        fs.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
    ],
)
def test_storage_problems_get_a_name_and_a_next_move(number: int, text: str):
    with pytest.raises(StorageError) as caught, fs.storage_errors(Path("/some/where")):
        raise OSError(number, "x")
    assert caught.value.message.startswith("/some/where: ")
    assert text in caught.value.message
    assert "--build-dir" in caught.value.hint
    assert caught.value.exit_code == 14


def test_other_problems_stay_what_they_are():
    with pytest.raises(IsADirectoryError), fs.storage_errors(Path("x")):
        raise IsADirectoryError(errno.EISDIR, "x")


def test_json_that_is_missing_or_damaged_is_none(tmp_path: Path):
    assert fs.read_json(tmp_path / "none.json") is None
    (tmp_path / "bad.json").write_text('{"a": ')
    assert fs.read_json(tmp_path / "bad.json") is None
    fs.write_json(tmp_path / "good.json", {"a": [1, None]})
    assert fs.read_json(tmp_path / "good.json") == {"a": [1, None]}


def test_remove_takes_files_links_and_write_protected_trees(tmp_path: Path):
    kept = tmp_path / "kept"
    (kept / "inside").mkdir(parents=True)
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_text("x")
    (tree / "link").symlink_to(kept)
    (tree / "deep/file").chmod(0o444)
    (tree / "deep").chmod(0o555)
    fs.remove_tree(tree)
    (tmp_path / "dangling").symlink_to("nowhere")
    fs.remove_tree(tmp_path / "dangling")
    fs.remove_tree(tmp_path / "never was")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "inside").is_dir()


def test_remove_of_a_link_keeps_what_it_points_to(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    fs.remove_tree(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_link_is_relative_and_replaced_in_one_step(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / "envs" / name).mkdir(parents=True)
        fs.point_link(tmp_path / "env", tmp_path / "envs" / name)
        assert (tmp_path / "env").readlink() == Path("envs") / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env", "envs"]


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path):
    assert fs.free_bytes(tmp_path / "a/b/c") > 0


def test_link_or_copy_replaces(tmp_path: Path):
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    fs.link_or_copy(tmp_path / "a", tmp_path / "b")
    fs.link_or_copy(tmp_path / "a", tmp_path / "sub/c")
    assert (tmp_path / "b").read_text() == (tmp_path / "sub/c").read_text() == "new"


def test_hash(tmp_path: Path):
    data = b"abc" * 1_000_000  # more than one block
    (tmp_path / "a").write_bytes(data)
    assert fs.sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_file_where_a_folder_should_be(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(StorageError, match="a file stands where a folder should be"):
            fs.make_dir(path)


def test_a_file_system_that_takes_no_folders_is_named():
    with pytest.raises(StorageError, match="/proc/none: this file system takes no new folders"):
        fs.make_dir(Path("/proc/none"))
    with pytest.raises(StorageError, match="/proc/none"):
        fs.write_atomic(Path("/proc/none/x"), "x")
