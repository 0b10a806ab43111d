"""ELF files, 64-bit little-endian: what a library needs, offers and where its sections are (System V gABI, LSB).

The file is mapped and only the tables are read, so that a library of a gigabyte costs as much as its symbols.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bringup.errors import VerifyError
from bringup.formats.elf_sections import Section, first_section, linked_strings, read_sections, text_at

MAGIC = b"\x7fELF"
MACHINE_CUDA = 190

_SHT_DYNAMIC, _SHT_DYNSYM = 6, 11
_SHT_VERDEF, _SHT_VERNEED, _SHT_VERSYM = 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
_DT_NEEDED, _DT_STRSZ, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 1, 10, 14, 15, 29
_STB_WEAK = 2
_SHN_UNDEF = 0
_HIDDEN = 0x8000
# Names may share their ends, so all of them together may be longer than the table; a hostile file makes that endless.
_NAME_FACTOR = 16


class ElfError(VerifyError):
    """A file is no ELF file that can be read: damaged, truncated, 32-bit or big-endian."""


class Symbol(NamedTuple):
    """A dynamic symbol; `version` is "" without one, `defined` says whether this file offers it or wants it."""

    name: str
    version: str
    defined: bool
    weak: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Elf:
    """What was read from one file.

    Attributes:
        path: the file.
        kind: e_type; 1 relocatable, 2 executable, 3 shared object.
        machine: e_machine; 62 is x86-64, 183 AArch64, 190 a CUDA binary.
        os_abi: e_ident[EI_OSABI].
        abi_version: e_ident[EI_ABIVERSION].
        flags: e_flags.
        sections: all sections, in order.
        needed: DT_NEEDED, in order.
        soname: DT_SONAME, "" if there is none.
        rpath: DT_RPATH, split at colons.
        runpath: DT_RUNPATH, split at colons.
        symbols: dynamic symbols, in order; empty if they were not asked for.
        version_needs: library -> versions wanted of it, {"libc.so.6": ("GLIBC_2.2.5", "GLIBC_2.34")}.
    """

    path: Path
    kind: int
    machine: int
    os_abi: int
    abi_version: int
    flags: int
    sections: tuple[Section, ...]
    needed: tuple[str, ...]
    soname: str
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    symbols: tuple[Symbol, ...]
    version_needs: dict[str, tuple[str, ...]]

    def named(self, name: str) -> tuple[Section, ...]:
        """Return the sections of that name."""
        return tuple(section for section in self.sections if section.name == name)

    def defined(self) -> frozenset[str]:
        """Names of the symbols that this file offers."""
        return frozenset(symbol.name for symbol in self.symbols if symbol.defined)

    def undefined(self) -> frozenset[str]:
        """Names of the symbols that this file cannot be loaded without."""
        return frozenset(symbol.name for symbol in self.symbols if not symbol.defined and not symbol.weak)


def is_elf(path: Path) -> bool:
    """Whether a file starts as an ELF file does; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def read_elf(path: Path, *, symbols: bool = True) -> Elf:
    """Read the tables of an ELF file.

    Args:
        path: object, library, executable or CUDA binary.
        symbols: whether dynamic symbols are wanted too.

    Raises:
        ElfError: not a readable 64-bit little-endian ELF file.
    """
    with mapped(path) as data:
        return parse_elf(data, path, symbols=symbols)


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a file for reading; what goes wrong while its content is interpreted becomes an `ElfError`.

    Raises:
        ElfError: it cannot be opened, is empty, or the block met bytes that make no sense.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (struct.error, ValueError, IndexError, OverflowError) as exc:
        msg = f"{path}: damaged, truncated or empty: {exc}"
        raise ElfError(msg) from exc
    except OSError as exc:
        msg = f"{path}: cannot be read: {exc.strerror or exc}"
        raise ElfError(msg) from exc


def parse_elf(data: mmap.mmap, path: Path, *, symbols: bool = True) -> Elf:
    """Read the tables of a mapped ELF file; see `read_elf`."""
    if data[:4] != MAGIC:
        msg = f"{path}: not an ELF file"
        raise ElfError(msg)
    if data[4:6] != b"\2\1":
        msg = f"{path}: not a 64-bit little-endian ELF file"
        raise ElfError(msg)
    kind, machine = struct.unpack_from("<HH", data, 0x10)
    sections = read_sections(data)
    dynamic = _dynamic(data, sections)
    versions, needs = _versions(data, sections)
    return Elf(
        path=path,
        kind=kind,
        machine=machine,
        os_abi=data[7],
        abi_version=data[8],
        flags=struct.unpack_from("<I", data, 0x30)[0],
        sections=sections,
        needed=tuple(dynamic.get(_DT_NEEDED, ())),
        soname="".join(dynamic.get(_DT_SONAME, ())[:1]),
        rpath=_split(dynamic.get(_DT_RPATH, [])),
        runpath=_split(dynamic.get(_DT_RUNPATH, [])),
        symbols=tuple(_symbols(data, sections, versions)) if symbols else (),
        version_needs=needs,
    )


def _dynamic(data: mmap.mmap, sections: tuple[Section, ...]) -> dict[int, list[str]]:
    """Return the texts of the dynamic section by tag."""
    found: dict[int, list[str]] = {}
    section = first_section(sections, _SHT_DYNAMIC)
    if section is None:
        return found
    entries = list(struct.iter_unpack("<qQ", data[section.offset : section.offset + section.size // 16 * 16]))
    length = max((value for tag, value in entries if tag == _DT_STRSZ), default=0)
    strings = linked_strings(data, sections, section, length)
    for tag, value in entries:
        if tag == 0:
            break
        if tag in (_DT_NEEDED, _DT_SONAME, _DT_RPATH, _DT_RUNPATH):
            found.setdefault(tag, []).append(text_at(strings, value))
    return found


def _split(texts: list[str]) -> tuple[str, ...]:
    return tuple(part for text in texts for part in text.split(":") if part)


def _versions(data: mmap.mmap, sections: tuple[Section, ...]) -> tuple[dict[int, str], dict[str, tuple[str, ...]]]:
    """Return version names by index, and the versions wanted of each library."""
    names: dict[int, str] = {}
    needs: dict[str, tuple[str, ...]] = {}
    section = first_section(sections, _SHT_VERNEED)
    if section is not None:
        strings = linked_strings(data, sections, section)
        for at in _chain(data, section, section.offset, 12, section.info):
            _, count, file, aux = struct.unpack_from("<HHII", data, at)
            wanted = []
            for entry in _chain(data, section, at + aux, 12, count):
                _, _, index, name = struct.unpack_from("<IHHI", data, entry)
                names[index & ~_HIDDEN] = text_at(strings, name)
                wanted.append(names[index & ~_HIDDEN])
            needs[text_at(strings, file)] = tuple(wanted)
    section = first_section(sections, _SHT_VERDEF)
    if section is not None:
        strings = linked_strings(data, sections, section)
        for at in _chain(data, section, section.offset, 16, section.info):
            _, _, index, _, _, aux = struct.unpack_from("<HHHHII", data, at)
            if index & ~_HIDDEN > 1:  # 1 names the file itself
                names[index & ~_HIDDEN] = text_at(strings, struct.unpack_from("<I", data, at + aux)[0])
    return names, needs


def _chain(data: mmap.mmap, section: Section, start: int, next_at: int, count: int) -> Iterator[int]:
    """Yield the offsets of a chain of records, each of which says how far the next one is."""
    at = start
    for _ in range(min(count, section.size // 8)):
        if not section.offset <= at <= section.offset + section.size - 16:
            msg = f"section {section.name} has a record outside of itself"
            raise ValueError(msg)
        yield at
        step = struct.unpack_from("<I", data, at + next_at)[0]
        if step == 0:
            return
        at += step


def _symbols(data: mmap.mmap, sections: tuple[Section, ...], versions: dict[int, str]) -> Iterator[Symbol]:
    section = first_section(sections, _SHT_DYNSYM)
    if section is None:
        return
    strings = linked_strings(data, sections, section)
    count = section.size // 24
    table = first_section(sections, _SHT_VERSYM)
    indexes = list(struct.unpack_from(f"<{count}H", data, table.offset)) if table is not None else [0] * count
    budget = _NAME_FACTOR * len(strings) + (1 << 20)
    rows = struct.iter_unpack("<IBBHQQ", data[section.offset : section.offset + count * 24])
    for (name, info, _, where, _, _), index in zip(rows, indexes, strict=True):
        if name == 0:
            continue
        text = text_at(strings, name)
        budget -= len(text)
        if budget < 0:
            msg = "names of symbols overlap without end"
            raise ValueError(msg)
        yield Symbol(text, versions.get(index & ~_HIDDEN, ""), where != _SHN_UNDEF, info >> 4 == _STB_WEAK)
