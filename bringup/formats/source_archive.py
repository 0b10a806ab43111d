"""Unpacks source archives: tar (gz, bz2, xz) and zip, safe against members that point outside."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

from bringup.formats.archive import ArchiveError, Destination, copy_stream, member_parts
from bringup.formats.deb import write_member

MAX_UNPACKED = 64 << 30


def unpack_archive(archive: Path, dest: Path, *, strip: int = 1) -> int:
    """Unpack an archive below `dest` and return how many files and links were written.

    Args:
        archive: tar or zip file; the content decides, not the name.
        dest: folder to unpack into.
        strip: leading components to remove from each name; members with fewer are left out.

    Raises:
        ArchiveError: damaged, hostile, or neither tar nor zip.
        StorageError: disk full or no permission.
    """
    try:
        if zipfile.is_zipfile(archive):
            return _unpack_zip(archive, dest, strip)
        return _unpack_tar(archive, dest, strip)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeError) as exc:
        msg = f"{archive.name}: damaged or not an archive: {exc}"
        raise ArchiveError(msg, hint="remove it from the cache and run again; it is fetched anew") from exc


def _unpack_tar(archive: Path, dest: Path, strip: int) -> int:
    written = total = 0
    target = Destination(dest, archive=archive)
    with tarfile.open(archive) as tar:
        for member in tar:
            total += member.size if member.isreg() else 0
            if total > MAX_UNPACKED:
                msg = f"{archive.name}: unpacks to more than {MAX_UNPACKED >> 30} GiB"
                raise ArchiveError(msg)
            parts = member_parts(member.name, archive=archive)[strip:]
            if not parts or member.type in (tarfile.XGLTYPE, tarfile.XHDTYPE):
                continue
            if member.islnk():
                member.linkname = "/".join(member_parts(member.linkname, archive=archive)[strip:])
            written += write_member(tar, member, parts, target, archive)
    return written


def _unpack_zip(archive: Path, dest: Path, strip: int) -> int:
    written = 0
    target = Destination(dest, archive=archive)
    with zipfile.ZipFile(archive) as box:
        if sum(info.file_size for info in box.infolist()) > MAX_UNPACKED:
            msg = f"{archive.name}: unpacks to more than {MAX_UNPACKED >> 30} GiB"
            raise ArchiveError(msg)
        for info in box.infolist():
            parts = member_parts(info.filename, archive=archive)[strip:]
            if not parts:
                continue
            if info.is_dir():
                target.folder(parts)
                continue
            mode = info.external_attr >> 16 & 0o777 or 0o644
            with box.open(info) as source:
                copy_stream(source, target.place(parts), mode=mode)
            written += 1
    return written
