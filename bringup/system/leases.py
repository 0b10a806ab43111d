"""What running builds need of the cache: `gc` removes nothing that a lease names.

A lease is one file that names a process and hashes. It counts as long as its process lives; one of another machine,
which cannot be asked, counts for a day.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from bringup.system.fs import make_dir, read_json, write_json
from bringup.system.locks import file_lock, is_alive, owner

FOREIGN_SECONDS = 86400.0


@contextlib.contextmanager
def lease(cache: Path, keys: Iterable[str]) -> Iterator[None]:
    """Keep entries of the cache from being removed while the block runs.

    Args:
        cache: the cache directory.
        keys: fingerprints of wheels and SHA-256 of downloads.

    Raises:
        StorageError: the cache cannot be written.
    """
    folder = make_dir(cache / "leases")
    path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}.json"
    with removal_lock(cache):
        write_json(path, {"schema": 1, "owner": owner(), "keys": sorted(set(keys))}, durable=False)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def removal_lock(cache: Path) -> contextlib.AbstractContextManager[None]:
    """Return the lock under which leases are made and entries removed: one of the two comes first."""
    return file_lock(make_dir(cache / "leases") / ".lock")


def leased(cache: Path) -> frozenset[str]:
    """Return the keys of all leases that count; leases of processes that are gone are removed."""
    keys: set[str] = set()
    for path in (cache / "leases").glob("*.json"):
        known = read_json(path)
        who = str(known.get("owner", "")) if isinstance(known, dict) else ""
        alive = is_alive(who)
        with contextlib.suppress(OSError):
            if alive is False or (alive is None and abs(time.time() - path.stat().st_mtime) > FOREIGN_SECONDS):
                path.unlink()
                continue
        if isinstance(known, dict):
            keys |= {str(key) for key in known.get("keys", ())}
    return frozenset(keys)
