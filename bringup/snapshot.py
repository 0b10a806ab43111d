"""The data files as they were last read and checked: who finds them unchanged neither parses nor checks them again.

Reading and checking all TOML takes longer than everything else that a plan does. So what came of it is kept in the
cache, under a name that is a hash over the size, times and inode of every data file and of the code that reads them, as
git does with its index. A file that was added, removed, replaced or edited changes the name. Nothing is kept that was
read within a tick of an edit (`system.stamps`), nothing that does not read back equal, and a kept file that does not
match its own hash is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.config.lockfile import Header, Lock, Pin, read_lock
from bringup.config.paths import PACKAGE
from bringup.errors import BringupError
from bringup.model.gpu import Gpu
from bringup.model.recipe import Recipe
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease
from bringup.system.fs import remove_tree, write_atomic
from bringup.system.stamps import TICK_NS, now_ns

T = TypeVar("T", bound=msgspec.Struct)

FOLDERS = ("recipes", "toolchains", "patches")
CODE = ("config", "model", "planning")
HASH_BYTES = 32


class KeptCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    """A catalogue without its place."""

    gpus: dict[str, Gpu]
    cuda: dict[str, CudaRelease]
    pythons: dict[str, PythonRelease]
    gccs: dict[str, GccRelease]
    recipes: dict[str, Recipe]
    stacks: dict[str, Stack]


class KeptLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that fits its stack, without its place."""

    header: Header
    pins: dict[str, Pin]
    children: dict[str, tuple[str, ...]]


class DataFiles:
    """The data below one folder.

    Args:
        root: folder that holds recipes/, toolchains/ and patches/.
        cache: where snapshots are kept.
        tick_ns: how long files must have rested.
    """

    def __init__(self, root: Path, cache: Path, *, tick_ns: int = TICK_NS) -> None:
        self.root = root
        self._tick = tick_ns
        self._home = cache / "data" / hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._key = self._now()

    def catalogue(self) -> Catalogue:
        """Return all data, checked.

        Raises:
            ConfigError: with all problems of all files.
        """
        kept = self._kept("catalogue", KeptCatalogue)
        if kept is None:
            found = load_catalogue(self.root)
            kept = KeptCatalogue(**{name: dict(getattr(found, name)) for name in KeptCatalogue.__struct_fields__})
            self._keep("catalogue", kept)
        return Catalogue(root=self.root, **msgspec.structs.asdict(kept))

    def lock(self, stack: Stack, catalogue: Catalogue) -> Lock | None:
        """Return the lock of a stack; None if it has none.

        Raises:
            ConfigError: it is damaged, or older than the stack and its recipes.
            StorageError: it cannot be read.
        """
        if not stack.lock:
            return None
        path = self.root / "recipes/stacks" / f"{stack.name}.lock"
        kept = self._kept(f"{stack.name}.lock", KeptLock)
        if kept is None:
            from bringup.planning.locking import check_lock, lock_inputs  # noqa: PLC0415 - seldom needed

            found = read_lock(path)
            check_lock(found, lock_inputs(stack, catalogue.recipes))
            kept = KeptLock(header=found.header, pins=dict(found.pins), children=dict(found.children))
            self._keep(f"{stack.name}.lock", kept)
        return Lock(path=path, header=kept.header, pins=kept.pins, children=kept.children)

    def _now(self) -> str:
        """Return a hash over what says that data and code are the same; "" if that cannot be told."""
        digest = hashlib.sha256(f"{sys.version_info} {msgspec.__version__}".encode())
        youngest, started = 0, now_ns()
        try:
            for place in (*(self.root / name for name in FOLDERS), *(PACKAGE / name for name in CODE)):
                for line, changed in _entries(str(place)):
                    digest.update(os.fsencode(line))
                    youngest = max(youngest, changed)
        except (OSError, _UnusualError):
            return ""
        return digest.hexdigest() if youngest + self._tick < started else ""

    def _kept(self, name: str, kind: type[T]) -> T | None:
        if not self._key:
            return None
        try:
            content = (self._home / self._key / name).read_bytes()
            data = memoryview(content)[HASH_BYTES:]
            if hashlib.sha256(data).digest() != content[:HASH_BYTES]:
                return None
            return msgspec.msgpack.decode(data, type=kind)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _keep(self, name: str, value: msgspec.Struct) -> None:
        """Keep what was just read, if no file changed meanwhile; snapshots of other states of the data go."""
        if not self._key or self._key != self._now():
            return
        with contextlib.suppress(BringupError, OSError, msgspec.MsgspecError, OverflowError):  # it only saves time
            data = msgspec.msgpack.encode(value)
            if msgspec.msgpack.decode(data, type=type(value)) != value:
                return  # an option that MessagePack does not have, such as a day
            write_atomic(self._home / self._key / name, hashlib.sha256(data).digest() + data, durable=False)
            for old in self._home.iterdir():
                if old.name != self._key:
                    remove_tree(old)


class _UnusualError(Exception):
    """A folder of the data is a link: what is behind it is not looked at."""


def _entries(folder: str) -> Iterator[tuple[str, int]]:
    """Yield a line and the time of the last change (ns) for everything below a folder, in a fixed order."""
    if not os.path.isdir(folder):  # noqa: PTH112 - the hot path of every plan
        return
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if not entry.is_dir():
            stat = entry.stat()
            times = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino} {stat.st_ctime_ns}"
            yield f"{entry.path}\0{times}\0", max(stat.st_mtime_ns, stat.st_ctime_ns)
        elif entry.is_symlink():
            raise _UnusualError
        elif entry.name != "__pycache__":
            yield f"{entry.path}/\0", 0
            yield from _entries(entry.path)
