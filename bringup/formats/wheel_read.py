"""Wheels are read here: opened, unpacked and checked. Members are streamed, whatever their size."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bringup.errors import StorageError
from bringup.formats.archive import ArchiveError, Destination, Problem, copy_stream, member_parts
from bringup.formats.record import RecordEntry, mismatch, parse_record
from bringup.formats.wheel_name import WheelName, expand_tag, same_name, same_version

# What deflate makes of real libraries is 1 to 30 times smaller; only past the free size does the ratio count.
RATIO_FREE_BYTES = 256 << 20
RATIO_MAX = 100
MAX_TEXT = 64 << 20
# Signatures of RECORD cannot be listed in it.
UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")


@contextmanager
def open_wheel(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose directory was checked; also usable for other zips.

    Raises:
        ArchiveError: not a zip, damaged, or hostile: names outside of the archive, links, duplicates, overlapping or
            encrypted members, or members that unpack to many times the size of the archive.
        StorageError: the file cannot be read, or what the block writes cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_directory(archive, path)
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as exc:
        msg = f"{path.name}: damaged or not a zip archive: {exc}"
        raise ArchiveError(msg, hint="fetch or build it again") from exc
    except ValueError as exc:
        msg = f"{path.name}: damaged: {exc}"
        raise ArchiveError(msg, hint="fetch or build it again") from exc
    except OSError as exc:
        if exc.errno in (errno.EINVAL, None):  # a seek to before the start, as damaged offsets cause
            msg = f"{path.name}: damaged: {exc}"
            raise ArchiveError(msg) from exc
        msg = f"cannot read or unpack {path.name}: {exc.strerror or exc} ({exc.filename or path})"
        raise StorageError(msg) from exc


def unpack_wheel(wheel: Path, dest: Path) -> list[str]:
    """Unpack a wheel below `dest`, permissions kept; returns the names of its files in the order of the archive.

    Raises:
        ArchiveError: damaged or hostile, see `open_wheel`.
        StorageError: disk full or no permission.
    """
    written: list[str] = []
    with open_wheel(wheel) as archive:
        target = Destination(dest, archive=wheel)
        for info in archive.infolist():
            parts = member_parts(info.filename, archive=wheel)
            if info.is_dir():
                target.folder(parts)
                continue
            mode = (info.external_attr >> 16) & 0o777
            with archive.open(info) as source:
                copy_stream(source, target.place(parts), mode=mode or 0o644)
            written.append("/".join(parts))
    return written


def read_text(archive: zipfile.ZipFile, name: str) -> str:
    """Return a member as text.

    Raises:
        ArchiveError: there is no such member, or it is no UTF-8 text of a reasonable size.
    """
    where = Path(archive.filename or "archive").name
    try:
        info = archive.getinfo(name)
    except KeyError as exc:
        msg = f"{where}: {name} is missing"
        raise ArchiveError(msg) from exc
    if info.file_size > MAX_TEXT:
        msg = f"{where}: {name} is {info.file_size} bytes, too large for a text"
        raise ArchiveError(msg)
    try:
        return archive.read(info).decode("utf-8")
    except UnicodeDecodeError as exc:
        msg = f"{where}: {name} is not UTF-8"
        raise ArchiveError(msg) from exc


def header(text: str, key: str) -> list[str]:
    """Return the values of `key` in the header of a METADATA or WHEEL file."""
    values = []
    for line in text.splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == key.lower():
            values.append(value.strip())
    return values


def dist_info_of(names: list[str], wheel: str) -> str:
    """Return the name of the one `.dist-info` folder among file names.

    Raises:
        ArchiveError: there is none, or more than one.
    """
    folders = sorted({name.split("/")[0] for name in names if name.split("/")[0].endswith(".dist-info")})
    if len(folders) != 1:
        msg = (
            f"{wheel}: {'no .dist-info folder' if not folders else 'several .dist-info folders: ' + ', '.join(folders)}"
        )
        raise ArchiveError(msg)
    return folders[0]


def wheel_record(archive: zipfile.ZipFile, dist_info: str) -> dict[str, RecordEntry]:
    """Return RECORD by path.

    Raises:
        ArchiveError: missing or malformed.
    """
    text = read_text(archive, f"{dist_info}/RECORD")
    return {entry.path: entry for entry in parse_record(text)}


def check_wheel(path: Path) -> list[Problem]:
    """Return all that is wrong with a wheel: name, tags, METADATA, and every file against RECORD.

    Raises:
        ArchiveError: it cannot be read as a wheel at all.
    """
    name = WheelName.parse(path.name)
    with open_wheel(path) as archive:
        files = [info.filename for info in archive.infolist() if not info.is_dir()]
        dist_info = dist_info_of(files, path.name)
        return [*_check_metadata(archive, dist_info, name), *_check_record(archive, dist_info, files)]


def _check_metadata(archive: zipfile.ZipFile, dist_info: str, name: WheelName) -> Iterator[Problem]:
    metadata = read_text(archive, f"{dist_info}/METADATA")
    wheel = read_text(archive, f"{dist_info}/WHEEL")
    called = "".join(header(metadata, "Name")[:1])
    version = "".join(header(metadata, "Version")[:1])
    folder_name, _, folder_version = dist_info.removesuffix(".dist-info").rpartition("-")
    for what, text in (("Name", called), ("folder", folder_name)):
        if not text or not same_name(text, name.distribution):
            yield Problem(path=dist_info, why=f"{what} is {text!r} where the file name says {name.distribution!r}")
    for what, text in (("Version", version), ("folder's version", folder_version)):
        if not same_version(text, name.version):
            yield Problem(path=dist_info, why=f"{what} is {text!r} where the file name says {name.version!r}")
    tags = {one for tag in header(wheel, "Tag") for one in _expanded(tag)}
    if tags != set(name.tags):
        said = " ".join(sorted(tags)) or "none"
        yield Problem(path=f"{dist_info}/WHEEL", why=f"tags are {said} where the file name says {' '.join(name.tags)}")
    if not "".join(header(wheel, "Wheel-Version")[:1]).startswith("1."):
        yield Problem(path=f"{dist_info}/WHEEL", why="Wheel-Version is not 1.x")


def _expanded(tag: str) -> tuple[str, ...]:
    try:
        return expand_tag(tag)
    except ValueError:
        return (tag,)


def _check_record(archive: zipfile.ZipFile, dist_info: str, files: list[str]) -> Iterator[Problem]:
    record = wheel_record(archive, dist_info)
    unlisted = {f"{dist_info}/{name}" for name in UNLISTED}
    for path in files:
        entry = record.get(path)
        if path in unlisted:
            continue
        if entry is None:
            yield Problem(path=path, why="is not in RECORD")
            continue
        with archive.open(path) as source:
            why = mismatch(entry, source)
        if why:
            yield Problem(path=path, why=why)
    present = set(files)
    for path in record:
        if path not in present:
            yield Problem(path=path, why="is in RECORD, but not in the wheel")


def _check_directory(archive: zipfile.ZipFile, path: Path) -> None:
    seen: set[tuple[str, ...]] = set()
    total = 0
    end = -1
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        parts = member_parts(info.filename, archive=path)
        kind = stat.S_IFMT(info.external_attr >> 16)
        total += info.file_size
        why = ""
        if parts in seen or not parts:
            why = "is there twice" if parts else "has no name"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            why = "is a link or a device"
        elif info.flag_bits & 0x1:
            why = "is encrypted"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            why = f"is compressed by method {info.compress_type}, wheels are stored or deflated"
        elif info.header_offset < end:
            why = "overlaps with another member"
        if why:
            msg = f"{path.name}: member {info.filename[:200]!r} {why}"
            raise ArchiveError(msg, hint="do not use this file; fetch or build it again")
        seen.add(parts)
        end = info.header_offset + 30 + info.compress_size
    if total > RATIO_FREE_BYTES and total > RATIO_MAX * path.stat().st_size:
        msg = f"{path.name}: unpacks to {total} bytes, more than {RATIO_MAX} times its size"
        raise ArchiveError(msg, hint="do not use this file; fetch or build it again")
