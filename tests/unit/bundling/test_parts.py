"""Parts: any cut gives the same stream back, and every part is as its sum says."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.bundling.parts import SUMS, PartWriter, tree_size, write_parts


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chunks=st.lists(st.binary(max_size=300), max_size=8), size=st.integers(1, 200))
def test_any_cut_gives_the_same_bytes_back(tmp_path: Path, chunks: list[bytes], size: int) -> None:
    folder = tmp_path / hashlib.sha256(repr((chunks, size)).encode()).hexdigest()[:16]
    writer = PartWriter(folder, size)
    for chunk in chunks:
        writer.write(chunk)
    writer.close()
    data = [(folder / name).read_bytes() for _, name in writer.sums]
    assert b"".join(data) == b"".join(chunks)
    assert all(0 < len(part) <= size for part in data)
    assert [digest for digest, _ in writer.sums] == [hashlib.sha256(part).hexdigest() for part in data]


def test_files_folders_and_links_come_out_as_they_went_in(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_bytes(b"x" * 5000)
    (tree / "tool").write_text("#!/bin/sh\n")
    (tree / "tool").chmod(0o755)
    (tree / "link").symlink_to("deep/file")
    told: list[int] = []
    names = write_parts(tmp_path / "out", [("there/tree", tree)], 2048, told=told.append)
    assert len(names) > 3
    assert told == [tree_size(tree)]
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "out" / SUMS).read_text().splitlines())
    stream = io.BytesIO(b"".join((tmp_path / "out" / name).read_bytes() for name in names))
    for name in names:
        assert sums[name] == hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
    with tarfile.open(fileobj=stream) as tar:
        members = {member.name: member for member in tar}
    assert members["there/tree/deep/file"].size == 5000
    assert members["there/tree/link"].linkname == "deep/file"
    assert members["there/tree/tool"].mode & 0o777 == 0o755
    assert {member.uid for member in members.values()} == {0}


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_nothing_written_is_no_part(tmp_path: Path, size: int) -> None:
    writer = PartWriter(tmp_path / "none", size)
    writer.close()
    assert writer.sums == []
