"""Removing what was made: targets, toolchains, and the parts of the cache that were not used for longest."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bringup.config.load import nearest
from bringup.errors import UsageError
from bringup.system.fs import remove_tree
from bringup.system.runlock import run_lock

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Return the bytes of "500M" or "20G".

    Raises:
        UsageError: it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        msg = f"--max-size {text}: wants a number with K, M, G or T, such as 20G"
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


def collect(cache: Path, limit: int) -> Iterator[str]:
    """Remove what was used longest ago until the cache is below `limit` bytes.

    Downloads and wheels go; git mirrors stay, since a build may be reading them and they cannot be had by hash.
    A running build holds a lock on the files it fetches, and wheels that it has yet to install are newer than others.
    """
    items = sorted([*_downloads(cache), *_wheels(cache)], key=lambda item: item.used)
    total = sum(item.size for item in items)
    removed = 0
    for item in items:
        if total <= limit:
            break
        if not _unused(item.path):
            continue
        remove_tree(item.path)
        total -= item.size
        removed += 1
        yield f"removed {item.path} ({item.size / (1 << 20):.1f} MiB)"
    yield f"{cache}: {total / (1 << 30):.2f} GiB in {len(items) - removed} entries, {removed} removed"


def _unused(folder: Path) -> bool:
    lock = folder / ".lock"
    if not lock.exists():
        return True
    with lock.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _downloads(cache: Path) -> Iterator[Item]:
    yield from (_item(folder) for folder in cache.glob("downloads/??/*") if folder.is_dir())


def _wheels(cache: Path) -> Iterator[Item]:
    yield from (_item(folder) for folder in cache.glob("store/??/*") if folder.is_dir())


def _item(folder: Path) -> Item:
    stats = [path.stat() for path in folder.iterdir()]
    used = max([max(stat.st_atime, stat.st_mtime) for stat in stats] + [folder.stat().st_mtime])
    return Item(path=folder, size=sum(stat.st_size for stat in stats), used=used)
