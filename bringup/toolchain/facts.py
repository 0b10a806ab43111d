"""What is known about files that are slow to ask: remembered until the file changes.

A plan must not start a program or read hundreds of megabytes only to learn that nothing changed. Facts about a file
(its hash, the version that a compiler prints) are kept in one small JSON file with the size, time and inode of every
file they were taken from.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bringup.system.download import file_sha256

SCHEMA = 1


class FactCache:
    """Facts by key. A file that cannot be read or written is treated as empty: it only saves time."""

    def __init__(self, path: Path) -> None:
        """`path` is the JSON file; it and its folder are made when the first fact is kept."""
        self.path = path
        self._entries: dict[str, Any] | None = None

    def get(self, key: str) -> dict[str, str] | None:
        """Return the facts of `key`, or None if there are none or one of the files they are about has changed."""
        entry = self._load().get(key)
        if entry is None or any(_stamp(name) != stamp for name, stamp in entry["files"].items()):
            return None
        return dict(entry["facts"])

    def put(self, key: str, facts: dict[str, str], files: Iterable[Path]) -> None:
        """Remember facts that were taken from these files."""
        entries = self._read()  # again, because another process may have added to it
        entries[key] = {"files": {str(file): _stamp(str(file)) for file in files}, "facts": facts}
        self._entries = entries
        if self.path.exists() and not self.path.is_file():
            return  # a device or a folder is never replaced
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            fresh.write_text(json.dumps({"schema": SCHEMA, "entries": entries}, indent=1) + "\n")
            fresh.replace(self.path)

    def know(self, key: str, probe: Callable[[], tuple[dict[str, str], Iterable[Path]]]) -> dict[str, str]:
        """Return the facts of `key`; `probe` finds them, with the files they are about, when they are not known."""
        known = self.get(key)
        if known is None:
            known, files = probe()
            self.put(key, dict(known), files)
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
            return {key: entry for key, entry in entries.items() if isinstance(entry["files"], dict) and entry["facts"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _stamp(name: str) -> list[int]:
    try:
        stat = os.stat(name)  # noqa: PTH116 - the hot path of every plan
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
