"""Which GPU code a file holds: CUDA fat binaries in libraries, objects and executables, and bare cubins.

NVIDIA does not document the container. What is used here was read off files that nvcc 12.4.131 and 13.0.88 wrote, and
compared with `cuobjdump -lelf -lptx` on them and on published libraries (all integers little-endian):

    container  u32 magic 0xBA55ED50, u16 version 1, u16 header size, u64 size of what follows
    entry      u16 kind (1 PTX, 2 ELF, 8 LTO), u16 version, u32 header size, u64 size of the payload,
               u32 at 28: architecture as a number (90), u64 at 40: flags
    flags      0x2000 payload is LZ4, 0x8000 payload is zstd, 0x100000 architecture-specific ("a"), 0x200000
               family-specific ("f")

So the architecture with its suffix is in the header of an entry and nothing has to be decompressed.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bringup.formats.elf import MACHINE_CUDA, MAGIC, Elf, ElfError, mapped, parse_elf

LINKED, RELOCATABLE = ".nv_fatbin", "__nv_relfatbin"
FATBIN_MAGIC = struct.pack("<I", 0xBA55ED50)
FLAG_SPECIFIC, FLAG_FAMILY = 0x100000, 0x200000
KINDS = {1: "ptx", 2: "cubin", 8: "lto"}
PREFIXES = {"ptx": "compute", "cubin": "sm", "lto": "lto"}
_ENTRY_MIN = 48
# e_flags of a cubin: until CUDA 12 (ABI version 7) the architecture is the lowest byte and 0x800 means "a"; from
# CUDA 13 on (8) it is the second byte, and the suffix is only in the options that the tool notes.
_ABI_NEW, _OLD_SPECIFIC = 8, 0x800
_TOOL_NOTE = ".note.nv.tkinfo"
_ARCH_OPTION = re.compile(rb"-arch[ =]sm_(\d+[af]?)\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceCode:
    """One piece of GPU code.

    Attributes:
        kind: "cubin" is machine code, "ptx" is compiled by the driver at load, "lto" is for the linker,
            "other" is none of these.
        arch: "sm_90a" for machine code, "compute_90" for PTX.
    """

    kind: str
    arch: str


def device_code(path: Path) -> tuple[DeviceCode, ...]:
    """Return all GPU code in a library, object, executable, fatbin or cubin, in the order of the file.

    The cubin that a device link adds beside the compiler's counts too. A file without any code gives an empty tuple.

    Raises:
        ElfError: the file is none of these, or damaged.
    """
    with mapped(path) as data:
        if data[:4] == FATBIN_MAGIC:
            return tuple(_containers(data, 0, len(data), path))
        if data[:4] != MAGIC:
            msg = f"{path}: neither an ELF file nor a fat binary"
            raise ElfError(msg)
        elf = parse_elf(data, path, symbols=False)
        if elf.machine == MACHINE_CUDA:
            return (_cubin(data, elf),)
        parts = [section for section in elf.named(LINKED) if section.size]
        # Relocatable code is the device linker's input: what runs is what it made of it, where there is any.
        parts = parts or [section for section in elf.named(RELOCATABLE) if section.size]
        return tuple(code for part in parts for code in _containers(data, part.offset, part.offset + part.size, path))


def summarise(codes: Iterable[DeviceCode]) -> dict[str, dict[str, int]]:
    """Count by kind and architecture: {"cubin": {"sm_90a": 12}, "ptx": {"compute_90": 1}}; "cubin" and "ptx" always."""
    counted = Counter((code.kind, code.arch) for code in codes)
    summary: dict[str, dict[str, int]] = {"cubin": {}, "ptx": {}}
    for (kind, arch), count in sorted(counted.items(), key=lambda item: _arch_key(item[0][1])):
        summary.setdefault(kind, {})[arch] = count
    return summary


def describe(codes: Iterable[DeviceCode]) -> str:
    """Say in words what there is: "machine code for sm_80, sm_90a; PTX for compute_90"; "no GPU code" if none."""
    summary = summarise(codes)
    words = {"cubin": "machine code for", "ptx": "PTX for", "lto": "link-time code for", "other": "other code for"}
    parts = [f"{words[kind]} {', '.join(archs)}" for kind, archs in summary.items() if archs]
    text = "; ".join(parts) or "no GPU code"
    return f"only {text}" if summary["ptx"] and not summary["cubin"] else text


def _arch_key(arch: str) -> tuple[int, str]:
    digits = re.search(r"\d+", arch)
    return (int(digits[0]) if digits else 0, arch)


def _containers(data: mmap.mmap, start: int, end: int, path: Path) -> Iterator[DeviceCode]:
    at = start
    while (at := data.find(FATBIN_MAGIC, at, end)) >= 0:  # linkers pad between the containers of two objects
        _, version, header, size = struct.unpack_from("<IHHQ", data, at)
        stop = at + header + size
        if version != 1 or header < 16 or stop > end:
            msg = f"{path}: damaged fat binary at byte {at}"
            raise ElfError(msg)
        yield from _entries(data, at + header, stop, path)
        at = stop
    if start < end and data.find(FATBIN_MAGIC, start, end) < 0 and data[start:end].strip(b"\0"):
        msg = f"{path}: the section for GPU code holds something else"
        raise ElfError(msg)


def _entries(data: mmap.mmap, start: int, stop: int, path: Path) -> Iterator[DeviceCode]:
    at = start
    while at < stop:
        kind, _, header, size = struct.unpack_from("<HHIQ", data, at)
        if header < _ENTRY_MIN or at + header + size > stop:
            msg = f"{path}: damaged fat binary entry at byte {at}"
            raise ElfError(msg)
        arch, flags = struct.unpack_from("<I8xQ", data, at + 28)
        suffix = "a" if flags & FLAG_SPECIFIC else "f" if flags & FLAG_FAMILY else ""
        name = KINDS.get(kind, "other")
        yield DeviceCode(kind=name, arch=f"{PREFIXES.get(name, 'sm')}_{arch}{suffix}")
        at += header + size


def _cubin(data: mmap.mmap, elf: Elf) -> DeviceCode:
    for note in elf.named(_TOOL_NOTE):
        said = _ARCH_OPTION.search(data[note.offset : note.offset + note.size])
        if said:
            return DeviceCode(kind="cubin", arch=f"sm_{said[1].decode()}")
    if elf.abi_version >= _ABI_NEW:
        return DeviceCode(kind="cubin", arch=f"sm_{elf.flags >> 8 & 0xFF}")
    suffix = "a" if elf.flags & _OLD_SPECIFIC else ""
    return DeviceCode(kind="cubin", arch=f"sm_{elf.flags & 0xFF}{suffix}")
