"""Lists of what compilers read."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.formats.dependencies import listed_paths, ninja_paths


def test_rules_of_several_compilers_in_one_file():
    text = "a.o: /usr/include/x.h \\\n  /usr/include/y.h\nb.o: /usr/include/x.h /with\\ space.h\ntorn /rest\n"
    assert listed_paths(text) == {"/usr/include/x.h", "/usr/include/y.h", "/with space.h"}


def path_record(name: str) -> bytes:
    raw = name.encode()
    padded = raw + b"\0" * (-len(raw) % 4) + b"\1\2\3\4"
    return struct.pack("<I", len(padded)) + padded


WHOLE = b"# ninjadeps\n" + struct.pack("<I", 4) + path_record("/usr/include/x.h") + path_record("a.o")
DEPS = struct.pack("<I", 0x80000000 | 16) + b"\0" * 16


def test_paths_of_ninja():
    assert ninja_paths(WHOLE + DEPS + path_record("/b.h")) == {"/usr/include/x.h", "a.o", "/b.h"}
    assert ninja_paths(WHOLE + path_record("/cut.h")[:-3]) == {"/usr/include/x.h", "a.o"}
    assert ninja_paths(b"something else") == set()


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_a_crash(data: bytes):
    ninja_paths(WHOLE + data)


@pytest.mark.skipif(not (shutil.which("ninja") and shutil.which("gcc")), reason="there is no ninja or gcc")
def test_what_ninja_really_writes(tmp_path: Path):
    (tmp_path / "a.c").write_text("#include <stddef.h>\n")
    rule = "rule cc\n command = gcc -MD -MF $out.d -c $in -o $out\n depfile = $out.d\n deps = gcc\nbuild a.o: cc a.c\n"
    (tmp_path / "build.ninja").write_text(rule)
    subprocess.run(["ninja", "-C", tmp_path], check=True, capture_output=True)
    found = ninja_paths((tmp_path / ".ninja_deps").read_bytes())
    assert "a.o" in found
    assert any(name.endswith("/stddef.h") for name in found)
