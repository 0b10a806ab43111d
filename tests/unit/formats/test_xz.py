import io
import lzma
import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.formats.xz import XzBlocks


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def xz_of(*parts: bytes) -> bytes:
    """One stream with a block for each part, as `xz --block-size` writes it, out of streams of one block."""
    body, records, header = b"", b"", b""
    for part in parts:
        stream = lzma.compress(part, check=lzma.CHECK_CRC64, preset=0)
        length = (int.from_bytes(stream[-8:-4], "little") + 1) * 4
        index = stream[-12 - length : -12]
        header = stream[:12]
        block = stream[12 : -12 - length]
        unpadded = shift = 0
        for byte in index[2:]:
            unpadded |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        body += block
        records += number(unpadded) + number(len(part))
    index = b"\0" + number(len(parts)) + records
    index += bytes(-len(index) % 4)
    index += struct.pack("<I", zlib.crc32(index))
    tail = struct.pack("<I", len(index) // 4 - 1) + header[6:8]
    return header + body + index + struct.pack("<I", zlib.crc32(tail)) + tail + b"YZ"


RANDOM = random.Random(5)
PARTS = tuple(bytes(RANDOM.choices(b"abcdef\0", k=size)) for size in (7_000, 1, 30_000, 4096, 17))
WHOLE = b"".join(PARTS)
STREAM = xz_of(*PARTS)


def test_the_test_writes_real_xz():
    assert lzma.decompress(STREAM) == WHOLE


def test_reads_all_in_order():
    file = XzBlocks(io.BytesIO(b"before" + STREAM + b"after"), 6, len(STREAM))
    assert file.blocks == 5
    assert io.BufferedReader(file, 1000).read() == WHOLE


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) + 5), st.integers(0, 5000)), max_size=6))
def test_reads_from_any_place(reads):
    file = io.BufferedReader(XzBlocks(io.BytesIO(STREAM), 0, len(STREAM)), 4096)
    for at, size in reads:
        file.seek(at)
        assert file.read(size) == WHOLE[at : at + size]


def test_skipped_blocks_are_not_read():
    """The middle block is destroyed, and only who asks for it notices."""
    first = len(xz_of(PARTS[0])) // 2 + len(STREAM) // 3
    broken = STREAM[:first] + bytes(2000) + STREAM[first + 2000 :]
    file = io.BufferedReader(XzBlocks(io.BytesIO(broken), 0, len(broken)))
    assert file.read(1000) == WHOLE[:1000]
    file.seek(-100, io.SEEK_END)
    assert file.read() == WHOLE[-100:]
    file.seek(len(PARTS[0]) + 10)
    with pytest.raises(lzma.LZMAError):
        file.read(len(PARTS[2]))


@pytest.mark.parametrize("size", [0, 5, 23, 24, 40, len(STREAM) - 1])
def test_truncated(size):
    with pytest.raises(ValueError, match="xz"):
        XzBlocks(io.BytesIO(STREAM[:size]), 0, size)


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_a_damaged_index_is_refused(data):
    small = xz_of(b"a" * 50, b"b" * 60)
    at = data.draw(st.integers(len(small) - 36, len(small) - 1))
    bad = bytearray(small)
    bad[at] ^= data.draw(st.integers(1, 255))
    try:
        file = XzBlocks(io.BytesIO(bad), 0, len(bad))
        assert file.read(200) in (b"a" * 50, b"a" * 50 + b"b" * 60)
    except (ValueError, lzma.LZMAError) as exc:
        assert str(exc)  # noqa: PT017


def test_two_streams_are_for_another_reader():
    with pytest.raises(ValueError, match="does not fit"):
        XzBlocks(io.BytesIO(STREAM + STREAM), 0, 2 * len(STREAM))
