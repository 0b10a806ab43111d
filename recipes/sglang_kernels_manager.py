"""Triton's cache, and behind it, read-only, what was compiled ahead or harvested and lies in installed packages.

This file travels inside the wheels sglang-jit-cache and bringup-harvest, each with a `.pth` file that names it in
TRITON_CACHE_MANAGER where the user has not set that. Triton asks it for files by key, as it asks its own manager:
first the user's cache answers, then `triton/index.json` of the packages. An entry counts only if all its files have
the hashes of the index; otherwise Triton compiles as it always does. Entries are found from this file's own place,
so nothing names the place where they were made. The interface is that of Triton 3.2 to 3.6 (triton/runtime/cache.py).
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from triton.runtime.cache import FileCacheManager  # type: ignore[import-not-found,import-untyped,unused-ignore]

PACKAGES = ("sglang_jit_cache", "bringup_harvest")
"""Packages that may hold entries, side by side with the one that this file is in."""


@lru_cache(maxsize=1)
def _index() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return folder and files of every packaged entry by key; a package that cannot be read has none."""
    site, found = Path(__file__).resolve().parents[1], {}
    for package in PACKAGES:
        folder = site / package / "triton"
        try:
            entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))["entries"]
            found.update({str(key): (folder, dict(entry["files"])) for key, entry in entries.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


@lru_cache(maxsize=1024)
def packaged(key: str) -> dict[str, str]:
    """Return the paths of an entry's files by name; none if there is no such entry, or it is not what it was."""
    folder, listed = _index().get(key, (Path(), {}))
    paths = {}
    try:
        for name, file in listed.items():
            path = folder / file["path"]
            if hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
                return {}
            paths[name] = str(path)
    except (OSError, KeyError, TypeError, ValueError):
        return {}
    return paths


class PackagedCacheManager(FileCacheManager):  # type: ignore[misc,unused-ignore]
    """The cache of one key: the user's own files first, then the packaged ones."""

    def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
        super().__init__(key, override=override, dump=dump)
        self._packaged = {} if override or dump else packaged(str(key))

    def get_file(self, filename: str) -> str | None:
        """Return the path of a file of this key, None if it has to be made."""
        own: str | None = super().get_file(filename)
        return own or self._packaged.get(filename)

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Return the paths of all files of a kernel whose metadata is `filename`."""
        own: dict[str, str] | None = super().get_group(filename)
        if own and filename in own:
            return own
        return dict(self._packaged) if filename in self._packaged else own
