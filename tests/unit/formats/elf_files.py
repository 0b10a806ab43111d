"""Writes small ELF files and fat binaries, so that readers can be tested without a compiler."""

import struct
from pathlib import Path

A, F, LZ4, ZSTD = 0x100000, 0x200000, 0x2000, 0x8000


class Strings:
    def __init__(self):
        self.data = b"\0"

    def add(self, text):
        self.data += text.encode() + b"\0"
        return len(self.data) - len(text.encode()) - 1


def fatbin(*entries):
    """One container; entries are (kind, arch, flags) or (kind, arch, flags, payload)."""
    body = b""
    for kind, arch, flags, *payload in entries:
        data = payload[0] if payload else b"x" * 24
        head = struct.pack("<HHIQIIHHI8xQ16x", kind, 0x101, 64, len(data), 0, 0, 8, 1, arch, 0x11 | flags)
        body += head + data
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def make_elf(
    path: Path,
    *,
    needed=(),
    soname="",
    rpath="",
    runpath="",
    defined=(),
    undefined=(),
    weak=(),
    needs=None,
    sections=None,
    kind=3,
    machine=62,
    flags=0,
    abi=0,
) -> Path:
    strings, names = Strings(), Strings()
    dynamic = b"".join(struct.pack("<qQ", 1, strings.add(name)) for name in needed)
    for tag, text in ((14, soname), (15, rpath), (29, runpath)):
        dynamic += struct.pack("<qQ", tag, strings.add(text)) if text else b""
    index, verneed, versions = 2, b"", {}
    for number, (library, wanted) in enumerate((needs or {}).items()):
        aux = b""
        for place, version in enumerate(wanted):
            step = 16 if place + 1 < len(wanted) else 0
            aux += struct.pack("<IHHII", 0, 0, index, strings.add(version), step)
            versions[version] = index
            index += 1
        last = number + 1 == len(needs or {})
        verneed += struct.pack("<HHIII", 1, len(wanted), strings.add(library), 16, 0 if last else 16 + len(aux)) + aux
    symbols, versym = bytes(24), struct.pack("<H", 0)
    for names_, bind, where in ((defined, 1, 7), (undefined, 1, 0), (weak, 2, 0)):
        for name in names_:
            plain, _, version = name.partition("@")
            symbols += struct.pack("<IBBHQQ", strings.add(plain), bind << 4, 0, where, 0, 0)
            versym += struct.pack("<H", versions.get(version, 1))
    rows = [
        (".dynsym", 11, symbols, 2, 1),
        (".dynstr", 3, strings.data, 0, 0),
        (".dynamic", 6, dynamic + bytes(16), 2, 0),
        (".gnu.version", 0x6FFFFFFF, versym, 1, 0),
        (".gnu.version_r", 0x6FFFFFFE, verneed, 2, len(needs or {})),
        *((name, 1, data, 0, 0) for name, data in (sections or {}).items()),
        (".bss", 8, b"", 0, 0),
    ]
    body, table = b"", bytes(64)
    for name, sort, data, link, info in rows:
        size = 1 << 40 if sort == 8 else len(data)
        table += struct.pack("<IIQQQQIIQQ", names.add(name), sort, 0, 0, 64 + len(body), size, link, info, 8, 0)
        body += data + bytes(-len(data) % 8)
    own = names.add(".shstrtab")
    table += struct.pack("<IIQQQQIIQQ", own, 3, 0, 0, 64 + len(body), len(names.data), 0, 0, 1, 0)
    body += names.data + bytes(-len(names.data) % 8)
    head = b"\x7fELF\2\1\1\0" + bytes([abi]) + bytes(7)
    head += struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, 0, 64 + len(body), flags, 64, 0, 0, 64, len(rows) + 2, len(rows) + 1
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + body + table)
    return path
