"""Debian binary packages, read without dpkg and without root.

A .deb is an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*` (deb(5)). The tar is streamed: a package
of a gigabyte of which only the headers are wanted costs the decompression of the blocks that hold them, and no disk.
"""

from __future__ import annotations

import errno
import gzip
import importlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from bringup.errors import StorageError
from bringup.formats.archive import CHUNK, ArchiveError, Destination, copy_stream, member_parts
from bringup.formats.xz import XzBlocks

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
MAX_UNPACKED = 64 << 30
MAX_CONTROL = 4 << 20


def unpack_deb(deb: Path, dest: Path, *, keep: Callable[[str], bool] | None = None) -> list[str]:
    """Unpack the files of a package below `dest`.

    Absolute links become relative ones inside `dest`, as if `dest` were the root of the system. Permission bits are
    kept except set-uid, set-gid and sticky; owners are not.

    Args:
        deb: the package.
        dest: folder to unpack into; may hold other packages already.
        keep: says for a name such as `usr/include/cuda.h` whether it is wanted; everything is if None.

    Returns:
        The names of the files and links written, in the order of the archive.

    Raises:
        ArchiveError: damaged, truncated or hostile package, or a compression that this Python cannot read.
        StorageError: disk full or no permission.
    """
    written: list[str] = []
    total = 0
    with _errors(deb), _open_tar(deb, "data.tar") as tar:
        target = Destination(dest, archive=deb)
        for member in tar:
            total += member.size if member.isreg() else 0
            if total > MAX_UNPACKED:
                msg = f"{deb.name}: unpacks to more than {MAX_UNPACKED >> 30} GiB"
                raise ArchiveError(msg)
            parts = member_parts(member.name, archive=deb)
            name = "/".join(parts)
            if not parts or (keep is not None and not keep(name)):
                continue
            if write_member(tar, member, parts, target, deb):
                written.append(name)
        _expect_end(tar, deb)
    return written


def read_control(deb: Path) -> dict[str, str]:
    """Return the fields of a package's control file: `Package`, `Version`, `Depends`, ...

    Raises:
        ArchiveError: damaged package, or one without a control file.
    """
    with _errors(deb), _open_tar(deb, "control.tar") as tar:
        for member in tar:
            if member.isreg() and member.name.removeprefix("./") == "control":
                source = tar.extractfile(member)
                text = source.read(MAX_CONTROL) if source is not None else b""
                return parse_control(text.decode("utf-8", "replace"))
    msg = f"{deb.name}: no control file inside"
    raise ArchiveError(msg)


def parse_control(text: str) -> dict[str, str]:
    """Return the fields of one Debian control paragraph; continuation lines keep their newline."""
    fields: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            if last:
                fields[last] += "\n" + line.strip()
        elif ":" in line:
            last, _, value = line.partition(":")
            fields[last] = value.strip()
        elif not line.strip() and fields:
            break
    return fields


def write_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[str, ...], to: Destination, deb: Path
) -> bool:
    """Write one member; True for a file or link, False for a folder."""
    if member.isdir():
        to.folder(parts)
        return False
    if member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        copy_stream(source, to.place(parts), mode=member.mode, mtime=max(0.0, float(member.mtime)))
    elif member.issym():
        _write_link(member.linkname, parts, to, deb)
    elif member.islnk():
        _write_hard_link(member.linkname, parts, to, deb)
    else:
        msg = f"{deb.name}: member {'/'.join(parts)} is a device or a pipe"
        raise ArchiveError(msg)
    return True


def _write_link(link: str, parts: tuple[str, ...], to: Destination, deb: Path) -> None:
    parent = to.folder(parts[:-1])
    inside = parent.relative_to(to.root)
    # Normalised first: with `x -> .` on disk, `x/..` is not where it seems to be.
    full = os.path.normpath(link.lstrip("/") if link.startswith("/") else inside / link)
    if not link or "\0" in link or full == ".." or full.startswith("../"):
        msg = f"{deb.name}: link {'/'.join(parts)} -> {link[:200]} leads outside of the package"
        raise ArchiveError(msg)
    path = parent / parts[-1]
    if path.is_dir() and not path.is_symlink():
        return  # as dpkg: a folder that is there already stays
    to.place(parts).symlink_to(os.path.relpath(full, inside))


def _write_hard_link(link: str, parts: tuple[str, ...], to: Destination, deb: Path) -> None:
    origin_parts = member_parts(link, archive=deb)
    if not origin_parts or origin_parts == parts:
        msg = f"{deb.name}: hard link {'/'.join(parts)} to itself or to nothing"
        raise ArchiveError(msg)
    origin = to.folder(origin_parts[:-1]) / origin_parts[-1]
    if origin.is_symlink() or not origin.is_file():
        msg = f"{deb.name}: {'/'.join(parts)} is a hard link to {link[:200]}, which was not unpacked"
        raise ArchiveError(msg, hint="keep both names")
    os.link(origin, to.place(parts))


@contextmanager
def _open_tar(deb: Path, prefix: str) -> Iterator[tarfile.TarFile]:
    with deb.open("rb") as file:
        for name, offset, size in _ar_members(file, deb):
            if name == prefix or name.startswith(f"{prefix}."):
                suffix = name.removeprefix(prefix)
                blocks = _in_blocks(file, offset, size) if suffix == ".xz" else None
                if blocks is not None:
                    with tarfile.open(fileobj=blocks, mode="r:", errorlevel=2) as tar:
                        yield tar
                    return
                raw = io.BufferedReader(_Window(file, offset, size), CHUNK)
                stream = _decompressed(raw, suffix, deb)
                with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, errorlevel=2) as tar:
                    yield tar
                return
    msg = f"{deb.name}: no {prefix} inside; this is not a Debian package"
    raise ArchiveError(msg)


def _in_blocks(file: IO[bytes], offset: int, size: int) -> IO[bytes] | None:
    """Return the data as a file that skips blocks without reading them; None where there are none to skip."""
    try:
        blocks = XzBlocks(file, offset, size)
    except ValueError:
        return None  # damaged, which the ordinary reader says better, or several streams, which it can read
    return cast("IO[bytes]", io.BufferedReader(blocks, 1 << 17)) if blocks.blocks > 1 else None


def _ar_members(file: IO[bytes], deb: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of the members of an ar archive."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(AR_MAGIC)) != AR_MAGIC:
        msg = f"{deb.name}: does not start like a Debian package"
        raise ArchiveError(msg, hint="was an error page saved under this name?")
    at = len(AR_MAGIC)
    while at < end:
        file.seek(at)
        header = file.read(AR_HEADER)
        size_text = header[48:58].strip()
        if len(header) < AR_HEADER or header[58:] != b"`\n" or not size_text.isdigit():
            msg = f"{deb.name}: damaged archive header at byte {at}"
            raise ArchiveError(msg)
        size = int(size_text)
        if at + AR_HEADER + size > end:
            msg = f"{deb.name}: truncated, {at + AR_HEADER + size - end} bytes are missing"
            raise ArchiveError(msg, hint="fetch it again")
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), at + AR_HEADER, size
        at += AR_HEADER + size + size % 2


class _Window(io.RawIOBase):
    """A part of an open file, as a file of its own."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file = file
        self._left = size
        file.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._file.read(min(len(view), self._left))
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)


def _decompressed(raw: io.BufferedReader[_Window], suffix: str, deb: Path) -> IO[bytes]:
    if suffix == "":
        return cast("IO[bytes]", raw)
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if suffix in (".xz", ".lzma"):
        return cast("IO[bytes]", lzma.LZMAFile(raw))
    if suffix == ".zst":
        return _zstd(raw, deb)
    msg = f"{deb.name}: data is compressed as {suffix[:20]!r}, which is not known"
    raise ArchiveError(msg)


def _zstd(raw: io.BufferedReader[_Window], deb: Path) -> IO[bytes]:
    for module, opener in (("compression.zstd", "ZstdFile"), ("zstandard", "open")):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        return cast("IO[bytes]", getattr(found, opener)(raw, "rb"))
    msg = f"{deb.name}: compressed with zstd, which this Python cannot read"
    raise ArchiveError(msg, hint="install the package `zstandard`, or use Debian's packages, which use xz")


def _expect_end(tar: tarfile.TarFile, deb: Path) -> None:
    """Refuse what tarfile takes for an end but is not one: a damaged header ends its iteration in silence."""
    rest = tar.fileobj
    assert rest is not None
    while block := rest.read(CHUNK):
        if block.strip(b"\0"):
            msg = f"{deb.name}: damaged tar header inside"
            raise ArchiveError(msg, hint="fetch it again")


@contextmanager
def _errors(deb: Path) -> Iterator[None]:
    """Turn what the libraries below raise on bad input, and what the disk says, into errors of ours."""
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as exc:
        msg = f"{deb.name}: damaged or truncated: {exc}"
        raise ArchiveError(msg, hint="fetch it again") from exc
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP, None):
            msg = f"{deb.name}: a member cannot be written: {exc}"
            raise ArchiveError(msg) from exc
        msg = f"cannot unpack {deb.name}: {exc.strerror or exc} ({exc.filename or deb})"
        raise StorageError(msg) from exc
