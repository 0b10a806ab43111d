"""Patches that git writes, applied with a real git and without one to real trees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bringup.errors import PatchError, StorageError
from bringup.formats.patch import read_patch
from bringup.system.environ import base_environment
from bringup.system.patching import apply_series

TEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ENV = base_environment()
WITHOUT_GIT = ENV | {"PATH": "/nonexistent"}


def git(*args: str, cwd: Path) -> str:
    env = ENV | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false"]
    return subprocess.run(
        ["git", *identity, *args], cwd=cwd, env=env, check=True, capture_output=True
    ).stdout.decode("utf-8", "surrogateescape")  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_patch(tmp_path: Path, before: dict[str, str], after: dict[str, str], *, name: str = "0001-x.patch") -> Path:
    """Let git itself write the patch from one set of files to the other."""
    repo = tmp_path / f"repo-{name}"
    repo.mkdir(parents=True)
    git("init", "--quiet", cwd=repo)
    for files, message in ((before, "Before"), (after, f"Change by {name}\n\nUpstream-Status: Pending")):
        for path in git("ls-files", "-z", cwd=repo).split("\0"):
            if path:
                (repo / path).unlink()
        write(repo, files)
        git("add", "--all", cwd=repo)
        git("commit", "--quiet", "--allow-empty", "-m", message, cwd=repo)
    text = git("format-patch", "--stdout", "-M", "--binary", "-1", cwd=repo)
    patch = tmp_path / name
    patch.write_bytes(text.encode("utf-8", "surrogateescape"))
    return patch


def numbered(**changes: str) -> str:
    return "".join(f"{changes.get(word, word)}\n" for word in TEN)


@pytest.fixture(params=["plain", "repository", "inside a repository"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "outer" / "tree"
    folder.mkdir(parents=True)
    if request.param != "plain":
        git("init", "--quiet", cwd=folder if request.param == "repository" else folder.parent)
    return folder


def test_series_applies(tree: Path, tmp_path: Path):
    old = {"a.py": numbered(), "third_party/sub/b.c": "b\n", "gone.txt": "gone\n", "moved.txt": numbered(one="1")}
    mid = {"a.py": numbered(two="TWO"), "third_party/sub/b.c": "B\n", "new/file.sh": "new\n", "m/moved.txt": numbered(one="1")}  # fmt: skip  # noqa: E501
    new = mid | {"a.py": numbered(two="2", nine="NINE"), "new/file.sh": "newer\n"}
    series = [make_patch(tmp_path, old, mid, name="0001.patch"), make_patch(tmp_path, mid, new, name="0002.patch")]
    write(tree, old | {"other.txt": "untouched\n"})
    before = (tree / "other.txt").stat().st_mtime_ns
    applied = apply_series(tree, series, env=ENV)
    seen = {name: data.decode() for name, (data, _) in snapshot(tree).items() if not name.startswith(".git/")}
    assert seen == new | {"other.txt": "untouched\n"}
    assert (tree / "other.txt").stat().st_mtime_ns == before
    assert [patch.title for patch in applied] == ["Change by 0001.patch", "Change by 0002.patch"]
    assert applied[0].offsets == ()
    assert [path.name for path in tree.parent.iterdir() if path.name.startswith(".tree")] == []


def test_all_or_nothing(tree: Path, tmp_path: Path):
    good = make_patch(tmp_path, {"a.py": numbered()}, {"a.py": numbered(two="TWO"), "new.py": "x\n"}, name="0001.patch")
    bad = make_patch(tmp_path, {"b.py": numbered()}, {"b.py": numbered(five="FIVE", one="ONE")}, name="0002.patch")
    write(tree, {"a.py": numbered(), "b.py": numbered(six="SECHS")})
    (tree / "a.py").chmod(0o755)
    before = snapshot(tree)
    with pytest.raises(PatchError) as caught:
        apply_series(tree, [good, bad], env=ENV)
    assert snapshot(tree) == before
    assert caught.value.message.startswith(f"{bad} (Change by 0002.patch) does not apply to b.py, hunk 1 of 1 (line ")
    assert caught.value.message.endswith("line 6 should be `six`, there is `SECHS`")
    assert str(tree) in caught.value.hint


def test_second_hunk_is_named(tmp_path: Path):
    long = "".join(f"{n}\n" for n in range(40))
    patch = make_patch(tmp_path, {"a": long}, {"a": long.replace("\n3\n", "\nX\n").replace("\n33\n", "\nY\n")})
    tree = tmp_path / "tree"
    write(tree, {"a": long.replace("\n33\n", "\n33 changed\n")})
    with pytest.raises(PatchError, match=r"a, hunk 2 of 2 .*: line 34 should be `33`, there is `33 changed`"):
        apply_series(tree, [patch], env=ENV)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a.py": numbered(five="FIVE")}, r"hunk 1 of 1 .*: the change is already there \(line 2\)"),
        ({"a.py": "quite\nanother\nfile\n"}, "none of the 7 lines that it expects is in the file"),
        ({"lib/a.py": numbered()}, "a.py: there is no such file; the tree has lib/a.py"),
        ({"b.py": "x"}, "a.py: there is no such file$"),
        ({"a.py": numbered().replace("\n", "\r\n")}, "the file has CRLF line ends and the patch has not"),
    ],
)
def test_nearest_reason(files: dict[str, str], why: str, tmp_path: Path):
    patch = make_patch(tmp_path, {"a.py": numbered()}, {"a.py": numbered(five="FIVE")})
    tree = tmp_path / "tree"
    write(tree, files)
    with pytest.raises(PatchError, match=why):
        apply_series(tree, [patch], env=ENV, log=tmp_path / "log")
    assert "git apply" in (tmp_path / "log").read_text()


def test_new_file_that_is_already_there(tmp_path: Path):
    patch = make_patch(tmp_path, {"a": "a\n"}, {"a": "a\n", "new": "new\n"})
    write(tmp_path / "tree", {"new": "mine\n"})
    with pytest.raises(PatchError, match="new: already exists"):
        apply_series(tmp_path / "tree", [patch], env=ENV)


def test_offsets_are_told(tmp_path: Path):
    patch = make_patch(tmp_path, {"a": numbered()}, {"a": numbered(five="FIVE")})
    write(tmp_path / "tree", {"a": "zero\n" * 7 + numbered()})
    (applied,) = apply_series(tmp_path / "tree", [patch], env=ENV)
    assert applied.offsets == ("Hunk #1 succeeded at 9 (offset 7 lines)",)
    assert (tmp_path / "tree/a").read_text() == "zero\n" * 7 + numbered(five="FIVE")


def test_links_are_not_followed_out_of_the_tree(tmp_path: Path):
    patch = make_patch(tmp_path, {"dir/a": "a\n"}, {"dir/a": "b\n"})
    write(tmp_path / "outside", {"a": "a\n"})
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "dir").symlink_to(tmp_path / "outside")
    with pytest.raises(PatchError, match="dir/a lies behind the symbolic link dir"):
        apply_series(tree, [patch], env=ENV)
    assert (tmp_path / "outside/a").read_text() == "a\n"


def test_line_ends_modes_and_binary_content_survive(tmp_path: Path):
    before = {
        "dos.txt": "one\r\ntwo\r\n",
        "latin.txt": "gr\udcfc\udcdfe\n",
        "data.bin": "\x00\x01",
        "end": "no newline",
    }
    after = {"dos.txt": "one\r\nTWO\r\n", "latin.txt": "Gr\udcfc\udcdfe\n", "data.bin": "\x00\x02", "end": "still none"}
    patch = make_patch(tmp_path, before, after)
    tree = tmp_path / "tree"
    write(tree, before)
    (tree / "end").chmod(0o755)
    binary = {file.new: file.binary for file in read_patch(patch).files}
    assert binary == {"dos.txt": False, "latin.txt": False, "data.bin": True, "end": False}
    apply_series(tree, [patch], env=ENV)
    expected = {name: text.encode("utf-8", "surrogateescape") for name, text in after.items()}
    assert {name: data for name, (data, _) in snapshot(tree).items()} == expected
    assert (tree / "end").stat().st_mode & 0o777 == 0o755


def test_unreadable_patch_and_read_only_tree(tmp_path: Path):
    with pytest.raises(PatchError, match=r"nothing\.patch: cannot read"):
        apply_series(tmp_path, [tmp_path / "nothing.patch"], env=ENV)
    if os.geteuid() != 0:
        patch = make_patch(tmp_path, {"a": "a\n"}, {"a": "b\n"})
        write(tmp_path / "closed/tree", {"a": "a\n"})
        (tmp_path / "closed").chmod(0o500)
        with pytest.raises(StorageError):
            apply_series(tmp_path / "closed/tree", [patch], env=ENV)


def test_failure_in_the_middle_of_writing_is_undone(tmp_path: Path):
    before = {"a": "a\n", "dir/b": "b\n"}
    patch = make_patch(tmp_path, before, {"a": "A\n", "dir/b": "b\n", "zzz": "new\n"})
    tree = tmp_path / "tree"
    write(tree, before)
    (tree / "zzz").mkdir()  # a folder stands where the new file goes: renaming fails after `a` has been renamed
    seen = snapshot(tree)
    with pytest.raises((PatchError, OSError)):
        apply_series(tree, [patch], env=ENV)
    assert snapshot(tree) == seen


# ---- without git --------------------------------------------------------------------------------------------------


def test_a_series_applies_without_git_as_with_it(tmp_path: Path):
    old = {"a.py": numbered(), "gone.txt": "gone\n", "moved.txt": numbered(one="1"), "end": "a\nb"}
    mid = {"a.py": numbered(two="TWO"), "new/file.sh": "new\n", "m/moved.txt": numbered(one="1"), "end": "a\nb\n"}
    new = mid | {"a.py": numbered(two="2", nine="NINE"), "new/file.sh": "newer\n", "end": "a\nc"}
    series = [make_patch(tmp_path, old, mid, name="0001.patch"), make_patch(tmp_path, mid, new, name="0002.patch")]
    for folder, env in (("with", ENV), ("without", WITHOUT_GIT)):
        write(tmp_path / folder, old)
        applied = apply_series(tmp_path / folder, series, env=env)
        assert [patch.offsets for patch in applied] == [(), ()]
    assert {name: data.decode() for name, (data, _) in snapshot(tmp_path / "without").items()} == new
    assert snapshot(tmp_path / "without") == snapshot(tmp_path / "with")


def test_offsets_and_reasons_are_those_of_git(tmp_path: Path):
    patch = make_patch(tmp_path, {"a": numbered()}, {"a": numbered(five="FIVE")})
    write(tmp_path / "tree", {"a": "zero\n" * 7 + numbered()})
    (applied,) = apply_series(tmp_path / "tree", [patch], env=WITHOUT_GIT)
    assert applied.offsets == ("Hunk #1 succeeded at 9 (offset 7 lines)",)
    write(tmp_path / "other", {"a": numbered(six="SECHS")})
    for env in (ENV, WITHOUT_GIT):
        with pytest.raises(PatchError, match=r"a, hunk 1 of 1 .*line 6 should be `six`, there is `SECHS`"):
            apply_series(tmp_path / "other", [patch], env=env)
        with pytest.raises(PatchError, match="a: there is no such file"):
            apply_series(tmp_path, [patch], env=env)


def test_binary_content_is_refused_without_git(tmp_path: Path):
    patch = make_patch(tmp_path, {"a": "x\n"}, {"a": "x\0y\n"})
    write(tmp_path / "tree", {"a": "x\n"})
    with pytest.raises(PatchError, match="binary content can be patched with git only"):
        apply_series(tmp_path / "tree", [patch], env=WITHOUT_GIT)
    assert (tmp_path / "tree/a").read_text() == "x\n"


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "  d", "-- ", "@@ -1 +1 @@", "diff --git a/x b/x", "+e", "-f"]), max_size=12)  # fmt: skip  # noqa: E501


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=LINES, new=LINES, end=st.booleans())
def test_what_git_writes_is_read_and_applied(
    old: list[str], new: list[str], end: bool, tmp_path_factory: pytest.TempPathFactory
):
    if old == new:
        return
    tmp_path = tmp_path_factory.mktemp("case")
    before, after = ({"x": "\n".join(lines) + ("\n" if end else "")} for lines in (old, new))
    if before == after:
        return
    patch = make_patch(tmp_path, before, after)
    (file,) = read_patch(patch).files
    write(tmp_path / "tree", before)
    apply_series(tmp_path / "tree", [patch], env=ENV)
    assert (tmp_path / "tree/x").read_text() == after["x"]
    write(tmp_path / "other", before)
    apply_series(tmp_path / "other", [patch], env=WITHOUT_GIT)
    assert (tmp_path / "other/x").read_text() == after["x"]
    added = sum(len(hunk.after) - len(hunk.before) for hunk in file.hunks)
    assert added == line_count(after["x"]) - line_count(before["x"])


def line_count(text: str) -> int:
    return len(text.removesuffix("\n").split("\n")) if text else 0
