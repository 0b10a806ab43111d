"""Environments as they were installed, kept in the cache as hard links, so that the next one like it is only linked.

uv finds out for every environment again what is to be installed, and asks its Python. Here all of that is in the key:
what was installed once under a key is laid down again file by file. A file of a wheel is linked, if device, inode, size
and modification time are those that were noted; what an installer wrote for this one environment (scripts, RECORD,
pyvenv.cfg) is written anew, with the path of the new environment in the place of the old one.

It only saves time. Whatever is in the way (another file system, an edited file, a folder that cannot be written), the
answer is False and the environment is installed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from bringup.errors import BringupError
from bringup.system.fs import make_dir, mark_used, remove_tree, write_atomic

SCHEMA = 1
HASH_BYTES = 32
MANIFEST = "kept"
# More environments than this are seldom in use together; gc removes what is left when the cache is too large.
MOST = 4
# What an installer writes for one environment is small. More means that it copied where it could have linked.
MAX_TEXT, MAX_TEXTS = 8 << 20, 64 << 20
# The kernel cuts a longer first line of a script.
MAX_SHEBANG = 127
THREADS = 4
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file of a wheel: path in the environment, and what says that it is still the same."""

    name: str
    inode: int
    size: int
    modified_ns: int


class Text(msgspec.Struct, frozen=True, array_like=True):
    """A file of this environment alone: path in it, mode and content."""

    name: str
    mode: int
    content: bytes


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest holds.

    Attributes:
        schema: version of this shape.
        place: path of the environment that was kept.
        device: of all its files.
        folders: path and mode, parents first.
        links: target by path of the symbolic links.
        files: what is linked.
        texts: what is written.
    """

    schema: int
    place: str
    device: int
    folders: list[tuple[str, int]]
    links: dict[str, str]
    files: list[File]
    texts: list[Text]


class _UnusualError(Exception):
    """This environment cannot be kept, or not be laid down there."""


class _ChangedError(Exception):
    """What was kept is not as it was."""


def key_of(parts: Iterable[str]) -> str:
    """Return the key of an environment: of everything that decides what is in it."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def keep(place: Path, folder: Path, *, without: Iterable[str] = ()) -> bool:
    """Keep an environment; tell whether it could be kept.

    Args:
        place: the environment.
        folder: where to keep it; its name is the key, and its siblings are other environments.
        without: files at the top of the environment that belong to this one alone.
    """
    fresh = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    try:
        kept = _read_tree(place, frozenset(without))
        remove_tree(fresh)
        make_dir(fresh / "tree")
        _make_folders(fresh / "tree", kept)
        _each(kept.files, lambda one: os.link(place / one.name, fresh / "tree" / one.name))
        data = msgspec.msgpack.encode(kept)
        write_atomic(fresh / MANIFEST, hashlib.sha256(data).digest() + data, durable=False)
        remove_tree(folder)
        fresh.rename(folder)
        _remove_oldest(folder.parent)
    except (OSError, BringupError, _UnusualError):
        with contextlib.suppress(OSError, BringupError):
            remove_tree(fresh)
        return False
    return True


def restore(folder: Path, place: Path) -> bool:
    """Lay a kept environment down at `place`, which does not exist; tell whether it is there now."""
    try:
        kept = _load(folder / MANIFEST)
        texts = _texts_for(kept, place)
        make_dir(place)
        _make_folders(place, kept)
        for name, target in kept.links.items():
            (place / name).symlink_to(target)
        _link_all(kept, folder / "tree", place)
        for text in texts:
            _write(place / text.name, text)
        mark_used(folder / MANIFEST)
    except _ChangedError:
        _forget(folder, place)
        return False
    except (OSError, BringupError, _UnusualError):
        _forget(place)
        return False
    return True


def _forget(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError, BringupError):
            remove_tree(folder)


def _load(path: Path) -> Kept:
    content = path.read_bytes()
    data = memoryview(content)[HASH_BYTES:]
    if hashlib.sha256(data).digest() != content[:HASH_BYTES]:
        raise _ChangedError
    try:
        kept = msgspec.msgpack.decode(data, type=Kept)
    except msgspec.DecodeError:
        raise _ChangedError from None
    if kept.schema != SCHEMA:
        raise _ChangedError
    return kept


def _read_tree(place: Path, without: frozenset[str]) -> Kept:
    """Return what an environment consists of."""
    old = _plain(place).encode()
    kept = Kept(schema=SCHEMA, place=str(place), device=place.stat().st_dev, folders=[], links={}, files=[], texts=[])
    room = MAX_TEXTS
    for name, entry in _walk(str(place), ""):
        stat = entry.stat(follow_symlinks=False)
        if name in without:
            continue
        if entry.is_symlink():
            target = os.readlink(entry.path)  # noqa: PTH115 - hundreds
            if target.startswith(str(place)):
                raise _UnusualError
            kept.links[name] = target
        elif entry.is_dir():
            kept.folders.append((name, stat.st_mode & 0o777))
        elif not entry.is_file() or stat.st_dev != kept.device:
            raise _UnusualError
        elif stat.st_nlink > 1:
            kept.files.append(File(name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        else:
            room -= stat.st_size
            if stat.st_size > MAX_TEXT or room < 0:
                raise _UnusualError
            content = Path(entry.path).read_bytes()
            if old in content and not name.startswith("bin/"):
                raise _UnusualError  # nothing is known of how it is written there
            kept.texts.append(Text(name, stat.st_mode & 0o777, content))
    return kept


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as there:
        entries = list(there)
    for entry in entries:
        name = prefix + entry.name
        yield name, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/")


def _plain(place: Path) -> str:
    """Return a path that reads the same in every kind of script, quoted or not."""
    text = str(place)
    if not _PLAIN.fullmatch(text):
        raise _UnusualError
    return text


def _make_folders(root: Path, kept: Kept) -> None:
    for name, mode in kept.folders:
        os.mkdir(f"{root}/{name}", mode)  # noqa: PTH102 - thousands


def _link_all(kept: Kept, tree: Path, place: Path) -> None:
    def one(file: File) -> None:
        source = f"{tree}/{file.name}"
        stat = os.stat(source)  # noqa: PTH116 - tens of thousands
        if (stat.st_ino, stat.st_size, stat.st_mtime_ns) != (file.inode, file.size, file.modified_ns):
            raise _ChangedError
        os.link(source, f"{place}/{file.name}")

    if os.stat(tree).st_dev != kept.device:  # noqa: PTH116
        raise _ChangedError
    _each(kept.files, one)


def _each(files: list[File], work: Callable[[File], None]) -> None:
    """Do something with each file, in a few threads: it is the kernel that takes the time."""

    def part(index: int) -> None:
        for file in files[index::THREADS]:
            work(file)

    if len(files) < 500:
        for file in files:
            work(file)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(part, range(THREADS)))


def _texts_for(kept: Kept, place: Path) -> list[Text]:
    """Return what is written for an environment in another place, with RECORD saying so."""
    old, new = kept.place.encode(), _plain(place).encode()
    if place.parent.stat().st_dev != kept.device:
        raise _UnusualError  # no file could be linked there
    scripts: dict[bytes, bytes] = {}
    texts = []
    for text in kept.texts:
        content = text.content.replace(old, new) if text.name.startswith("bin/") else text.content
        if content != text.content:
            first = content.partition(b"\n")[0]
            if first.startswith(b"#!") and len(first) > MAX_SHEBANG:
                raise _UnusualError
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            scripts[b"/" + text.name.encode()] = b"sha256=%b,%d" % (digest, len(content))
        texts.append(Text(text.name, text.mode, content))
    if not scripts:
        return texts
    return [
        Text(text.name, text.mode, _recorded(text.content, scripts)) if text.name.endswith("/RECORD") else text
        for text in texts
    ]


def _recorded(record: bytes, scripts: dict[bytes, bytes]) -> bytes:
    """Return a RECORD with the hashes of scripts as they are now."""
    if b"/bin/" not in record:
        return record
    lines = record.split(b"\n")
    for index, line in enumerate(lines):
        name, comma, said = line.partition(b",")
        if comma and name.startswith(b"../") and said.startswith(b"sha256="):
            now = scripts.get(name[name.find(b"/bin/") :])
            lines[index] = name + b"," + now + (b"\r" if line.endswith(b"\r") else b"") if now else line
    return b"\n".join(lines)


def _write(path: Path, text: Text) -> None:
    with path.open("xb") as sink:
        sink.write(text.content)
        os.fchmod(sink.fileno(), text.mode)


def _remove_oldest(home: Path) -> None:
    there = [(path.stat().st_atime, path.parent) for path in home.glob(f"[!.]*/{MANIFEST}")]
    for _, folder in sorted(there, reverse=True)[MOST:]:
        remove_tree(folder)
