"""Mirrors: the address from apt's own files, and packages from a mirror that lies in a folder."""

import lzma
from pathlib import Path

import pytest
from served import sha256

from bringup.errors import FetchError, TargetError, UsageError
from bringup.model.source import DebianSource, DebSource
from bringup.model.toolchain import PinnedDeb
from bringup.system.apt import fetch_deb, fetch_debian_source, fetch_debs, pool_folder
from bringup.system.apt_sources import DebianMirror, find_mirror, read_entries
from bringup.system.debian_index import parse_index
from bringup.system.downloads import DownloadCache

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n'


def machine(root: Path, release: str, files: dict[str, str]) -> Path:
    for name, text in {"etc/os-release": release, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_deb822_sources_and_third_parties_are_told_apart(tmp_path):
    text = """\
# a comment
Types: deb
URIs: https://vendor.example/apt
Suites: nodistro
Components: main

Types: deb deb-src
# another
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
    root = machine(tmp_path, DEBIAN, {"etc/apt/sources.list.d/debian.sources": text})
    found = find_mirror(root=root)
    assert (found.url, found.origin.endswith("debian.sources")) == ("http://mirror.example/debian", True)


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("deb http://m.example/debian bookworm main", "http://m.example/debian"),
        ("deb [arch=amd64 signed-by=/k.gpg] https://m.example/debian stable main # x", "https://m.example/debian"),
        ("deb copy:/srv/debian bookworm main", "file:/srv/debian"),
        ("deb mirror+file:/etc/apt/mirrors/debian.list bookworm main", "https://listed.example/debian"),
    ],
)
def test_one_line_sources(tmp_path, line, url):
    before = "deb-src http://no.example/debian bookworm main\ndeb http://sec.example/sec bookworm-security main\n"
    files = {
        "etc/apt/sources.list": f"{before}# deb http://off.example/debian bookworm main\n{line}\n",
        "etc/apt/mirrors/debian.list": "https://listed.example/debian\tpriority:1\n",
    }
    assert find_mirror(root=machine(tmp_path, DEBIAN, files)).url == url


def test_disabled_sources_do_not_count(tmp_path):
    text = "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n"
    root = machine(tmp_path, DEBIAN, {"etc/apt/sources.list.d/x.sources": text})
    assert list(read_entries(root)) == []
    with pytest.raises(TargetError, match="no Debian mirror for bookworm"):
        find_mirror(root=root)


def test_ubuntu_needs_the_flag_and_says_so(tmp_path):
    root = machine(tmp_path, UBUNTU, {"etc/apt/sources.list": "deb http://u.example/ubuntu noble main\n"})
    with pytest.raises(TargetError, match=r"Ubuntu 24\.04\.3 LTS does not use one") as caught:
        find_mirror(root=root)
    assert "--debian-mirror URL" in caught.value.hint
    assert find_mirror("http://d.example/debian/", root=root).url == "http://d.example/debian"


def test_flag_that_is_no_address(tmp_path):
    with pytest.raises(UsageError, match=r"--debian-mirror debian\.example"):
        find_mirror("debian.example", root=tmp_path)


def pins(known, *, with_path=True):
    return [
        PinnedDeb(name=name, version="1.0-1", sha256=digest, size=size, path=path if with_path else "")
        for name, (digest, size, path) in known.items()
    ]


@pytest.mark.parametrize("with_path", [True, False], ids=["pinned path", "index"])
def test_fetches_by_path_or_through_the_index(tmp_path, mirror_folder, with_path):
    root, known = mirror_folder({"gcc": {"usr/bin/gcc": b"1"}, "cpp": {"usr/bin/cpp": b"2"}})
    if with_path:
        (root / "dists/trixie/main/binary-amd64/Packages.xz").unlink()
    cache = DownloadCache(tmp_path / "cache")
    mirror = DebianMirror(url=root.as_uri(), origin="test")
    files = fetch_debs(pins(known, with_path=with_path), "trixie", cache, mirror=mirror)
    assert [sha256(file.read_bytes()) for file in files] == [digest for digest, _, _ in known.values()]
    assert [file.name for file in files] == ["gcc_1.0-1_amd64.deb", "cpp_1.0-1_amd64.deb"]
    assert fetch_debs(pins(known), "trixie", cache, offline=True) == files


def test_file_that_moved_is_found_through_the_index(tmp_path, mirror_folder):
    root, known = mirror_folder({"gcc": {"usr/bin/gcc": b"1"}})
    digest, size, _ = known["gcc"]
    pin = PinnedDeb(name="gcc", version="1.0-1", sha256=digest, size=size, path="pool/main/old/gcc.deb")
    mirror = DebianMirror(url=root.as_uri(), origin="test")
    assert fetch_debs([pin], "trixie", DownloadCache(tmp_path / "cache"), mirror=mirror)[0].stat().st_size == size


def test_version_that_is_gone_names_package_version_and_what_there_is(tmp_path, mirror_folder):
    root, _ = mirror_folder({"gcc": {"usr/bin/gcc": b"1"}}, version="2.0-7")
    pin = PinnedDeb(name="gcc", version="1.0-1", sha256="00" * 32, size=1, path="pool/main/g/gcc/gcc_1.0-1_amd64.deb")
    mirror = DebianMirror(url=root.as_uri(), origin="test")
    with pytest.raises(FetchError) as caught:
        fetch_debs([pin], "trixie", DownloadCache(tmp_path / "cache"), mirror=mirror)
    for part in ("gcc 1.0-1", "2.0-7", "trixie", root.as_uri()):
        assert part in caught.value.message
    assert "--debian-mirror" in caught.value.hint


def test_recipe_sources_from_pool_and_index(tmp_path, mirror_folder):
    root, known = mirror_folder({"sleef": {"usr/lib/libsleef.so": b"x"}})
    mirror, cache = DebianMirror(url=root.as_uri(), origin="test"), DownloadCache(tmp_path / "cache")
    deb = DebSource(package="sleef", version="1.0-1", suite="trixie", sha256=known["sleef"][0])
    assert fetch_deb(deb, cache, mirror=mirror).name == "sleef_1.0-1_amd64.deb"
    text = b"upstream archive"
    (root / "pool/main/p/pytorch").mkdir(parents=True)
    (root / "pool/main/p/pytorch/pytorch_2.6.0.orig.tar.xz").write_bytes(text)
    source = DebianSource(
        package="pytorch",
        version="2.6.0-1",
        suite="trixie",
        file="pytorch_2.6.0.orig.tar.xz",
        sha256=sha256(text),
    )
    assert fetch_debian_source(source, cache, mirror=mirror).read_bytes() == text
    assert fetch_debian_source(source, cache, offline=True).read_bytes() == text


def test_source_that_changed_names_file_hashes_and_the_mirror_that_was_tried(tmp_path):
    root, text = tmp_path / "mirror", b"the archive"
    (root / "pool/main/x/x").mkdir(parents=True)
    (root / "pool/main/x/x/x.tar.xz").write_bytes(b"another one")
    source = DebianSource(
        package="x", version="1", suite="trixie", file="x.tar.xz", sha256=sha256(text), size=len(text)
    )
    mirror = DebianMirror(url=root.as_uri(), origin="--debian-mirror")
    with pytest.raises(FetchError, match=r"x\.tar\.xz has the wrong hash") as caught:
        fetch_debian_source(source, DownloadCache(tmp_path / "cache"), mirror=mirror)
    assert sha256(text) in caught.value.message
    assert sha256(b"another one") in caught.value.message
    assert f"the mirror was {root.as_uri()} (--debian-mirror); name another one with --debian-mirror URL" in (
        caught.value.hint
    )
    assert not list((tmp_path / "cache").rglob("x.tar.xz*"))


def test_package_that_changed_names_the_mirror_that_was_tried(tmp_path, mirror_folder):
    root, known = mirror_folder({"gcc": {"usr/bin/gcc": b"1"}})
    (pin,) = pins(known, with_path=True)
    (root / pin.path).write_bytes(b"x" * pin.size)
    mirror = DebianMirror(url=root.as_uri(), origin="--debian-mirror")
    with pytest.raises(FetchError, match="has the wrong hash") as caught:
        fetch_debs([pin], "trixie", DownloadCache(tmp_path / "cache"), mirror=mirror)
    assert "name another one with --debian-mirror URL" in caught.value.hint


def test_source_that_moved_is_found_through_the_index(tmp_path):
    root, text = tmp_path / "mirror", b"archive"
    (root / "elsewhere").mkdir(parents=True)
    (root / "elsewhere/x.tar.xz").write_bytes(text)
    (root / "dists/trixie/main/source").mkdir(parents=True)
    paragraph = (
        f"Package: x\nVersion: 1\nDirectory: elsewhere\nChecksums-Sha256:\n {sha256(text)} {len(text)} x.tar.xz\n"
    )
    (root / "dists/trixie/main/source/Sources.xz").write_bytes(lzma.compress(paragraph.encode()))
    source = DebianSource(package="x", version="1", suite="trixie", file="x.tar.xz", sha256=sha256(text))
    mirror, cache = DebianMirror(url=root.as_uri(), origin="test"), DownloadCache(tmp_path / "cache")
    assert fetch_debian_source(source, cache, mirror=mirror).read_bytes() == text
    gone = DebianSource(package="x", version="1", suite="trixie", file="x.tar.xz", sha256="00" * 32)
    with pytest.raises(FetchError, match=r"no longer, with the pinned hash"):
        fetch_debian_source(gone, cache, mirror=mirror)


def test_damaged_index_is_named(tmp_path, mirror_folder):
    root, known = mirror_folder({"gcc": {"usr/bin/gcc": b"1"}})
    index = root / "dists/trixie/main/binary-amd64/Packages.xz"
    index.write_bytes(index.read_bytes()[:-20])
    mirror = DebianMirror(url=root.as_uri(), origin="test")
    with pytest.raises(FetchError, match=r"Packages\.xz of trixie .* is damaged"):
        fetch_debs(pins(known, with_path=False), "trixie", DownloadCache(tmp_path / "cache"), mirror=mirror)


def test_index_paragraphs_are_not_confused(tmp_path):
    text = "Package: gcc-12\nVersion: 1\n\nPackage: gcc-12-base\nVersion: 2\n\nPackage: x\nVersion: 3\nDepends: gcc\n"
    (tmp_path / "p.xz").write_bytes(lzma.compress(text.encode()))
    assert [one["Version"] for one in parse_index(tmp_path / "p.xz", ["gcc-12", "x"])] == ["1", "3"]


def test_pool_folders():
    assert (pool_folder("gcc-12"), pool_folder("libxml2")) == ("g/gcc-12", "libx/libxml2")
