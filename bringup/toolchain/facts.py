"""What is known about files that are slow to ask: remembered until the file changes.

A plan must not start a program or read hundreds of megabytes only to learn that nothing changed. Facts about a file
(its hash, the version that a compiler prints) are kept in one small JSON file with the size, times and inode of every
file they were taken from. Facts about a file that had just been written are asked again: see `system.stamps`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bringup.system.fs import file_sha256
from bringup.system.stamps import now_ns, rested, stamp

SCHEMA = 2


class FactCache:
    """Facts by key. A file that cannot be read or written is treated as empty: it only saves time."""

    def __init__(self, path: Path) -> None:
        """`path` is the JSON file; it and its folder are made when the first fact is kept."""
        self.path = path
        self._entries: dict[str, Any] | None = None

    def get(self, key: str) -> dict[str, str] | None:
        """Return the facts of `key`, or None if there are none or one of the files they are about has changed."""
        entry = self._load().get(key)
        if entry is None or any(
            stamp(name) != seen or not rested(seen, entry["taken"]) for name, seen in entry["files"].items()
        ):
            return None
        return dict(entry["facts"])

    def put(self, key: str, facts: dict[str, str], files: Iterable[Path], taken: int = 0) -> None:
        """Remember facts that were taken from these files at `taken` (ns; now without it)."""
        entries = self._read()  # again, because another process may have added to it
        stamps = {str(file): stamp(file) for file in files}
        entries[key] = {"files": stamps, "taken": taken or now_ns(), "facts": facts}
        self._entries = entries
        if self.path.exists() and not self.path.is_file():
            return  # a device or a folder is never replaced
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            # Without indentation, which has an encoder in Python and takes ten times as long.
            fresh.write_text(json.dumps({"schema": SCHEMA, "entries": entries}) + "\n")
            fresh.replace(self.path)

    def know(self, key: str, probe: Callable[[], tuple[dict[str, str], Iterable[Path]]]) -> dict[str, str]:
        """Return the facts of `key`; `probe` finds them, with the files they are about, when they are not known."""
        known = self.get(key)
        if known is None:
            taken = now_ns()
            known, files = probe()
            self.put(key, dict(known), files, taken)
        return known

    def sha256(self, file: Path) -> str:
        """Return the hash of a file, read only when it changed."""
        real = file.resolve()
        return self.know(f"sha256 {real}", lambda: ({"sha256": file_sha256(real)}, [real]))["sha256"]

    def _load(self) -> dict[str, Any]:
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def _read(self) -> dict[str, Any]:
        if not self.path.is_file():
            return {}
        try:
            data = json.loads(self.path.read_bytes())
            entries = data["entries"] if data["schema"] == SCHEMA else {}
            return {key: entry for key, entry in entries.items() if _whole(entry)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _whole(entry: Any) -> bool:
    stamps = entry["files"].values()
    listed = all(isinstance(one, list) and len(one) in (0, 4) for one in stamps)
    return listed and isinstance(entry["taken"], int) and bool(entry["facts"])
