"""What the store holds under one fingerprint, as its entry.json says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

SCHEMA = 1
# What reading a damaged JSON file raises; msgspec passes bytes that are no UTF-8 on as they are.
UNREADABLE = (OSError, msgspec.DecodeError, UnicodeDecodeError)


class StoredWheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel of an entry: file name, SHA-256, bytes."""

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
        interface: hash of what is seen of it by packages that are built against it; "" where none is.
        alias: the fingerprint holds binary interfaces instead of fingerprints of other packages.
        outside: SHA-256 by path of the machine's own headers that were compiled in.
    """

    schema: int
    fingerprint: str
    package: str
    version: str
    wheels: tuple[StoredWheel, ...]
    inputs: dict[str, Any]
    seconds: float
    date: str
    interface: str = ""
    alias: bool = False
    outside: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """Answer of the store: the wheels if the entry is whole; otherwise why it cannot be used ("" if there is none)."""

    entry: Entry | None = None
    wheels: tuple[Path, ...] = ()
    problem: str = ""
