"""The sections of an ELF file, 64-bit little-endian, and the string tables that they refer to.

What makes no sense is a `ValueError` or `struct.error` here; `bringup.formats.elf` says which file it was.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

_SHT_STRTAB, _SHT_NOBITS = 3, 8
_SHN_XINDEX = 0xFFFF
_MAX_SECTIONS = 1 << 20


class Section(NamedTuple):
    """A section; `offset` and `size` in bytes, checked to lie inside the file (size 0 for those without content)."""

    name: str
    kind: int
    offset: int
    size: int
    link: int
    info: int


def read_sections(data: mmap.mmap) -> tuple[Section, ...]:
    """Return all sections of a mapped file, in order."""
    table = struct.unpack_from("<Q", data, 0x28)[0]
    size, count, names_at = struct.unpack_from("<HHH", data, 0x3A)
    if table == 0:
        return ()
    if size != 64 or table + size > len(data):
        msg = "section table is outside of the file"
        raise ValueError(msg)
    first = struct.unpack_from("<IIQQQQIIQQ", data, table)
    count = count or first[5]  # more than 65,279 sections: the real numbers are in the first one
    names_at = first[6] if names_at == _SHN_XINDEX else names_at
    if count > _MAX_SECTIONS or table + size * count > len(data) or (count and names_at >= count):
        msg = f"section table of {count} entries is outside of the file"
        raise ValueError(msg)
    rows = list(struct.iter_unpack("<IIQQQQIIQQ", data[table : table + size * count]))
    names = _table(data, rows[names_at][4], rows[names_at][5]) if rows else b""
    sections = []
    for name, kind, _, _, offset, length, link, info, _, _ in rows:
        real = 0 if kind in (0, _SHT_NOBITS) else length
        if real and offset + real > len(data):
            msg = f"section at {offset} of {length} bytes is outside of the file, which has {len(data)}"
            raise ValueError(msg)
        sections.append(Section(text_at(names, name), kind, offset, real, link, info))
    return tuple(sections)


def _table(data: mmap.mmap, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        msg = f"table at {offset} of {size} bytes is outside of the file, which has {len(data)}"
        raise ValueError(msg)
    return data[offset : offset + size]


def text_at(table: bytes, offset: int) -> str:
    """Return the text at a place of a string table."""
    end = table.find(b"\0", offset)
    if offset < 0 or offset > len(table) or end < 0:
        if offset == 0 and not table:
            return ""
        msg = f"name at {offset} is outside of its table"
        raise ValueError(msg)
    return table[offset:end].decode("utf-8", "replace")


def linked_strings(data: mmap.mmap, sections: tuple[Section, ...], section: Section, length: int = 0) -> bytes:
    """Return the string table that a section refers to.

    A search path that was added later lies behind the section; `length` is what the dynamic entries say of the table.
    """
    if section.link >= len(sections) or sections[section.link].kind != _SHT_STRTAB:
        msg = f"section {section.name} refers to no string table"
        raise ValueError(msg)
    strings = sections[section.link]
    return _table(data, strings.offset, max(strings.size, length))


def first_section(sections: tuple[Section, ...], kind: int) -> Section | None:
    """Return the first section of a kind that has content."""
    return next((section for section in sections if section.kind == kind and section.size), None)
