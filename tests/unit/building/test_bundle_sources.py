"""The toolkit of a bundle of sources: libraries only to run are gone, and it still counts as whole."""

from __future__ import annotations

import json
from pathlib import Path

from bringup.bundling.sources import toolkit_to_compile
from bringup.toolchain.assemble import MANIFEST, whole


def make_toolkit(home: Path) -> None:
    (home / "lib64/stubs").mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "lib").symlink_to("lib64")
    (home / "bin/nvcc").write_text("compiler")
    (home / "lib64/libcublas.so.12.4").write_text("a large library")
    (home / "lib64/libcublas.so.12").symlink_to("libcublas.so.12.4")
    (home / "lib64/libcublas.so").symlink_to("libcublas.so.12")
    (home / "lib64/libcudart.so.12").write_text("has no stub")
    (home / "lib64/stubs/libcublas.so").write_text("stub")
    (home / "lib64/stubs/libcuda.so").write_text("stub of the driver")
    paths = [path for path in home.rglob("*") if path.is_symlink() or path.is_file()]
    files = {path.relative_to(home).as_posix(): path.lstat().st_size for path in paths}
    (home / MANIFEST).write_text(json.dumps({"schema": 1, "identity": "abc", "files": files}))


def test_libraries_with_a_stub_are_replaced_by_it(tmp_path: Path):
    home = tmp_path / "cuda"
    make_toolkit(home)
    made = toolkit_to_compile(home, tmp_path / "slim")
    assert (made / "lib64/libcublas.so").read_text() == "stub"
    assert not (made / "lib64/libcublas.so.12").exists()
    assert (made / "lib64/libcudart.so.12").read_text() == "has no stub"
    assert not (made / "lib64/libcuda.so").is_symlink()  # was not there before
    assert whole(made, "abc")


def test_the_toolkit_itself_stays_as_it_is(tmp_path: Path):
    home = tmp_path / "cuda"
    make_toolkit(home)
    toolkit_to_compile(home, tmp_path / "slim")
    assert (home / "lib64/libcublas.so").read_text() == "a large library"
    assert whole(home, "abc")
