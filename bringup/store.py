"""Wheels by fingerprint: what was built once is never built again.

An entry is a folder `<root>/<first two digits>/<fingerprint>/` with the wheels and an entry.json that names them with
size and SHA-256. It is made beside its place and renamed as the last act, so it is either whole or not there. An entry
whose files do not match is never used: it is reported, and the package is built again.

A wheel that was linked against another package has a second entry, `alias`, whose key holds the other's binary
interface instead of its fingerprint: so it is found again when the other was rebuilt and its interface stayed.

Behind the folder there may be a remote store (`bringup.remote`), asked for what is not here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bringup.entry import SCHEMA, UNREADABLE, Entry, Lookup, StoredWheel
from bringup.errors import BringupError
from bringup.system.fs import (
    link_or_copy,
    make_dir,
    mark_used,
    remove_tree,
    sha256_of,
    storage_errors,
    write_atomic,
    write_json,
)
from bringup.system.stamps import now_ns, rested, stamp


class Remote(Protocol):
    """A store elsewhere; it degrades by itself: what goes wrong is said once and the answer is "not there"."""

    say: Callable[[str], None] | None
    unsaid: list[str]

    @property
    def name(self) -> str:
        """What people call it: its address without secrets."""

    def entry(self, fingerprint: str) -> Entry | None:
        """Return an entry's description, if it is there and fits its fingerprint."""

    def fetch(self, entry: Entry, folder: Path) -> bool:
        """Put the wheels of an entry into a folder; False if they did not arrive or are not what the entry says."""

    def publish(self, entry: Entry, wheels: tuple[Path, ...]) -> None:
        """Send an entry, if the store may be written."""


class Store:
    """A folder of entries.

    Args:
        root: the folder; made on the first write.
        remote: where to look for what is not here, and to send what was built.
    """

    def __init__(self, root: Path, remote: Remote | None = None) -> None:
        self.root = root
        self.remote = remote

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
        mark_used(folder / "entry.json")
        return Lookup(entry=entry, wheels=tuple(wheels))

    def _check(self, path: Path, wheel: StoredWheel) -> str:
        try:
            stat = path.stat()
        except OSError:
            return "is missing"
        if stat.st_size != wheel.size:
            return f"has {stat.st_size} bytes and should have {wheel.size}"
        mark, before, started = path.with_name(f".{path.name}.checked"), stamp(path), now_ns()
        seen = f"{' '.join(str(one) for one in before)} {wheel.sha256}"
        try:
            if mark.read_text() == seen:
                return ""
        except (OSError, UnicodeDecodeError):
            pass
        found = sha256_of(path)
        if found != wheel.sha256:
            return f"has SHA-256 {found[:12]}... and should have {wheel.sha256[:12]}..."
        if rested(before, started):
            with contextlib.suppress(BringupError, OSError):  # a read-only store is as good, only slower
                write_atomic(mark, seen, durable=False)
        return ""

    def changed_headers(self, entry: Entry) -> dict[str, str]:
        """Return those of the machine's headers that were compiled in and are others now, with SHA-256 ("" if gone).

        They are read again only if their times changed.
        """
        if not entry.outside:
            return {}
        mark, started = self.folder(entry.fingerprint) / ".outside.checked", now_ns()
        stamps = [stamp(path) for path in entry.outside]
        seen = hashlib.sha256(repr(stamps).encode()).hexdigest()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if mark.read_text() == seen:
                return {}
        now = {path: sha256_of(Path(path)) if Path(path).is_file() else "" for path in entry.outside}
        changed = {path: one for path, one in now.items() if one != entry.outside[path]}
        if not changed and mark.parent.is_dir() and all(rested(one, started) for one in stamps):
            with contextlib.suppress(BringupError, OSError):
                write_atomic(mark, seen, durable=False)
        return changed

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
        inputs: Mapping[str, Any],
        seconds: float,
        date: str,
        interface: str = "",
        alias: bool = False,
        outside: Mapping[str, str] | None = None,
    ) -> Lookup:
        """Copy wheels into a new entry and return it; an entry that is there and whole already wins."""
        there = self.lookup(fingerprint)
        if there.entry:
            return there
        with self._fresh(fingerprint) as fresh:
            for wheel in wheels:
                if wheel.is_relative_to(self.root):
                    link_or_copy(wheel, fresh / wheel.name)
                    continue
                with storage_errors(fresh):
                    shutil.copy2(wheel, fresh / wheel.name)
            entry = Entry(
                schema=SCHEMA,
                fingerprint=fingerprint,
                package=package,
                version=version,
                wheels=tuple(_stored(fresh / one.name) for one in wheels),
                inputs=dict(inputs),
                seconds=round(seconds, 2),
                date=date,
                interface=interface,
                alias=alias,
                outside=dict(outside or {}),
            )
            return self._enter(fresh, entry)

    def adopt(self, fingerprint: str, known: Lookup, inputs: Mapping[str, Any], date: str) -> Lookup:
        """Enter the wheels of a known entry under another fingerprint, without a copy where links are possible."""
        entry = known.entry
        assert entry is not None
        return self.add(
            fingerprint,
            package=entry.package,
            version=entry.version,
            wheels=list(known.wheels),
            inputs=inputs,
            seconds=entry.seconds,
            date=date,
            interface=entry.interface,
            outside=entry.outside,
        )

    def available(self, fingerprint: str) -> tuple[Lookup, bool]:
        """Return what is known of a fingerprint, and whether it is the remote store that has it."""
        there = self.lookup(fingerprint)
        if there.entry or self.remote is None:
            return there, False
        entry = self.remote.entry(fingerprint)
        return (Lookup(entry=entry), True) if entry else (there, False)

    def pull(self, fingerprint: str) -> Lookup:
        """Bring an entry here from the remote store; without one, or if it is not what it says, nothing is found."""
        there, elsewhere = self.available(fingerprint)
        if not elsewhere or there.entry is None or self.remote is None:
            return there
        with self._fresh(fingerprint) as fresh:
            return self._enter(fresh, there.entry) if self.remote.fetch(there.entry, fresh) else Lookup()

    @contextlib.contextmanager
    def _fresh(self, fingerprint: str) -> Iterator[Path]:
        """Give a folder to make an entry in; what is left of it at the end goes, or a full disk would stay full."""
        folder = self.folder(fingerprint)
        make_dir(folder.parent)
        fresh = folder.with_name(f".{fingerprint}.new-{os.getpid()}")
        remove_tree(fresh)
        make_dir(fresh)
        try:
            yield fresh
        finally:
            remove_tree(fresh)

    def _enter(self, fresh: Path, entry: Entry) -> Lookup:
        """Put a whole entry in its place."""
        folder = self.folder(entry.fingerprint)
        write_json(fresh / "entry.json", entry)
        # One writer at a time replaces an entry, so that nobody takes a whole one for a damaged one. Where locks do not
        # reach another machine it may still be faster: what it put there is looked at before anything is removed.
        from bringup.system.locks import file_lock  # noqa: PLC0415 - not needed to look

        with file_lock(self.root / ".lock"), storage_errors(folder):
            if not _put(fresh, folder) and not self.lookup(entry.fingerprint).entry:
                self.remove(entry.fingerprint)  # damaged
                _put(fresh, folder)
        return self.lookup(entry.fingerprint)

    def entries(self, package: str = "") -> list[Entry]:
        """Return all readable entries but aliases, of one package if named, newest first."""
        found = []
        for path in self.root.glob("??/*/entry.json"):
            try:
                entry = msgspec.json.decode(path.read_bytes(), type=Entry)
            except UNREADABLE:
                continue
            if not entry.alias and (not package or entry.package == package):
                found.append(entry)
        return sorted(found, key=lambda entry: entry.date, reverse=True)


def _put(fresh: Path, folder: Path) -> bool:
    """Rename a folder into its place; False if something is there."""
    try:
        fresh.rename(folder)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _stored(path: Path) -> StoredWheel:
    return StoredWheel(file=path.name, sha256=sha256_of(path), size=path.stat().st_size)
