import contextlib
import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.errors import ConfigError, InstallError, StorageError
from bringup.formats.wheel import (
    ArchiveError,
    check_installed,
    check_wheel,
    make_wheel,
    pack_wheel,
    parse_record,
    record_of_installed,
    unpack_wheel,
)

TAG = "cp39-abi3-linux_x86_64"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "pkg/lib").mkdir(parents=True)
    (root / "pkg/__init__.py").write_text("__version__ = '1'\n")
    (root / "pkg/lib/kernel.so").write_bytes(b"\x7fELF" + bytes(range(256)) * 40)
    (root / "pkg/lib/kernel.so").chmod(0o775)
    (root / "pkg/odd, name.txt").write_text("a comma needs quoting in RECORD\n")
    (root / "pkg/__pycache__").mkdir()
    (root / "pkg/__pycache__/x.pyc").write_bytes(b"never the same")
    return root


@pytest.fixture
def wheel(tree: Path, tmp_path: Path) -> Path:
    return make_wheel(tree, tmp_path / "dist", name="my.pkg", version="1.0+cu130", tag=TAG, requires=["torch==2.11"])


def rewrite(wheel: Path, change, target: Path | None = None) -> Path:
    """Copy a wheel, with `change(name, data) -> data | None` applied to each member."""
    target = target or wheel.parent / "changed" / wheel.name
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = change(info.filename, old.read(info))
            if data is not None:
                new.writestr(info, data)
    return target


def test_made_wheel_is_right(wheel):
    assert wheel.name == f"my_pkg-1.0+cu130-{TAG}.whl"
    assert check_wheel(wheel) == []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert names[-1] == "my_pkg-1.0+cu130.dist-info/RECORD"
        assert "pkg/__pycache__/x.pyc" not in names
        metadata = archive.read("my_pkg-1.0+cu130.dist-info/METADATA").decode()
        assert "Requires-Dist: torch==2.11" in metadata
        assert archive.read("my_pkg-1.0+cu130.dist-info/WHEEL").decode().splitlines()[2:] == [
            "Root-Is-Purelib: false",
            f"Tag: {TAG}",
        ]


def test_same_tree_same_bytes(tree, wheel, tmp_path):
    os.utime(tree / "pkg/__init__.py", (5, 5))
    (tree / "pkg/__init__.py").chmod(0o600)
    args = {"name": "my.pkg", "version": "1.0+cu130", "tag": TAG, "requires": ["torch==2.11"]}
    assert make_wheel(tree, tmp_path / "again", **args).read_bytes() == wheel.read_bytes()
    other = make_wheel(tree, tmp_path / "later", epoch=1_700_000_000, **args)
    assert other.read_bytes() != wheel.read_bytes()


def test_unpack_and_pack_give_the_same_wheel(wheel, tmp_path):
    names = unpack_wheel(wheel, tmp_path / "un")
    assert "pkg/odd, name.txt" in names
    assert stat.S_IMODE((tmp_path / "un/pkg/lib/kernel.so").stat().st_mode) == 0o755
    assert pack_wheel(tmp_path / "un", tmp_path / "re").read_bytes() == wheel.read_bytes()


def test_local_label(wheel, tmp_path):
    unpack_wheel(wheel, tmp_path / "un")
    (tmp_path / "un/my_pkg-1.0+cu130.data/scripts").mkdir(parents=True)
    (tmp_path / "un/my_pkg-1.0+cu130.data/scripts/run").write_text("#!python\n")
    (tmp_path / "un/my_pkg-1.0+cu130.dist-info/RECORD.jws").write_text("signature of the old one")
    before = sorted(tmp_path.glob("un/**/*"))
    ours = pack_wheel(tmp_path / "un", tmp_path / "re", local="bringup1")
    assert ours.name == f"my_pkg-1.0+cu130.bringup1-{TAG}.whl"
    assert check_wheel(ours) == []
    with zipfile.ZipFile(ours) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert tops == {"pkg", "my_pkg-1.0+cu130.bringup1.dist-info", "my_pkg-1.0+cu130.bringup1.data"}
        assert "my_pkg-1.0+cu130.bringup1.dist-info/RECORD.jws" not in archive.namelist()
        assert (
            "\nVersion: 1.0+cu130.bringup1\n"
            in archive.read(f"{min(tops)}.dist-info/METADATA".replace(".data.dist-info", ".dist-info")).decode()
        )
    assert sorted(tmp_path.glob("un/**/*")) == before, "the tree is not touched"


def test_several_tags_and_a_build_number(tree, tmp_path):
    wheel = make_wheel(tree, tmp_path / "dist", name="p", version="1", tag="py2.py3-none-any")
    assert wheel.name == "p-1-py2.py3-none-any.whl"
    assert check_wheel(wheel) == []
    unpack_wheel(wheel, tmp_path / "un")
    info = tmp_path / "un/p-1.dist-info/WHEEL"
    info.write_text(info.read_text() + "Build: 7\n")
    assert pack_wheel(tmp_path / "un", tmp_path / "re").name == "p-1-7-py2.py3-none-any.whl"
    info.write_text(info.read_text() + "Tag: cp311-cp311-linux_x86_64\n")
    with pytest.raises(ArchiveError, match="do not fit"):
        pack_wheel(tmp_path / "un", tmp_path / "re")


def test_links(tree, tmp_path):
    (tree / "pkg/inside").symlink_to("__init__.py")
    wheel = make_wheel(tree, tmp_path / "dist", name="p", version="1", tag=TAG)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("pkg/inside") == b"__version__ = '1'\n"
    (tree / "pkg/outside").symlink_to("/etc/hostname")
    with pytest.raises(ArchiveError, match="outside is a link"):
        make_wheel(tree, tmp_path / "dist", name="p", version="1", tag=TAG)
    (tree / "pkg/outside").unlink()
    (tree / "folder").symlink_to("pkg")
    with pytest.raises(ArchiveError, match="folder is a link"):
        make_wheel(tree, tmp_path / "dist", name="p", version="1", tag=TAG)


@pytest.mark.parametrize(
    "wrong",
    [{"version": "one"}, {"name": "a b"}, {"tag": "py3"}, {"requires": ["torch =="]}, {"name": "a\nInjected: 1"}],
    ids=str,
)
def test_wrong_arguments(tree, tmp_path, wrong):
    with pytest.raises(ConfigError):
        make_wheel(tree, tmp_path, **({"name": "p", "version": "1", "tag": TAG} | wrong))


def test_wrong_trees(tree, wheel, tmp_path):
    with pytest.raises(ArchiveError, match=r"no \.dist-info"):
        pack_wheel(tree, tmp_path / "out")
    with pytest.raises(ArchiveError, match="no such folder"):
        pack_wheel(tmp_path / "nothing", tmp_path / "out")
    unpack_wheel(wheel, tmp_path / "un")
    with pytest.raises(ArchiveError, match="already"):
        make_wheel(tmp_path / "un", tmp_path / "out", name="p", version="1", tag=TAG)
    (tmp_path / "un/my_pkg-1.0+cu130.dist-info/METADATA").unlink()
    with pytest.raises(ArchiveError, match="METADATA is missing"):
        pack_wheel(tmp_path / "un", tmp_path / "out")
    assert not list(tmp_path.glob("out/*")), "no half wheel stays behind"


def test_output_that_cannot_be_written(tree, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        make_wheel(tree, tmp_path / "file", name="p", version="1", tag=TAG)


def reasons(wheel):
    return {problem.path: problem.why for problem in check_wheel(wheel)}


def test_check_names_changed_missing_and_surplus_files(wheel):
    changed = rewrite(wheel, lambda name, data: b"x" if name.endswith("kernel.so") else data)
    assert reasons(changed)["pkg/lib/kernel.so"] == "has 1 bytes where RECORD says 10244"
    same_size = rewrite(wheel, lambda name, data: data[::-1] if name.endswith("kernel.so") else data)
    assert "has sha256" in reasons(same_size)["pkg/lib/kernel.so"]
    missing = rewrite(wheel, lambda name, data: None if name.endswith("kernel.so") else data)
    assert reasons(missing) == {"pkg/lib/kernel.so": "is in RECORD, but not in the wheel"}
    with zipfile.ZipFile(changed, "w") as archive, zipfile.ZipFile(wheel) as old:
        for info in old.infolist():
            archive.writestr(info, old.read(info))
        archive.writestr("pkg/extra.py", "")
    assert reasons(changed) == {"pkg/extra.py": "is not in RECORD"}
    weak = rewrite(
        wheel,
        lambda name, data: (
            b"pkg/__init__.py,md5=abc,\n" + data.partition(b"\n")[2] if name.endswith("RECORD") else data
        ),
    )
    assert reasons(weak)["pkg/__init__.py"] == "RECORD gives md5 and not sha256 or better"


def test_check_compares_file_name_with_content(wheel):
    other = wheel.parent / "other-2.0-cp311-cp311-linux_x86_64.whl"
    other.write_bytes(wheel.read_bytes())
    found = [str(problem) for problem in check_wheel(other)]
    assert len(found) == 5
    assert "Name is 'my.pkg' where the file name says 'other'" in found[0]
    assert "Version is '1.0+cu130' where the file name says '2.0'" in found[2]
    assert f"tags are {TAG} where the file name says cp311-cp311-linux_x86_64" in found[4]


@pytest.mark.parametrize("gone", ["METADATA", "WHEEL", "RECORD"])
def test_check_needs_the_three_files(wheel, gone):
    with pytest.raises(ArchiveError, match=f"{gone} is missing"):
        check_wheel(rewrite(wheel, lambda name, data: None if name.endswith(f"/{gone}") else data))


def test_malformed_record(wheel):
    bad = rewrite(wheel, lambda name, data: b"a,b,c\n" if name.endswith("RECORD") else data)
    with pytest.raises(ArchiveError, match="no path, hash and size"):
        check_wheel(bad)
    bad = rewrite(wheel, lambda name, data: b"\xff\xfe" if name.endswith("RECORD") else data)
    with pytest.raises(ArchiveError, match="not UTF-8"):
        check_wheel(bad)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "a" * 300])
def test_zip_slip(tmp_path, name):
    bad = tmp_path / "bad-1-py3-none-any.whl"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ArchiveError, match=r"bad-1-py3"):
        unpack_wheel(bad, tmp_path / "in/out")
    assert not list(tmp_path.glob("**/evil*"))


def hostile(path: Path, infos) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in infos:
            archive.writestr(info, "x")
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates_links_and_collisions(tmp_path):
    bad = tmp_path / "bad-1-py3-none-any.whl"
    for names in (["a", "a"], ["a/b", "a//b"], ["a", "./a"]):
        with pytest.raises(ArchiveError, match="there twice"):
            unpack_wheel(hostile(bad, names), tmp_path / "out")
    link = zipfile.ZipInfo("a")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ArchiveError, match="a link or a device"):
        unpack_wheel(hostile(bad, [link]), tmp_path / "out")
    with pytest.raises(ArchiveError, match="used as a folder"):
        unpack_wheel(hostile(bad, ["f", "f/g"]), tmp_path / "out")
    with pytest.raises(ArchiveError, match="both a folder and a file"):
        unpack_wheel(hostile(bad, ["d/g", "d"]), tmp_path / "out")


def patched_directory(path: Path, field: int, value: bytes) -> Path:
    """Change a field of the first central directory entry."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + field : at + field + len(value)] = value
    path.write_bytes(data)
    return path


def test_bombs_and_odd_members(tmp_path):
    bad = tmp_path / "bad-1-py3-none-any.whl"
    with pytest.raises(ArchiveError, match="unpacks to 2147483647 bytes"):
        unpack_wheel(patched_directory(hostile(bad, ["a"]), 24, struct.pack("<I", 2**31 - 1)), tmp_path / "out")
    with pytest.raises(ArchiveError, match="encrypted"):
        unpack_wheel(patched_directory(hostile(bad, ["a"]), 8, b"\x01\x00"), tmp_path / "out")
    with pytest.raises(ArchiveError, match="compressed by method 14"):
        unpack_wheel(patched_directory(hostile(bad, ["a"]), 10, b"\x0e\x00"), tmp_path / "out")
    two = hostile(bad, ["a", "b"]).read_bytes()
    second = two.index(b"PK\3\4", 4)
    overlap = two.replace(struct.pack("<I", second) + b"b", struct.pack("<I", 5) + b"b")
    assert overlap != two
    bad.write_bytes(overlap)
    with pytest.raises(ArchiveError, match="overlaps"):
        unpack_wheel(bad, tmp_path / "out")


def test_missing_wheel(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        unpack_wheel(tmp_path / "none-1-py3-none-any.whl", tmp_path / "out")


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_always_named(wheel, tmp_path, data):
    whole = bytearray(wheel.read_bytes())
    directory = whole.index(b"PK\1\2")
    for _ in range(data.draw(st.integers(1, 5))):
        low = data.draw(st.sampled_from([0, directory]))
        whole[data.draw(st.integers(low, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.sampled_from([len(whole), len(whole) - 7, len(whole) // 2]))]
    bad = tmp_path / wheel.name
    bad.write_bytes(whole)
    for read in (lambda: unpack_wheel(bad, tmp_path / "in/out"), lambda: check_wheel(bad)):
        with contextlib.suppress(ArchiveError):
            read()
    assert {path.name for path in tmp_path.glob("in/*")} <= {"out"}


@given(st.text(max_size=60))
def test_record_parser_takes_any_text(text):
    with contextlib.suppress(ValueError):
        assert all(entry.path for entry in parse_record(text))


def install(wheel: Path, site: Path) -> None:
    site.mkdir(parents=True, exist_ok=True)
    unpack_wheel(wheel, site)


def test_installed_files_equal_the_wheels(tree, wheel, tmp_path):
    site = tmp_path / "env/lib/python3.11/site-packages"
    assert "not installed" in str(check_installed(site, wheel)[0])
    install(wheel, site)
    (site / "my_pkg-1.0+cu130.dist-info/RECORD").write_text("installers rewrite this one\n")
    assert check_installed(site, wheel) == []
    (site / "pkg/lib/kernel.so").write_bytes(b"another build")
    (site / "pkg/__init__.py").unlink()
    found = {problem.path: problem.why for problem in check_installed(site, wheel)}
    assert found["pkg/__init__.py"] == "is missing"
    assert found["pkg/lib/kernel.so"] == "has 13 bytes where our wheel has 10244"
    other = make_wheel(tree, tmp_path / "dist2", name="my.pkg", version="1.0", tag=TAG)
    assert "version 1.0+cu130 is installed where 1.0 was built" in str(check_installed(site, other)[0])


def test_data_folders_are_found_where_installers_put_them(wheel, tmp_path):
    unpack_wheel(wheel, tmp_path / "un")
    data = tmp_path / "un/my_pkg-1.0+cu130.data"
    for scheme in ("purelib", "data/share", "scripts", "headers"):
        (data / scheme).mkdir(parents=True)
        (data / scheme / f"f-{scheme[:4]}").write_text(scheme)
    ours = pack_wheel(tmp_path / "un", tmp_path / "re")
    site = tmp_path / "env/lib/python3.11/site-packages"
    install(wheel, site)
    missing = {Path(problem.path).name for problem in check_installed(site, ours)}
    assert missing == {"f-pure", "f-data"}
    (site / "f-pure").write_text("purelib")
    (tmp_path / "env/share").mkdir()
    (tmp_path / "env/share/f-data").write_text("data/share")
    assert check_installed(site, ours) == []


def test_record_of_installed(wheel, tmp_path):
    install(wheel, tmp_path / "site")
    record = record_of_installed(tmp_path / "site", "My_Pkg")
    assert record["pkg/odd, name.txt"].size == 32
    with pytest.raises(InstallError, match="other is not installed"):
        record_of_installed(tmp_path / "site", "other")


def test_a_real_installer_agrees(wheel, tmp_path):
    """An installer of others takes the wheel, with its hash checks."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert check_installed(tmp_path / "site", wheel) == []
    assert io.StringIO((tmp_path / "site/pkg/__init__.py").read_text()).readline() == "__version__ = '1'\n"
