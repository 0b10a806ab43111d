"""Give a Linux program a library search path of its own, so that it runs from any folder without LD_LIBRARY_PATH.

Debian's programs expect their libraries in the system's folders. A DT_RPATH entry is added in one of the spare slots
that the linker leaves in the dynamic section, and its text is put into the unused rest of the page behind the string
table. Nothing else in the file moves. 64-bit little-endian ELF only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import PrepareError
from bringup.system.fs import storage_errors

PAGE = 4096
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_STRTAB, DT_STRSZ, DT_RPATH, DT_RUNPATH = 0, 5, 10, 15, 29
PHDR = struct.Struct("<IIQQQQQQ")
DYN = struct.Struct("<qQ")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Segment:
    kind: int
    header: int
    offset: int
    address: int
    size: int


def set_rpath(program: Path, rpath: str) -> None:
    """Add a search path, "$ORIGIN/../lib", to a program or library; it also serves libraries loaded later.

    The file is replaced and not written in place, because it may be linked elsewhere.

    Raises:
        PrepareError: not such an ELF file, or it has no room (no spare entry, no gap behind the string table).
        StorageError: disk full or no permission.
    """
    with storage_errors(program, every=True):
        data = bytearray(program.read_bytes())
        mode = program.stat().st_mode & 0o777
    try:
        _patch(data, rpath)
    except (struct.error, IndexError, StopIteration) as exc:
        msg = f"{program.name}: a library path cannot be added: damaged or unusual ELF file"
        raise PrepareError(msg) from exc
    except ValueError as exc:
        msg = f"{program.name}: a library path cannot be added: {exc}"
        raise PrepareError(msg) from exc
    with storage_errors(program, every=True):
        fresh = program.with_name(f".{program.name}.new")
        fresh.write_bytes(data)
        fresh.chmod(mode)
        fresh.replace(program)


def _patch(data: bytearray, rpath: str) -> None:
    if data[:6] != b"\x7fELF\x02\x01":
        msg = "not a 64-bit little-endian ELF file"
        raise ValueError(msg)
    segments = list(_segments(data))
    dynamic = next(segment for segment in segments if segment.kind == PT_DYNAMIC)
    entries = [
        (at, *DYN.unpack_from(data, at))
        for at in range(dynamic.offset, dynamic.offset + dynamic.size - DYN.size + 1, DYN.size)
    ]
    tags = [tag for _, tag, _ in entries]
    if DT_RPATH in tags or DT_RUNPATH in tags:
        msg = "it has one already"
        raise ValueError(msg)
    end = tags.index(DT_NULL)
    if end + 1 >= len(tags):
        msg = "no spare entry in its dynamic section"
        raise ValueError(msg)
    table = next(value for _, tag, value in entries if tag == DT_STRTAB)
    text = rpath.encode() + b"\0"
    address = _place(data, segments, table, text)
    for at, tag, value in entries[:end]:
        if tag == DT_STRSZ:
            DYN.pack_into(data, at, DT_STRSZ, max(value, address - table + len(text)))
    DYN.pack_into(data, entries[end][0], DT_RPATH, address - table)


def _place(data: bytearray, segments: list[_Segment], table: int, text: bytes) -> int:
    """Write the text behind the segment that holds the string table; return its address when loaded."""
    loaded = [segment for segment in segments if segment.kind == PT_LOAD]
    home = next(segment for segment in loaded if segment.address <= table < segment.address + segment.size)
    end = home.offset + home.size
    room = -end % PAGE
    following = min((segment.offset for segment in loaded if segment.offset >= end), default=end)
    if len(text) > min(room, following - end) or any(data[end : end + len(text)]):
        msg = f"no {len(text)} free bytes behind its string table"
        raise ValueError(msg)
    data[end : end + len(text)] = text
    for field in (32, 40):  # p_filesz and p_memsz
        struct.pack_into("<Q", data, home.header + field, home.size + len(text))
    return home.address + home.size


def _segments(data: bytearray) -> list[_Segment]:
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = []
    for at in range(start, start + size * count, size):
        kind, _, offset, address, _, in_file, _, _ = PHDR.unpack_from(data, at)
        found.append(_Segment(kind=kind, header=at, offset=offset, address=address, size=in_file))
    return found
