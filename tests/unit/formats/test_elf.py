import contextlib
import struct
import sys
import sysconfig
from pathlib import Path

import pytest
from elf_files import fatbin, make_elf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.formats.elf import ElfError, is_elf, read_elf
from bringup.formats.fatbin import device_code


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_elf(
        tmp_path / "libk.so",
        needed=["libtorch.so", "libc.so.6"],
        soname="libk.so.1",
        runpath="$ORIGIN:$ORIGIN/../lib",
        defined=["_ZN2my1fEv"],
        undefined=["memcpy@GLIBC_2.14", "_ZN3c105ErrorE"],
        weak=["__gmon_start__"],
        needs={"libc.so.6": ["GLIBC_2.2.5", "GLIBC_2.14"], "libm.so.6": ["GLIBC_2.29"]},
        sections={".nv_fatbin": fatbin((2, 90, 0x100000))},
    )


def test_reads_the_tables(library):
    elf = read_elf(library)
    assert (elf.kind, elf.machine) == (3, 62)
    assert elf.needed == ("libtorch.so", "libc.so.6")
    assert elf.soname == "libk.so.1"
    assert elf.runpath == ("$ORIGIN", "$ORIGIN/../lib")
    assert elf.rpath == ()
    assert elf.defined() == {"_ZN2my1fEv"}
    assert elf.undefined() == {"memcpy", "_ZN3c105ErrorE"}
    assert [(symbol.name, symbol.weak) for symbol in elf.symbols if symbol.weak] == [("__gmon_start__", True)]
    assert {symbol.name: symbol.version for symbol in elf.symbols}["memcpy"] == "GLIBC_2.14"
    assert elf.version_needs == {"libc.so.6": ("GLIBC_2.2.5", "GLIBC_2.14"), "libm.so.6": ("GLIBC_2.29",)}
    assert elf.named(".nv_fatbin")[0].size == len(fatbin((2, 90, 0)))
    assert elf.named(".bss")[0].size == 0, "no content in the file, however large in memory"
    assert read_elf(library, symbols=False).symbols == ()


def test_not_elf(tmp_path):
    for content, why in (
        (b"", "empty"),
        (b"INPUT(-lx)\n", "not an ELF"),
        (b"\x7fELF\1\1" + bytes(60), "64-bit little"),
    ):
        path = tmp_path / "x.so"
        path.write_bytes(content)
        with pytest.raises(ElfError, match=why):
            read_elf(path)
    with pytest.raises(ElfError, match="No such file"):
        read_elf(tmp_path / "none.so")
    assert not is_elf(tmp_path / "none.so")


def test_every_truncation_is_named(library):
    whole = library.read_bytes()
    for size in range(0, len(whole), 13):
        library.write_bytes(whole[:size])
        with pytest.raises(ElfError, match=r"libk\.so"):
            read_elf(library)


def test_endless_chains_and_names_end(tmp_path):
    looping = make_elf(tmp_path / "loop.so", needs={"libc.so.6": ["GLIBC_2.2.5"] * 3})
    data = bytearray(looping.read_bytes())
    at = data.index(struct.pack("<HH", 1, 3))
    data[at + 2 : at + 4] = b"\xff\xff"
    data[at + 16 + 12 : at + 16 + 16] = struct.pack("<I", 0xFFFFFFF0)
    looping.write_bytes(data)
    with pytest.raises(ElfError, match="outside of itself"):
        read_elf(looping)
    crowd = make_elf(tmp_path / "crowd.so", defined=["n" * 60000, *[""] * 2000])
    data = bytearray(crowd.read_bytes())
    for number in range(2000):  # all names are the long one
        data[64 + 24 * (number + 2) : 64 + 24 * (number + 2) + 4] = struct.pack("<I", 1)
    crowd.write_bytes(data)
    with pytest.raises(ElfError, match="overlap without end"):
        read_elf(crowd)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_always_named(library, tmp_path, data):
    whole = bytearray(library.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, whole[at] ^ 1]))
    bad = tmp_path / "bad.so"
    bad.write_bytes(whole)
    for read in (read_elf, device_code):
        with contextlib.suppress(ElfError):
            read(bad)


def test_agrees_with_the_interpreter_itself():
    """A real file: this Python or its library wants glibc and offers its C API."""
    shared = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY") or "")
    path = shared if shared.suffix != ".a" and shared.is_file() else Path(sys.executable).resolve()
    elf = read_elf(path)
    assert "libc.so.6" in elf.needed
    assert any(version.startswith("GLIBC_") for version in elf.version_needs["libc.so.6"])
    assert "PyLong_FromLong" in elf.defined()
