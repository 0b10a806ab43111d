"""Removing what was made: targets, toolchains, and the parts of the cache that were not used for longest."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bringup.config.near import nearest
from bringup.errors import UsageError
from bringup.kept import MANIFEST
from bringup.system.fs import remove_tree
from bringup.system.leases import leased, removal_lock
from bringup.system.locks import file_lock
from bringup.system.runlock import run_lock

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str, flag: str = "--max-size") -> int:
    """Return the bytes of "500M" or "20G", given with a flag.

    Raises:
        UsageError: it is no size.
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        msg = f"{flag} {text}: wants a number with K, M, G or T, such as 20G"
        raise UsageError(msg)
    return int(float(match[1]) * UNITS[match[2].upper()])


def clean(build: Path, target: str, *, everything: bool) -> Iterator[str]:
    """Remove a target's folder, or all of them and the toolchains; the cache stays.

    Raises:
        UsageError: no such target; BusyError: a run uses it.
    """
    there = sorted(path.parent.name for path in build.glob("*/lock"))
    if not target and not everything:
        msg = "clean needs --target or --all"
        raise UsageError(msg, hint=f"targets here: {', '.join(there) or 'none'}")
    if target and target not in there:
        near = nearest(target, there)
        msg = f"{build} has no target {target!r}; it has {', '.join(there) or 'none'}"
        raise UsageError(msg, hint=f"did you mean {near}?" if near else "")
    if not there and not (build / "toolchains").is_dir():
        yield f"{build}: nothing to remove"
    for name in there if everything else [target]:
        with run_lock(build / name):
            remove_tree(build / name)
        yield f"removed {build / name}"
    if everything and (build / "toolchains").is_dir():
        remove_tree(build / "toolchains")
        yield f"removed {build / 'toolchains'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Something that can be removed from the cache as a whole."""

    path: Path
    size: int
    used: float
    named: bool = True


def collect(cache: Path, limit: int) -> Iterator[str]:
    """Remove what was used longest ago until the cache is below `limit` bytes.

    Downloads, wheels, kept environments and compiler results go; git mirrors stay, since a build may be reading them
    and they cannot be had by hash. What a running build needs is under a lease, what it fetches under a lock; both
    stay.
    """
    if not cache.is_dir():
        yield f"{cache}: 0.00 GiB in 0 entries, 0 removed"
        return
    now = time.time()
    # A time in the future is from before a clock was set back: it says only that the file was used lately.
    found = [*_downloads(cache), *_wheels(cache), *_environments(cache), *_compiled(cache)]
    items = sorted(found, key=lambda one: min(one.used, now))
    total = sum(item.size for item in items)
    removed = kept = 0
    for item in items:
        if total <= limit:
            break
        if not _remove(item, cache):
            kept += 1
            continue
        total -= item.size
        removed += 1
        if item.named:
            yield f"removed {item.path} ({item.size / (1 << 20):.1f} MiB)"
    in_use = f", {kept} kept because a build uses them" if kept else ""
    yield f"{cache}: {total / (1 << 30):.2f} GiB in {len(items) - removed} entries, {removed} removed{in_use}"


def _remove(item: Item, cache: Path) -> bool:
    """Remove an item unless something that runs needs it."""
    if not item.named:  # a compiler that does not find its result makes it
        remove_tree(item.path)
        return True
    with removal_lock(cache):  # a build makes its lease under the same lock, and looks at what is there after that
        if item.path.name in leased(cache) or not _unused(item.path):
            return False
        remove_tree(item.path)
        return True


def _unused(folder: Path) -> bool:
    """Tell whether nobody holds the lock of a download; locking must not make a folder look used."""
    lock = folder / ".lock"
    if not lock.is_file():
        return True
    try:
        with file_lock(lock, wait=False):
            return True
    except BlockingIOError:
        return False


def _downloads(cache: Path) -> Iterator[Item]:
    yield from (_item(folder) for folder in cache.glob("downloads/??/*") if folder.is_dir())


def _wheels(cache: Path) -> Iterator[Item]:
    yield from (_item(folder) for folder in cache.glob("store/??/*") if folder.is_dir())


def _environments(cache: Path) -> Iterator[Item]:
    """Yield kept environments; what their files share with an environment or with uv's cache is freed with the last."""
    for folder in cache.glob("environments/[!.]*"):
        with contextlib.suppress(OSError):
            used = (folder / MANIFEST).stat().st_atime
            yield Item(path=folder, size=sum(_shares(folder)), used=used)


def _shares(folder: Path) -> Iterator[int]:
    for place, _, files in os.walk(folder):
        for name in files:
            stat = os.lstat(f"{place}/{name}")
            yield stat.st_size // stat.st_nlink


def _compiled(cache: Path) -> Iterator[Item]:
    for path in cache.glob("compiler/??/*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            stat = path.stat()
            yield Item(path=path, size=stat.st_size, used=max(stat.st_atime, stat.st_mtime), named=False)


def _item(folder: Path) -> Item:
    stats = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            stats.append(path.stat())
    used = max([max(stat.st_atime, stat.st_mtime) for stat in stats] + [folder.stat().st_mtime])
    # A wheel that two entries share is freed with the last of them.
    return Item(path=folder, size=sum(stat.st_size // max(1, stat.st_nlink) for stat in stats), used=used)
