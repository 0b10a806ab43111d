"""Reading patches, and applying them with a real git to real trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bringup.errors import PatchError
from bringup.formats.patch import Change, parse_patch
from bringup.formats.patch_names import header_names, safe_name, unquote_name
from bringup.system.environ import base_environment

HEAD = """From 1111111111111111111111111111111111111111 Mon Sep 17 00:00:00 2001
From: A Developer <dev@example.org>
Date: Thu, 28 May 2026 12:00:00 +0000
Subject: [PATCH 2/3] Lower the floor of
 the wheel

Why.

Upstream-Status: Submitted [https://example.org/pull/1]
---
 a.py | 2 +-

"""
DIFF = """diff --git a/a.py b/a.py
index 1111111..2222222 100644
--- a/a.py
+++ b/a.py
@@ -2,3 +2,3 @@ def f():
 two
-three
+THREE
 four
"""
TAIL = "-- \n2.39.5\n\n"
TEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ENV = base_environment()
WITHOUT_GIT = ENV | {"PATH": "/nonexistent"}


def patch_text(diff: str = DIFF, head: str = HEAD) -> bytes:
    return (head + diff + TAIL).encode()


def refused(diff: str, head: str = HEAD) -> str:
    with pytest.raises(PatchError) as caught:
        parse_patch(patch_text(diff, head), name="x.patch")
    return caught.value.message


def test_reads_what_format_patch_writes():
    patch = parse_patch(patch_text(), name="patches/p/0002-x.patch")
    assert (patch.name, patch.title) == ("0002-x.patch", "Lower the floor of the wheel")
    assert patch.author == "A Developer <dev@example.org>"
    assert (patch.upstream_status, patch.upstream_note) == ("Submitted", "https://example.org/pull/1")
    (file,) = patch.files
    assert (file.change, file.old, file.new) == (Change.MODIFY, "a.py", "a.py")
    (hunk,) = file.hunks
    assert (hunk.old_start, hunk.new_start, hunk.section) == (2, 2, "def f():")
    assert hunk.before == ("two", "three", "four")
    assert hunk.after == ("two", "THREE", "four")
    assert patch_text().decode().split("\n")[hunk.line_no - 1].startswith("@@ -2,3")


def test_encoded_subject():
    head = HEAD.replace("[PATCH 2/3] Lower the floor of\n the wheel", "=?UTF-8?q?=5BPATCH=5D=20Gr=C3=B6=C3=9Fe?=")
    assert parse_patch(patch_text(head=head), name="x").title == "Größe"


def test_upstream_status_is_required_and_known():
    status = "Upstream-Status: Submitted [https://example.org/pull/1]\n"
    assert refused(DIFF, HEAD.replace(status, "")) == "x.patch: no Upstream-Status line"
    assert "Upstream-Status is 'Maybe'" in refused(DIFF, HEAD.replace("Submitted", "Maybe"))
    # A line of the diff is not the line.
    diff = DIFF.replace("+THREE", "+Upstream-Status: Pending")
    assert "no Upstream-Status" in refused(diff, HEAD.replace(status, ""))


def test_title_and_diff_are_required():
    assert "no Subject" in refused(DIFF, "Upstream-Status: Pending\n\n")
    assert "changes nothing" in refused("")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("a/a.py b/a.py", "a/../a.py b/../a.py", "'../a.py' is not one inside the tree"),
        ("a/a.py b/a.py", "a/x/../../a.py b/x/../../a.py", "is not one inside the tree"),
        ("a/a.py b/a.py", "a//etc/passwd b//etc/passwd", "'/etc/passwd' is not one inside the tree"),
        ("a/a.py b/a.py", "a/.git/hooks/x b/.git/hooks/x", "is not one inside the tree"),
        ("a/a.py b/a.py", "a/.GIT/x b/.GIT/x", "is not one inside the tree"),
        ("a/a.py b/a.py", '"a/\\056\\056/x" "b/\\056\\056/x"', "'../x' is not one inside the tree"),
        ("a/a.py b/a.py", "a/a\\b b/a\\b", "a character that no source file has"),
        ("a/a.py b/a.py", "a.py a.py", "--no-prefix"),
        ("a/a.py b/a.py", "a/a.py b/b.py", "nothing is renamed"),
        ("--- a/a.py", "--- a/../../etc/passwd", "does not fit `diff --git`"),
        ("+++ b/a.py", "+++ b/other.py", "does not fit `diff --git`"),
        ("+++ b/a.py", "+++ /dev/null", "does not fit `diff --git`"),
        ("--- a/a.py\n+++ b/a.py\n", "", "without the `---`"),
        ("@@ -2,3 +2,3 @@", "@@ -2,4 +2,4 @@", "too early"),
        ("@@ -2,3 +2,3 @@", "@@ -2,2 +2,2 @@", "x.patch:21: this line belongs to no file"),
        ("@@ -2,3 +2,3 @@", "@@ nonsense @@", "x.patch:17: not a hunk header"),
        ("@@ -2,3 +2,3 @@", "@@ -99999999999999999999,3 +2,3 @@", "not a hunk header"),
        ("-three\n+THREE\n", " three\n", "changes nothing"),
    ],
)
def test_unsound_patches_are_refused(old: str, new: str, why: str):
    assert old in DIFF
    assert why in refused(DIFF.replace(old, new, 1))


def test_rename_may_not_lead_out():
    diff = "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to ../y\n"
    assert "'../y' is not one inside" in refused(diff)
    assert "`rename to` is missing" in refused(diff.replace("rename to ../y\n", ""))
    (file,) = parse_patch(patch_text(diff.replace("../y", "y")), name="x").files
    assert (file.change, file.old, file.new, file.hunks) == (Change.RENAME, "x", "y", ())


@given(st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1))
def test_safe_names_stay_inside(name: str):
    try:
        safe_name(name)
    except ValueError:
        return
    assert Path("/tree", name).resolve().is_relative_to("/tree")
    assert os.path.normpath(name) == name


@given(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1).map(lambda name: name.replace('"', "q")))
@example("x b/x b")
@example("x b/y")
def test_names_with_blanks_are_found(name: str):
    name = name.replace("/", " ").strip() or "x"
    assert header_names(f"a/{name} b/{name}") == name


@given(st.binary(min_size=1))
def test_unquote_is_the_inverse_of_gits_quoting(raw: bytes):
    quoted = '"' + "".join(f"\\{byte:03o}" for byte in raw) + '"'
    assert unquote_name(quoted).encode("utf-8", "surrogateescape") == raw


@given(st.binary(max_size=400) | st.text().map(str.encode))
def test_any_input_gives_a_patch_or_an_error(noise: bytes):
    for content in (noise, HEAD.encode() + noise, patch_text()[: len(noise)] + noise):
        try:
            patch = parse_patch(content, name="x.patch")
        except PatchError:
            continue
        assert patch.title
        assert patch.paths


@given(st.data())
def test_damaged_patches_give_a_patch_or_an_error(data: st.DataObject):
    content = bytearray(patch_text())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        patch = parse_patch(bytes(content), name="x.patch")
    except PatchError:
        return
    assert all(safe_name(path) for path in patch.paths)
