"""Reads .xz data from any place in it, by its index: blocks that nobody asks for are not decompressed.

Packages of gigabytes are written in blocks of 10 to 200 MB by xz with threads, and so by dpkg-deb. A reader that wants
the headers among static libraries saves most of the work (xz file format 1.2, sections 2 to 4).
"""

from __future__ import annotations

import bisect
import io
import itertools
import lzma
import os
import zlib
from typing import IO, cast

from bringup.formats.archive import CHUNK

_HEADER = 12
_MAX_INDEX = 16 << 20


class XzBlocks(io.RawIOBase):
    """One xz stream inside an open file, as a seekable file of what it holds."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        """Read the index.

        Args:
            file: open for reading; nobody else may move its position meanwhile.
            offset: where the stream starts in it, in bytes.
            size: length of the stream in bytes.

        Raises:
            ValueError: not a single whole xz stream; lzma.LZMAFile may still read it.
        """
        self._file = file
        self._header, blocks = _read_index(file, offset, size)
        self._sizes = [_padded(unpadded) for unpadded, _ in blocks]
        self._places = [offset + _HEADER + place for place in itertools.accumulate([0, *self._sizes])]
        self._starts = list(itertools.accumulate([0, *(length for _, length in blocks)]))
        self._at = 0
        self._recent: list[tuple[int, bytes]] = []  # the last two pieces: tarfile looks one byte back
        self._block = -1
        self._out = 0
        self._fed = 0
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)

    @property
    def blocks(self) -> int:
        """Number of blocks that can be skipped separately."""
        return len(self._sizes)

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Return the position in the decompressed data, in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the decompressed data; costs nothing until something is read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            msg = f"cannot seek to {base + offset}"
            raise ValueError(msg)
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill `buffer` as far as one piece goes; returns the number of bytes, 0 at the end."""
        view = memoryview(cast("bytearray", buffer))
        if self._at >= self._starts[-1] or view.nbytes == 0:
            return 0
        start, piece = self._piece()
        data = piece[self._at - start : self._at - start + len(view)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _piece(self) -> tuple[int, bytes]:
        """Return decompressed data that holds the current position, and where that data starts."""
        for start, piece in self._recent:
            if start <= self._at < start + len(piece):
                return start, piece
        block = bisect.bisect_right(self._starts, self._at) - 1
        if block != self._block or self._out > self._at:
            self._block, self._out, self._fed = block, self._starts[block], 0
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            self._decoder.decompress(self._header)
        while True:
            piece = self._decode()
            start, self._out = self._out, self._out + len(piece)
            self._recent = [*self._recent[-1:], (start, piece)]
            if self._at < self._out:
                return start, piece

    def _decode(self) -> bytes:
        """Return the next piece of the current block, never empty."""
        while True:
            fresh = b""
            if self._decoder.needs_input:
                self._file.seek(self._places[self._block] + self._fed)
                fresh = self._file.read(min(CHUNK, self._sizes[self._block] - self._fed))
                self._fed += len(fresh)
            piece = self._decoder.decompress(fresh, max_length=CHUNK)
            if piece:
                return piece
            if self._decoder.eof or (self._decoder.needs_input and self._fed >= self._sizes[self._block]):
                msg = "a block holds less than the index says"
                raise lzma.LZMAError(msg)


def _read_index(file: IO[bytes], offset: int, size: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the stream header and, for each block, its unpadded size and the size of what it holds."""
    file.seek(offset)
    header = file.read(_HEADER)
    file.seek(offset + max(size - _HEADER, 0))
    footer = file.read(_HEADER)
    length = (int.from_bytes(footer[4:8], "little") + 1) * 4
    whole = size >= 2 * _HEADER + length and header[:6] == b"\xfd7zXZ\0" and footer[10:] == b"YZ"
    if not whole or header[6:8] != footer[8:10] or length > _MAX_INDEX:
        msg = "not one whole xz stream"
        raise ValueError(msg)
    file.seek(offset + size - _HEADER - length)
    index = file.read(length)
    if index[:1] != b"\0" or zlib.crc32(index[:-4]) != int.from_bytes(index[-4:], "little"):
        msg = "damaged xz index"
        raise ValueError(msg)
    count, at = _number(index, 1)
    blocks = []
    for _ in range(min(count, length)):
        unpadded, at = _number(index, at)
        held, at = _number(index, at)
        blocks.append((unpadded, held))
    if len(blocks) != count or 2 * _HEADER + length + sum(_padded(one) for one, _ in blocks) != size:
        msg = "xz index does not fit the stream"
        raise ValueError(msg)
    return header, blocks


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where the next one starts."""
    value = 0
    for shift in range(0, 63, 7):
        byte = data[at] if at < len(data) else 0x80
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    msg = "damaged number in xz index"
    raise ValueError(msg)


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4
