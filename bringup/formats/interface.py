"""What other packages see of a wheel when they are built against it: headers, CMake files, symbols of libraries.

Two wheels of equal interface are interchangeable for what links them. Layouts of types stand in the headers, so headers
and names of symbols together are the binary interface; code inside of the libraries is not.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bringup.formats.archive import ArchiveError
from bringup.formats.elf import read_elf
from bringup.formats.record import RecordEntry, parse_record
from bringup.formats.wheel_read import open_wheel, read_text
from bringup.model.recipe import Interface


def wheel_interface(wheels: Sequence[Path], rule: Interface) -> str:
    """Return a hash of what is seen of some wheels of one package.

    Args:
        wheels: the package's wheels.
        rule: which of their files count, and how.

    Raises:
        ArchiveError: a wheel is damaged, or a rule fits none of its files.
        ElfError: a library cannot be read.
    """
    lines: list[str] = []
    for wheel in sorted(wheels, key=lambda one: one.name):
        with open_wheel(wheel) as archive:
            lines += _lines(archive, wheel, rule)
    for glob in (*rule.files, *rule.libraries):
        if not any(_fits(line.split("\0")[0], (glob,)) for line in lines):
            msg = f"{wheels[0].name}: no file is {glob}, which the recipe's [interface] names"
            raise ArchiveError(msg)
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]


def _lines(archive: zipfile.ZipFile, wheel: Path, rule: Interface) -> Iterator[str]:
    for entry in _record(archive):
        if _fits(entry.path, rule.libraries):
            yield f"{entry.path}\0{_symbols(archive, entry.path, wheel)}"
        elif _fits(entry.path, rule.files) and not _fits(entry.path, rule.without):
            yield f"{entry.path}\0{entry.digest}"


def _record(archive: zipfile.ZipFile) -> list[RecordEntry]:
    name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", name))
    return parse_record(read_text(archive, name))


def _symbols(archive: zipfile.ZipFile, name: str, wheel: Path) -> str:
    """Return a hash of a library's name and of the symbols that it offers."""
    with tempfile.TemporaryDirectory(prefix="bringup-interface-", dir=wheel.parent) as folder:
        elf = read_elf(Path(archive.extract(name, folder)))
    offered = sorted(f"{one.name}@{one.version}" for one in elf.symbols if one.defined)
    return hashlib.sha256("\n".join([elf.soname, *offered]).encode()).hexdigest()


def _fits(name: str, globs: Sequence[str]) -> bool:
    """Match as recipes do: `*` also matches slashes."""
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)
