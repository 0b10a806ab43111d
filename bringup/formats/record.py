"""RECORD, the list of files of a wheel or an installed distribution, with their hashes and sizes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bringup.formats.archive import CHUNK

# The algorithms that the binary distribution format accepts: sha256 or better.
ALGORITHMS = ("sha256", "sha384", "sha512")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEntry:
    """One line of RECORD.

    Attributes:
        path: the file, relative to site-packages.
        algorithm: "sha256"; empty where the line has no hash (RECORD itself).
        digest: urlsafe base64 without padding.
        size: bytes; None where the line has none.
    """

    path: str
    algorithm: str = ""
    digest: str = ""
    size: int | None = None


def parse_record(text: str) -> list[RecordEntry]:
    """Return the lines of a RECORD, in order.

    Raises:
        ValueError: a line that is no path, hash and size.
    """
    entries: list[RecordEntry] = []
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as exc:
        msg = f"RECORD is not a table: {exc}"
        raise ValueError(msg) from exc
    for row in rows:
        if not row:
            continue
        path, hashed, size = (*row, "", "")[:3]
        algorithm, _, digest = hashed.partition("=")
        if not path or (hashed and not digest) or (size and not (size.isascii() and size.isdigit() and len(size) < 20)):
            msg = f"RECORD has a line that is no path, hash and size: {','.join(row)[:200]}"
            raise ValueError(msg)
        entries.append(RecordEntry(path=path, algorithm=algorithm, digest=digest, size=int(size) if size else None))
    return entries


def format_record(entries: Iterable[RecordEntry]) -> str:
    """Return the text of a RECORD."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for entry in entries:
        hashed = f"{entry.algorithm}={entry.digest}" if entry.algorithm else ""
        writer.writerow([entry.path, hashed, "" if entry.size is None else entry.size])
    return out.getvalue()


def encode_digest(raw: bytes) -> str:
    """Return a digest as RECORD writes it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def digest_of(source: IO[bytes], algorithm: str = "sha256") -> tuple[str, int]:
    """Return digest and size of what is left of `source`, read in pieces."""
    digest = hashlib.new(algorithm)
    size = 0
    while block := source.read(CHUNK):
        digest.update(block)
        size += len(block)
    return encode_digest(digest.digest()), size


def mismatch(entry: RecordEntry, source: IO[bytes]) -> str:
    """Say in what way `source` is not what `entry` says; empty if it is."""
    if entry.algorithm not in ALGORITHMS:
        return f"RECORD gives {entry.algorithm or 'no hash'} and not sha256 or better"
    digest, size = digest_of(source, entry.algorithm)
    if entry.size is not None and size != entry.size:
        return f"has {size} bytes where RECORD says {entry.size}"
    if digest != entry.digest.rstrip("="):
        return f"has {entry.algorithm} {digest} where RECORD says {entry.digest}"
    return ""


def file_mismatch(entry: RecordEntry, path: Path) -> str:
    """Say in what way the file on disk is not what `entry` says; empty if it is."""
    try:
        with path.open("rb") as source:
            return mismatch(entry, source)
    except FileNotFoundError:
        return "is missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror or exc}"
