"""Indexes of a Debian mirror (`Packages.xz`, `Sources.xz`), read without apt.

Signatures are not checked here: an index only says where a file is, and the file must have the hash that we pin.
"""

from __future__ import annotations

import lzma
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import FetchError
from bringup.system.download import GoneError, download

ARCHITECTURE = "amd64"


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexEntry:
    """A file that a mirror has.

    Attributes:
        package: binary or source package.
        version: full Debian version.
        path: address below the mirror.
        sha256: its hash.
        size: bytes.
    """

    package: str
    version: str
    path: str
    sha256: str
    size: int


def read_packages(url: str, suite: str, component: str, names: Collection[str], *, proxy: str = "") -> list[IndexEntry]:
    """Return what a mirror has of some binary packages in a suite; nothing if it does not have that suite.

    Raises:
        FetchError: no network, or a damaged index.
    """
    where = f"{component}/binary-{ARCHITECTURE}/Packages.xz"
    entries = []
    for fields in _paragraphs(url, suite, where, names, proxy=proxy):
        entry = IndexEntry(
            package=fields.get("Package", ""),
            version=fields.get("Version", ""),
            path=fields.get("Filename", ""),
            sha256=fields.get("SHA256", ""),
            size=int(fields.get("Size", "0")),
        )
        entries.append(entry)
    return entries


def read_sources(url: str, suite: str, component: str, names: Collection[str], *, proxy: str = "") -> list[IndexEntry]:
    """Return the files of some source packages in a suite. Raises as `read_packages` does."""
    entries = []
    for fields in _paragraphs(url, suite, f"{component}/source/Sources.xz", names, proxy=proxy):
        for line in fields.get("Checksums-Sha256", "").splitlines():
            sha256, size, name = (*line.split(), "", "", "")[:3]
            if name:
                entry = IndexEntry(
                    package=fields.get("Package", ""),
                    version=fields.get("Version", ""),
                    path=f"{fields.get('Directory', '')}/{name}",
                    sha256=sha256,
                    size=int(size),
                )
                entries.append(entry)
    return entries


def _paragraphs(url: str, suite: str, where: str, names: Collection[str], *, proxy: str) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="bringup-index-") as folder:
        try:
            address = f"{url.rstrip('/')}/dists/{suite}/{where}"
            index = download(address, Path(folder, "index.xz"), sha256="", proxy=proxy)
        except GoneError:
            return
        try:
            yield from parse_index(index, names)
        except (lzma.LZMAError, EOFError, ValueError) as exc:
            msg = f"the index {where} of {suite} on {url} is damaged: {exc}"
            raise FetchError(msg) from exc


def parse_index(index: Path, names: Collection[str]) -> Iterator[dict[str, str]]:
    """Yield the paragraphs about some packages of an xz-compressed index; the others are not even split."""
    wanted = {f"Package: {name}" for name in names}
    paragraph: list[str] = []
    with lzma.open(index, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line != "\n":
                paragraph.append(line.rstrip("\n"))
                continue
            if not wanted.isdisjoint(paragraph[:1]):
                yield _fields(paragraph)
            paragraph = []
    if not wanted.isdisjoint(paragraph[:1]):
        yield _fields(paragraph)


def _fields(paragraph: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in paragraph:
        if line[:1] in (" ", "\t"):
            fields[key] = fields.get(key, "") + "\n" + line.strip()
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return fields
