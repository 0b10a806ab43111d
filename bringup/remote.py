"""Wheels that machines share: a remote store behind the local one, on an HTTP server or in a shared folder.

`entries/<two digits>/<fingerprint>.json` describes an entry and `blobs/<two digits>/<sha256>` are its wheels. Blobs are
named by content and written first, so two machines that write one entry at the same time leave a whole one, whoever is
last. What comes back is used only if the description's inputs hash to its fingerprint and each wheel to its SHA-256.

A remote store is never needed. The first thing that goes wrong is said once, and the rest of the run does without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from bringup.entry import SCHEMA, UNREADABLE, Entry
from bringup.planning.fingerprint import fingerprint as fingerprint_of
from bringup.system.blobs import BlobError, Blobs
from bringup.system.fs import sha256_of

Say = Callable[[str], None]


class RemoteStore:
    """A store elsewhere, as `store.Remote` wants it.

    Args:
        blobs: where it is.
        writable: send what is built here.
        say: told, once, what went wrong; None keeps it in `unsaid`, for a plan to show.
    """

    def __init__(self, blobs: Blobs, *, writable: bool, say: Say | None) -> None:
        self._blobs = blobs
        self._writable = writable
        self.say = say
        self._off = False
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self.unsaid: list[str] = []

    @property
    def name(self) -> str:
        """What people call it."""
        return f"the remote store {self._blobs.name}"

    def entry(self, fingerprint: str) -> Entry | None:
        """Return an entry's description, if it is there and its inputs are those of its fingerprint."""
        if self._off or fingerprint in self._refused:
            return None
        try:
            text = self._blobs.read(_entry_name(fingerprint))
        except BlobError as exc:
            self._give_up(str(exc))
            return None
        if text is None:
            return None
        try:
            entry = msgspec.json.decode(text, type=Entry)
        except UNREADABLE:
            self._refuse(fingerprint, "is damaged")
            return None
        problem = _problem(entry, fingerprint)
        if problem:
            self._refuse(fingerprint, problem)
            return None
        return entry

    def fetch(self, entry: Entry, folder: Path) -> bool:
        """Put the wheels of an entry into a folder, each with its hash checked."""
        for wheel in entry.wheels:
            dest = folder / wheel.file
            try:
                if self._off or not self._blobs.fetch(_blob_name(wheel.sha256), dest, wheel.size):
                    self._refuse(entry.fingerprint, f"lacks {wheel.file}")
                    return False
            except BlobError as exc:
                self._give_up(str(exc))
                return False
            if dest.stat().st_size != wheel.size or sha256_of(dest) != wheel.sha256:
                self._refuse(entry.fingerprint, f"has {wheel.file} with another content than it says")
                return False
        return True

    def publish(self, entry: Entry, wheels: tuple[Path, ...]) -> None:
        """Send an entry if the store may be written: wheels first, so that a description never lacks one."""
        if self._off or not self._writable:
            return
        try:
            for stored, path in zip(entry.wheels, wheels, strict=True):
                # An entry that was refused may have bad wheels under good names.
                if entry.fingerprint in self._refused or not self._blobs.has(_blob_name(stored.sha256)):
                    self._blobs.write(_blob_name(stored.sha256), path)
            self._blobs.write(_entry_name(entry.fingerprint), msgspec.json.encode(entry))
        except BlobError as exc:
            self._give_up(f"cannot be written: {exc}")

    def _refuse(self, fingerprint: str, why: str) -> None:
        with self._lock:
            new = fingerprint not in self._refused
            self._refused.add(fingerprint)
        if new and not self._off:
            self._warn(f"entry {fingerprint[:12]} of {self.name} {why}: it is ignored and the package is built")

    def _give_up(self, why: str) -> None:
        with self._lock:
            new, self._off = not self._off, True
        if new:
            self._warn(f"{self.name}: {why}; this run goes on without it")

    def _warn(self, text: str) -> None:
        if self.say is None:
            self.unsaid.append(text)
        else:
            self.say(f"warning: {text}")


def _problem(entry: Entry, fingerprint: str) -> str:
    if entry.schema != SCHEMA or entry.fingerprint != fingerprint or not entry.wheels:
        return "was made by another version or for another fingerprint"
    if fingerprint_of(entry.inputs).value != fingerprint:
        return "has inputs that are not those of its fingerprint"
    if any(Path(wheel.file).name != wheel.file or wheel.file.startswith(".") for wheel in entry.wheels):
        return "names a file outside of it"
    return ""


def _entry_name(fingerprint: str) -> str:
    return f"entries/{fingerprint[:2]}/{fingerprint}.json"


def _blob_name(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"
