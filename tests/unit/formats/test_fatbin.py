"""The containers here are made as nvcc 13.0 makes them; tests/integration compares with nvcc itself."""

import struct

import pytest
from elf_files import LZ4, ZSTD, A, F, fatbin, make_elf

from bringup.formats.elf import ElfError
from bringup.formats.fatbin import DeviceCode, describe, device_code, summarise


def codes(path):
    return [(code.kind, code.arch) for code in device_code(path)]


def test_kinds_and_architectures(tmp_path):
    data = fatbin(
        (2, 80, 0), (2, 90, A | ZSTD), (2, 90, LZ4), (2, 100, F), (1, 90, 0), (1, 120, A), (8, 90, A), (77, 90, 0)
    )
    path = make_elf(tmp_path / "a.so", sections={".nv_fatbin": data})
    assert codes(path) == [
        ("cubin", "sm_80"),
        ("cubin", "sm_90a"),
        ("cubin", "sm_90"),
        ("cubin", "sm_100f"),
        ("ptx", "compute_90"),
        ("ptx", "compute_120a"),
        ("lto", "lto_90a"),
        ("other", "sm_90"),
    ]
    bare = tmp_path / "a.fatbin"
    bare.write_bytes(data)
    assert codes(bare) == codes(path)


def test_several_containers_with_padding(tmp_path):
    data = bytes(8) + fatbin((2, 80, 0)) + bytes(24) + fatbin((2, 90, A)) + bytes(8)
    path = make_elf(tmp_path / "a.so", sections={".nv_fatbin": data})
    assert codes(path) == [("cubin", "sm_80"), ("cubin", "sm_90a")]


def test_a_payload_that_looks_like_a_container_is_not_one(tmp_path):
    path = make_elf(tmp_path / "a.so", sections={".nv_fatbin": fatbin((2, 80, 0, fatbin((2, 90, A))))})
    assert codes(path) == [("cubin", "sm_80")]


def test_relocatable_code_counts_where_nothing_was_linked(tmp_path):
    both = {".nv_fatbin": fatbin((2, 80, 0)), "__nv_relfatbin": fatbin((2, 90, A))}
    assert codes(make_elf(tmp_path / "linked.so", sections=both)) == [("cubin", "sm_80")]
    assert codes(make_elf(tmp_path / "a.o", kind=1, sections={"__nv_relfatbin": both["__nv_relfatbin"]})) == [
        ("cubin", "sm_90a")
    ]


def test_no_gpu_code(tmp_path):
    assert codes(make_elf(tmp_path / "a.so")) == []
    assert codes(make_elf(tmp_path / "b.so", sections={".nv_fatbin": bytes(64)})) == []


@pytest.mark.parametrize(
    ("abi", "flags", "note", "arch"),
    [
        (7, 0x5A055A, b"", "sm_90"),
        (7, 0x5A0D5A, b"", "sm_90a"),
        (8, 0x6005A04, b"\0ptxas -arch sm_90a -m 64\0", "sm_90a"),
        (8, 0x6006402, b"ptxas\0-v -arch sm_100f\0", "sm_100f"),
        (8, 0x6005004, b"", "sm_80"),
    ],
)
def test_bare_cubins(tmp_path, abi, flags, note, arch):
    path = make_elf(tmp_path / "k.cubin", machine=190, abi=abi, flags=flags, sections={".note.nv.tkinfo": note})
    assert codes(path) == [("cubin", arch)]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-10],
        lambda data: data[:4] + b"\2" + data[5:],
        lambda data: data[:8] + struct.pack("<Q", 2**60) + data[16:],
        lambda data: data[:20] + struct.pack("<I", 0) + data[24:],
        lambda data: data[:24] + struct.pack("<Q", 2**62) + data[32:],
        lambda data: b"something else" + data[20:40],
    ],
    ids=["cut", "version", "size", "entry header", "payload", "noise"],
)
def test_damage_is_named(tmp_path, change):
    path = make_elf(tmp_path / "a.so", sections={".nv_fatbin": change(fatbin((2, 90, A)))})
    with pytest.raises(ElfError, match=r"a\.so"):
        device_code(path)


def test_neither_elf_nor_fatbin(tmp_path):
    (tmp_path / "a.so").write_text("INPUT(-lx)\n")
    with pytest.raises(ElfError, match="neither"):
        device_code(tmp_path / "a.so")


def test_words():
    cubin, ptx = DeviceCode(kind="cubin", arch="sm_90a"), DeviceCode(kind="ptx", arch="compute_90")
    low = DeviceCode(kind="cubin", arch="sm_80")
    assert summarise([cubin, ptx, cubin]) == {"cubin": {"sm_90a": 2}, "ptx": {"compute_90": 1}}
    assert summarise([]) == {"cubin": {}, "ptx": {}}
    assert describe([cubin, low, ptx]) == "machine code for sm_80, sm_90a; PTX for compute_90"
    assert describe([ptx]) == "only PTX for compute_90"
    assert describe([]) == "no GPU code"
