"""Wheels by fingerprint: what was built once is never built again.

An entry is a folder `<root>/<first two digits>/<fingerprint>/` with the wheels and an entry.json that names them with
size and SHA-256. It is made beside its place and renamed as the last act, so it is either whole or not there. An entry
whose files do not match is never used: it is reported, and the package is built again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bringup.errors import BringupError
from bringup.system.fs import make_dir, remove_tree, sha256_of, storage_errors, write_atomic, write_json

SCHEMA = 1
# What reading a damaged JSON file raises; msgspec passes bytes that are no UTF-8 on as they are.
UNREADABLE = (OSError, msgspec.DecodeError, UnicodeDecodeError)


class StoredWheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel of an entry: file name, SHA-256, bytes, and the modification time it had when it was hashed (ns)."""

    file: str
    sha256: str
    size: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What entry.json holds.

    Attributes:
        schema: version of this shape.
        fingerprint: the key.
        package: recipe name.
        version: version that was built.
        wheels: the files.
        inputs: all that went into the fingerprint, to explain a later difference.
        seconds: wall-clock seconds of the build.
        date: when it was built, ISO 8601.
    """

    schema: int
    fingerprint: str
    package: str
    version: str
    wheels: tuple[StoredWheel, ...]
    inputs: dict[str, Any]
    seconds: float
    date: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """Answer of the store: the wheels if the entry is whole; otherwise why it cannot be used ("" if there is none)."""

    entry: Entry | None = None
    wheels: tuple[Path, ...] = ()
    problem: str = ""


class Store:
    """A folder of entries.

    Args:
        root: the folder; made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, fingerprint: str) -> Path:
        """Return where the entry of this fingerprint is or would be."""
        return self.root / fingerprint[:2] / fingerprint

    def lookup(self, fingerprint: str) -> Lookup:
        """Find an entry and check that its files are what it says.

        A file is hashed once; as long as size, modification time and inode stay, that answer stands (as git does).
        """
        folder = self.folder(fingerprint)
        try:
            entry = msgspec.json.decode((folder / "entry.json").read_bytes(), type=Entry)
        except FileNotFoundError:
            return Lookup(problem="the store's entry is incomplete") if folder.exists() else Lookup()
        except UNREADABLE as exc:
            return Lookup(problem=f"the store's entry is damaged: {exc}")
        if entry.schema != SCHEMA or entry.fingerprint != fingerprint or not entry.wheels:
            return Lookup(problem="the store's entry was made by another version or for another fingerprint")
        if any(Path(wheel.file).name != wheel.file for wheel in entry.wheels):
            return Lookup(problem="the store's entry names a file outside of it")
        wheels = []
        for wheel in entry.wheels:
            path = folder / wheel.file
            problem = self._check(path, wheel)
            if problem:
                return Lookup(problem=f"the store's {wheel.file} {problem}")
            wheels.append(path)
        return Lookup(entry=entry, wheels=tuple(wheels))

    def _check(self, path: Path, wheel: StoredWheel) -> str:
        try:
            stat = path.stat()
        except OSError:
            return "is missing"
        if stat.st_size != wheel.size:
            return f"has {stat.st_size} bytes and should have {wheel.size}"
        mark = path.with_name(f".{path.name}.checked")
        seen = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino} {wheel.sha256}"
        try:
            if mark.read_text() == seen:
                return ""
        except OSError:
            pass
        found = sha256_of(path)
        if found != wheel.sha256:
            return f"has SHA-256 {found[:12]}... and should have {wheel.sha256[:12]}..."
        with contextlib.suppress(BringupError, OSError):  # a read-only store is as good, only slower
            write_atomic(mark, seen)
        return ""

    def remove(self, fingerprint: str) -> None:
        """Remove an entry."""
        remove_tree(self.folder(fingerprint))

    def add(
        self,
        fingerprint: str,
        *,
        package: str,
        version: str,
        wheels: list[Path],
        inputs: dict[str, Any],
        seconds: float,
        date: str,
    ) -> Lookup:
        """Copy wheels into a new entry and return it; an entry that is there and whole already wins."""
        there = self.lookup(fingerprint)
        if there.entry:
            return there
        folder = self.folder(fingerprint)
        make_dir(folder.parent)
        fresh = folder.with_name(f".{fingerprint}.new-{os.getpid()}")
        remove_tree(fresh)
        make_dir(fresh)
        stored = []
        for wheel in wheels:
            with storage_errors(fresh):
                shutil.copy2(wheel, fresh / wheel.name)
            path = fresh / wheel.name
            stored.append(StoredWheel(file=wheel.name, sha256=sha256_of(path), size=path.stat().st_size))
        entry = Entry(
            schema=SCHEMA,
            fingerprint=fingerprint,
            package=package,
            version=version,
            wheels=tuple(stored),
            inputs=inputs,
            seconds=round(seconds, 2),
            date=date,
        )
        write_json(fresh / "entry.json", entry)
        with self._lock(), storage_errors(folder):
            there = self.lookup(fingerprint)
            if there.entry:  # another run was faster; its entry has the same content
                remove_tree(fresh)
                return there
            self.remove(fingerprint)  # damaged, or not there
            fresh.rename(folder)
        return self.lookup(fingerprint)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one writer at a time replace an entry, so that nobody takes a whole one for a damaged one."""
        with storage_errors(self.root):
            handle = (self.root / ".lock").open("ab")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def entries(self, package: str = "") -> list[Entry]:
        """Return all readable entries, of one package if named, newest first."""
        found = []
        for path in self.root.glob("??/*/entry.json"):
            try:
                entry = msgspec.json.decode(path.read_bytes(), type=Entry)
            except UNREADABLE:
                continue
            if not package or entry.package == package:
                found.append(entry)
        return sorted(found, key=lambda entry: entry.date, reverse=True)
