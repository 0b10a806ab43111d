"""Trees that are put together once and then only used: toolkits, interpreters, compilers.

A tree is made in a folder of its own and renamed when it is complete, so that a half-made one is never seen. A manifest
inside lists its files with their sizes: a tree that lost a file since (a clean-up job, a full disk) is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from bringup.system.fs import storage_errors

MANIFEST = ".bringup-tree.json"


def identity_of(*parts: str) -> str:
    """Return a hash over an ordered list of strings (sort before where the order does not matter)."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def assemble(dest_root: Path, label: str, identity: str, make: Callable[[Path, Path], None]) -> Path:
    """Return the tree of this identity, made if it is not there or not whole.

    Args:
        dest_root: folder of all trees.
        label: first part of the tree's name, "cuda-13.0-wheels".
        identity: what the tree is made of; part of the name and written into the manifest.
        make: fills the folder that is its first argument; the second is the path the tree will have.

    Raises:
        StorageError: disk full or no permission; and whatever `make` raises.
    """
    home = dest_root / f"{label}-{identity[:16]}"
    if whole(home, identity):
        return home
    from bringup.system.locks import file_lock  # noqa: PLC0415 - not needed to look

    with storage_errors(dest_root, every=True):
        dest_root.mkdir(parents=True, exist_ok=True)
    with file_lock(dest_root / f".{home.name}.lock"):
        if whole(home, identity):  # another process was faster
            return home
        for left_over in [home, *dest_root.glob(f"{home.name}.tmp-*")]:
            _remove(left_over)
        made = dest_root / f"{home.name}.tmp-{os.getpid()}"
        try:
            with storage_errors(made, every=True):
                made.mkdir()
            make(made, home)
            with storage_errors(made, every=True):
                _write_manifest(made, identity)
                made.rename(home)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return home


def whole(home: Path, identity: str) -> bool:
    """Tell whether a finished tree of this identity is there with all its files at their sizes."""
    try:
        manifest = json.loads((home / MANIFEST).read_bytes())
        if manifest["identity"] != identity:
            return False
        base = str(home)
        return all(os.lstat(f"{base}/{name}").st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def merge(source: Path, target: Path) -> None:
    """Move the content of one folder into another on the same disk; a file that is there already stays."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir():
            merge(entry, place)
        elif not os.path.lexists(place):
            entry.rename(place)


def files_below(root: Path) -> Iterable[tuple[str, os.stat_result]]:
    """Yield the relative name and lstat of every file and link below a folder, sorted."""
    base = str(root)
    for folder, folders, names in os.walk(base):
        folders.sort()
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114 - thousands of files
        for name in sorted([*names, *links]):
            path = f"{folder}/{name}"
            yield path[len(base) + 1 :], os.lstat(path)


def _write_manifest(made: Path, identity: str) -> None:
    files = {name: stat.st_size for name, stat in files_below(made)}
    (made / MANIFEST).write_text(json.dumps({"schema": 1, "identity": identity, "files": files}, indent=0) + "\n")


def _remove(path: Path) -> None:
    with storage_errors(path, every=True):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
