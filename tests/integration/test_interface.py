"""What of a wheel others see: headers and symbols, not code."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from bringup.formats.archive import ArchiveError
from bringup.formats.interface import wheel_interface
from bringup.model.recipe import Interface

GCC = shutil.which("gcc")
RULE = Interface(files=("torch/include/*",), libraries=("torch/lib/*.so",), without=("torch/include/log*",))
CODE = "int one(void) { return 1; } int two(void) { return 2; }"


def library(folder: Path, code: str) -> bytes:
    source, made = folder / "lib.c", folder / "lib.so"
    source.write_text(code)
    assert GCC is not None
    subprocess.run([GCC, "-shared", "-nostdlib", "-fPIC", "-o", made, source], check=True)
    return made.read_bytes()


def wheel(folder: Path, code: bytes, **files: str) -> Path:
    content = {
        "torch/include/a/b.h": b"struct A { int x; };",
        "torch/include/log.h": b"old",
        "torch/kernels.py": b"1",
        "torch/lib/libtorch.so": code,
        **{name.replace("__", "/").replace("_h", ".h"): text.encode() for name, text in files.items()},
    }
    rows = []
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}")
    content["torch-1.dist-info/RECORD"] = "\n".join([*rows, "torch-1.dist-info/RECORD,,"]).encode()
    path = folder / "torch-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


@pytest.mark.skipif(GCC is None, reason="there is no gcc")
def test_code_does_not_count_symbols_and_headers_do(tmp_path: Path):
    before = wheel_interface([wheel(tmp_path, library(tmp_path, CODE))], RULE)
    same = library(tmp_path, CODE.replace("return 2", "return one() + 40"))
    assert wheel_interface([wheel(tmp_path, same)], RULE) == before
    more = library(tmp_path, CODE + " int three(void) { return 3; }")
    assert wheel_interface([wheel(tmp_path, more)], RULE) != before
    assert wheel_interface([wheel(tmp_path, same, torch__include__a__b_h="struct A { long x; };")], RULE) != before
    assert wheel_interface([wheel(tmp_path, same, torch__include__new_h="")], RULE) != before
    assert wheel_interface([wheel(tmp_path, same, torch__include__log_h="new")], RULE) == before
    assert wheel_interface([wheel(tmp_path, same, torch__more="new")], RULE) == before


def test_a_rule_that_fits_nothing_is_an_error(tmp_path: Path):
    rule = Interface(files=("torch/include/*", "torch/share/*"))
    with pytest.raises(ArchiveError, match=r"no file is torch/share/\*"):
        wheel_interface([wheel(tmp_path, b"")], rule)
