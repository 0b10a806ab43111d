"""The .debs here are made byte by byte, so that no tool of Debian's has to be installed."""

import contextlib
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_xz import xz_of
from thorough import examples

from bringup.formats.archive import ArchiveError
from bringup.formats.deb import parse_control, read_control, unpack_deb

CONTROL = b"Package: toolkit\nVersion: 12.4.131-2\nDepends: libc6 (>= 2.34),\n libstdc++6\nDescription: short\n long\n"


def entry(name, *, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size, info.mtime = kind, link, mode, len(data), 1000
    return info, data


def tar_of(*entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def ar_of(*members):
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def make_deb(path: Path, *entries, suffix=".xz", pack=lzma.compress) -> Path:
    control = tar_of(entry("./control", data=CONTROL))
    members = [
        ("debian-binary", b"2.0\n"),
        (f"control.tar{suffix}", pack(control)),
        (f"data.tar{suffix}", pack(tar_of(*entries))),
    ]
    path.write_bytes(ar_of(*members))
    return path


ORDINARY = (
    entry("./", kind=tarfile.DIRTYPE, mode=0o755),
    entry("./usr/bin/", kind=tarfile.DIRTYPE, mode=0o755),
    entry("./usr/bin/nvcc", data=b"#!/bin/sh\n", mode=0o4755),
    entry("./usr/include/cuda.h", data=b"int x;\n"),
    entry("./usr/include/again.h", kind=tarfile.LNKTYPE, link="./usr/include/cuda.h"),
    entry("./usr/lib/libx.so", kind=tarfile.SYMTYPE, link="libx.so.1"),
    entry("./usr/lib/cc", kind=tarfile.SYMTYPE, link="/usr/bin/nvcc"),
)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress), ("", bytes)], ids=["xz", "gz", "plain"]
)
def test_unpacks_every_compression(tmp_path, suffix, pack):
    deb = make_deb(tmp_path / "a.deb", *ORDINARY, suffix=suffix, pack=pack)
    names = unpack_deb(deb, tmp_path / "out")
    assert names == [
        "usr/bin/nvcc",
        "usr/include/cuda.h",
        "usr/include/again.h",
        "usr/lib/libx.so",
        "usr/lib/cc",
    ]
    nvcc = tmp_path / "out/usr/bin/nvcc"
    assert stat.S_IMODE(nvcc.stat().st_mode) == 0o755, "set-uid is dropped, the rest kept"
    assert nvcc.stat().st_mtime == 1000
    assert (tmp_path / "out/usr/include/again.h").read_bytes() == b"int x;\n"
    assert (tmp_path / "out/usr/lib/libx.so").readlink() == Path("libx.so.1")
    assert (tmp_path / "out/usr/lib/cc").resolve() == nvcc.resolve(), "an absolute link stays inside"


def test_keep_decides(tmp_path):
    deb = make_deb(tmp_path / "a.deb", *ORDINARY)
    names = unpack_deb(deb, tmp_path / "out", keep=lambda name: name.startswith("usr/include/"))
    assert names == ["usr/include/cuda.h", "usr/include/again.h"]
    assert not (tmp_path / "out/usr/bin").exists()


def test_two_packages_into_one_root_and_again(tmp_path):
    one = make_deb(tmp_path / "a.deb", *ORDINARY)
    two = make_deb(
        tmp_path / "b.deb",
        entry("./usr/lib/libx.so.1", data=b"x"),
        entry("./usr/lib", kind=tarfile.SYMTYPE, link="elsewhere"),
    )
    for deb in (one, two, one, two):
        unpack_deb(deb, tmp_path / "out")
    assert (tmp_path / "out/usr/lib/libx.so").read_bytes() == b"x"


def test_control(tmp_path):
    fields = read_control(make_deb(tmp_path / "a.deb"))
    assert fields["Package"] == "toolkit"
    assert fields["Version"] == "12.4.131-2"
    assert fields["Depends"] == "libc6 (>= 2.34),\nlibstdc++6"
    assert parse_control("A: 1\n\nB: 2\n") == {"A": "1"}


HOSTILE = {
    "parent": [entry("../evil", data=b"x")],
    "deep parent": [entry("./a/../../evil", data=b"x")],
    "absolute": [entry("/evil", data=b"x")],
    "link out": [entry("./a", kind=tarfile.SYMTYPE, link="../evil")],
    "deep link out": [entry("./d/a", kind=tarfile.SYMTYPE, link="x/../../../evil")],
    "hard link out": [entry("./a", kind=tarfile.LNKTYPE, link="../evil")],
    "hard link to nothing": [entry("./a", kind=tarfile.LNKTYPE, link="b")],
    "hard link to itself": [entry("./a", kind=tarfile.LNKTYPE, link="a")],
    "device": [entry("./a", kind=tarfile.CHRTYPE)],
    "pipe": [entry("./a", kind=tarfile.FIFOTYPE)],
    "file over folder": [entry("./a/b", data=b"x"), entry("./a", data=b"x")],
    "file as folder": [entry("./a", data=b"x"), entry("./a/b", data=b"x")],
    "link loop as folder": [entry("./a", kind=tarfile.SYMTYPE, link="a"), entry("./a/b", data=b"x")],
    "long name": [entry("./" + "a" * 300, data=b"x")],
    "backslash": [entry("./a\\b", data=b"x")],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_members_are_refused(tmp_path, entries):
    deb = make_deb(tmp_path / "bad.deb", *entries)
    with pytest.raises(ArchiveError, match=r"bad\.deb"):
        unpack_deb(deb, tmp_path / "in/out")
    assert not (tmp_path / "in/evil").exists()
    assert not (tmp_path / "evil").exists()


def test_a_link_planted_in_the_destination_is_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "out/usr").symlink_to(tmp_path / "victim")
    deb = make_deb(tmp_path / "a.deb", entry("./usr/x", data=b"x"))
    with pytest.raises(ArchiveError, match="through a link"):
        unpack_deb(deb, tmp_path / "out")
    assert not any((tmp_path / "victim").iterdir())


def test_links_that_combine_stay_inside(tmp_path):
    """`here -> .` makes `here/..` the parent of the root for the kernel, whatever the text looks like."""
    deb = make_deb(
        tmp_path / "a.deb",
        entry("./here", kind=tarfile.SYMTYPE, link="."),
        entry("./up", kind=tarfile.SYMTYPE, link="here/.."),
        entry("./up/evil", data=b"x"),
    )
    unpack_deb(deb, tmp_path / "in/out")
    assert (tmp_path / "in/out/evil").exists()
    assert not (tmp_path / "in/evil").exists()


def test_a_file_replaces_a_link_and_does_not_follow_it(tmp_path):
    (tmp_path / "victim").write_bytes(b"old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "victim")
    unpack_deb(make_deb(tmp_path / "a.deb", entry("./a", data=b"new")), tmp_path / "out")
    assert (tmp_path / "victim").read_bytes() == b"old"
    assert (tmp_path / "out/a").read_bytes() == b"new"


def test_not_a_deb(tmp_path):
    page = tmp_path / "page.deb"
    page.write_text("<html>404</html>")
    with pytest.raises(ArchiveError, match="does not start like") as caught:
        unpack_deb(page, tmp_path / "out")
    assert "error page" in caught.value.hint
    empty = tmp_path / "empty.deb"
    empty.write_bytes(ar_of(("debian-binary", b"2.0\n")))
    with pytest.raises(ArchiveError, match=r"no data\.tar inside"):
        unpack_deb(empty, tmp_path / "out")
    with pytest.raises(ArchiveError, match=r"\.bz2"):
        unpack_deb(make_deb(tmp_path / "b.deb", suffix=".bz2"), tmp_path / "out")


def test_damaged_tar_header_is_not_an_end(tmp_path):
    data = bytearray(tar_of(entry("a", data=b"1" * 700), entry("b", data=b"2" * 700)))
    data[512 + 1024 + 100] ^= 0xFF  # in the mode field of b's header: the checksum is wrong now
    deb = tmp_path / "a.deb"
    deb.write_bytes(ar_of(("debian-binary", b"2.0\n"), ("data.tar", bytes(data))))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack_deb(deb, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_every_truncation_is_named(tmp_path, suffix):
    pack = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes}[suffix]
    whole = make_deb(tmp_path / "a.deb", *ORDINARY, suffix=suffix, pack=pack).read_bytes()
    cut = tmp_path / "cut.deb"
    for size in range(0, len(whole) - 1, 97):
        cut.write_bytes(whole[:size])
        with pytest.raises(ArchiveError):
            unpack_deb(cut, tmp_path / "out")


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_escapes_as_something_else(tmp_path, data):
    whole = bytearray(make_deb(tmp_path / "a.deb", *ORDINARY, suffix="", pack=bytes).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    bad = tmp_path / "bad.deb"
    bad.write_bytes(whole)
    for read in (lambda: unpack_deb(bad, tmp_path / "in/out"), lambda: read_control(bad)):
        with contextlib.suppress(ArchiveError):
            read()
    assert {path.name for path in tmp_path.glob("in/*")} <= {"out"}


@given(noise=st.binary(max_size=300))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_named(tmp_path, noise):
    bad = tmp_path / "noise.deb"
    bad.write_bytes(b"!<arch>\n" + noise)
    with pytest.raises(ArchiveError):
        unpack_deb(bad, tmp_path / "out")


@pytest.mark.skipif(not Path("/usr/bin/dpkg-deb").exists(), reason="no dpkg-deb here to compare with")
def test_reads_what_dpkg_writes(tmp_path):
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@m>\nDescription: d\n"
    )
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/data").write_bytes(os.urandom(5000))
    (root / "usr/lib/link").symlink_to("data")
    deb = tmp_path / "p.deb"
    subprocess.run(["/usr/bin/dpkg-deb", "-Zxz", "--build", root, deb], check=True, capture_output=True)
    assert read_control(deb)["Package"] == "p"
    assert unpack_deb(deb, tmp_path / "out") == ["usr/lib/data", "usr/lib/link"]
    assert (tmp_path / "out/usr/lib/link").read_bytes() == (root / "usr/lib/data").read_bytes()


def test_packages_written_in_blocks(tmp_path):
    """As dpkg-deb writes large ones: what is between the wanted files is skipped."""
    entries = [entry(f"./usr/{name}", data=name.encode() * 40_000) for name in "abcdefgh"]
    data = tar_of(*entries)
    blocks = xz_of(*(data[at : at + 100_000] for at in range(0, len(data), 100_000)))
    deb = tmp_path / "big.deb"
    deb.write_bytes(ar_of(("debian-binary", b"2.0\n"), ("data.tar.xz", blocks)))
    assert unpack_deb(deb, tmp_path / "one", keep=lambda name: name == "usr/e") == ["usr/e"]
    assert (tmp_path / "one/usr/e").read_bytes() == b"e" * 40_000
    assert len(unpack_deb(deb, tmp_path / "all")) == 8
    for name in "abcdefgh":
        assert (tmp_path / "all/usr" / name).read_bytes() == name.encode() * 40_000
    whole = deb.read_bytes()
    deb.write_bytes(whole[:300] + bytes(20) + whole[320:])
    with pytest.raises(ArchiveError):
        unpack_deb(deb, tmp_path / "all")
