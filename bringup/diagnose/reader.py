"""Stream a log of any size and stop only at lines that may matter.

Most lines of a build log are compile commands. They are passed over by plain substring searches over megabytes at a
time, which run at memory speed; regular expressions see only the lines that contain one of the trigger words. This is
why no other regular-expression engine is needed: what reaches Python's is little, and cut to `text.MAX_LINE`.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

from bringup.diagnose.prefix import SAMPLE, learn_prefix
from bringup.diagnose.text import Line, clean_line
from bringup.errors import UsageError

CHUNK = 2 << 20
LOOK_BACK = 16 << 10
LOOK_AHEAD = 48 << 10
LINES_BEFORE = 60
LINES_AFTER = 400
ENDLESS = 1 << 20
LAST_LINES = 40


class Stream(Protocol):
    """What is read: a file, standard input, an unpacking archive, bytes in memory."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return some bytes, empty at the end."""

    def close(self) -> None:
        """Close it."""


class Hit:
    """One line that contains a trigger word, with what stands around it.

    Attributes:
        no: line number, from 1.
        line: the cleaned line.
    """

    def __init__(self, no: int, line: Line, data: bytes, start: int, learned: re.Pattern[str] | None = None) -> None:
        self.no = no
        self.line = line
        self._learned = learned
        self._data = data
        self._start = start

    def keep(self) -> Hit:
        """Copy the surroundings, so that the megabytes that they are part of can go; returns self."""
        low = max(0, self._start - LOOK_BACK)
        self._data = self._data[low : self._start + LOOK_AHEAD]
        self._start -= low
        return self

    def below(self, count: int) -> Hit:
        """Return the line `count` lines further down as a hit of its own."""
        start = self._start
        for _ in range(count):
            start = self._data.find(b"\n", start) + 1
        return Hit(self.no + count, self.after[count], self._data, start, self._learned)

    def unwrapped(self, rows: int = 4) -> Hit:
        """Return the line as a hit with its whole sentence, which CMake breaks into lines of the terminal's width."""
        parts = [self.line.core]
        for line in self.after[1:rows]:
            if not line.core or line.stream != self.line.stream:
                break
            parts.append(line.core)
        whole = self.line._replace(core=" ".join(parts))
        return Hit(self.no, whole, self._data, self._start, self._learned)

    @cached_property
    def after(self) -> list[Line]:
        """The line itself and up to `LINES_AFTER` that follow."""
        rows = self._data[self._start : self._start + LOOK_AHEAD].split(b"\n", LINES_AFTER + 1)
        return [clean_line(row, self._learned) for row in rows[: LINES_AFTER + 1]]

    @cached_property
    def before(self) -> list[Line]:
        """Up to `LINES_BEFORE` lines that come before, in order."""
        return self.above(LINES_BEFORE)

    def above(self, count: int) -> list[Line]:
        """Return up to `count` lines that come before, in order, as far as `LOOK_BACK` reaches."""
        rows = self._data[max(0, self._start - LOOK_BACK) : self._start].rsplit(b"\n", count + 1)
        return [clean_line(row, self._learned) for row in rows[:-1][-count:]]


class Reader:
    """Yields the hits of a stream in order, the last `LAST_LINES` lines among them, and counts its lines.

    Attributes:
        alert: set by the caller once there is something that a success could undo; from then on (and in the block
            that is being read) lines with a `later` word are hits too, after the others of their block.
        lines: number of lines read so far.
        tail: the last lines of the stream, cleaned, once it was read to its end.
    """

    def __init__(
        self, stream: Stream, triggers: Sequence[bytes], *, foreign: Sequence[bytes] = (), later: Sequence[bytes] = ()
    ) -> None:
        self._stream = stream
        self._triggers = tuple(triggers)
        self._foreign = tuple(foreign)
        self._later = tuple(later)
        self._learned: re.Pattern[str] | None = None
        self.alert = False
        self.lines = 0
        self.tail: list[Line] = []

    def hits(self) -> Iterator[Hit]:
        """Read the stream to its end, yielding each line that has a trigger word."""
        data, done, number = b"", 0, 1
        for chunk, last in _chunks(self._stream):
            data += chunk
            if number == 1 and not last and len(data) < SAMPLE:
                continue
            if number == 1:
                self._learned = learn_prefix(data)
            limit = len(data) if last else data.rfind(b"\n", done, max(done, len(data) - LOOK_AHEAD)) + 1
            if limit <= done:
                continue
            number = yield from self._scan(data, done, limit, number, end=last)
            if last:
                self._finish(data, number)
                return
            cut = max(0, limit - LOOK_BACK)
            data, done = data[cut:], limit - cut

    def _scan(self, data: bytes, low: int, high: int, number: int, *, end: bool) -> Generator[Hit, None, int]:
        small = data[low:high].lower()
        words = self._triggers if small.isascii() else (*self._triggers, *self._foreign)
        hot = _lines_with(words, small)
        if end:
            hot |= _last_lines(small)
        yield from _numbered(data, low, hot, number, self._learned)
        if self.alert:
            later = {start: end for start, end in _lines_with(self._later, small).items() if start not in hot}
            yield from _numbered(data, low, later, number, self._learned)
        return number + data.count(b"\n", low, high)

    def _finish(self, data: bytes, number: int) -> None:
        self.lines = number - 1 if data.endswith(b"\n") or not data else number
        rows = [row for row in data[-LOOK_BACK:].split(b"\n") if row.strip()]
        self.tail = [clean_line(row, self._learned) for row in rows[-20:]]


def _lines_with(words: Sequence[bytes], small: bytes) -> dict[int, int]:
    """Return where the lines that have one of the words begin and end."""
    found: dict[int, int] = {}
    for word in words:
        position = small.find(word)
        while position >= 0:
            start = small.rfind(b"\n", 0, position) + 1
            end = small.find(b"\n", position)
            end = len(small) if end < 0 else end
            found[start] = end
            position = small.find(word, end)
    return found


def _last_lines(small: bytes) -> dict[int, int]:
    """Return where the last lines begin and end; what a log ends with matters without any word of error."""
    found: dict[int, int] = {}
    end = len(small)
    while end > 0 and len(found) < LAST_LINES:
        start = small.rfind(b"\n", 0, end) + 1
        if start < end:
            found[start] = end
        end = start - 1
    return found


def _numbered(
    data: bytes, low: int, lines: dict[int, int], number: int, learned: re.Pattern[str] | None
) -> Iterator[Hit]:
    position = low
    for start, end in sorted(lines.items()):
        number += data.count(b"\n", position, low + start)
        position = low + start
        yield Hit(number, clean_line(data[position : low + end], learned), data, position, learned)


def open_log(path: str) -> Stream:
    """Open a log for reading: `-` is standard input; gzip is recognised by its first bytes.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    if path == "-":
        return _unpacked(cast("io.BufferedReader", sys.stdin.buffer))
    try:
        return _unpacked(Path(path).open("rb"))
    except OSError as exc:
        msg = f"cannot read the log {path}: {exc.strerror or exc}"
        raise UsageError(msg, hint="give the path of a log file, or - for standard input") from exc


def _unpacked(buffered: io.BufferedReader) -> Stream:
    if not isinstance(buffered, io.BufferedReader):  # standard input that a caller has replaced
        buffered = io.BufferedReader(buffered)
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        unpacked = gzip.GzipFile(fileobj=buffered)
        unpacked.myfileobj = buffered  # type: ignore[assignment]  # what GzipFile.close() closes with itself
        return unpacked
    return buffered


def _chunks(stream: Stream) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks and whether each is the last; of a line beyond `ENDLESS` bytes the rest is left out."""
    run = 0
    while True:
        try:
            chunk = stream.read1(CHUNK)
        except (OSError, EOFError, zlib.error):  # a damaged archive ends where the damage is
            chunk = b""
        if not chunk:
            yield b"", True
            return
        if run > ENDLESS:
            cut = chunk.find(b"\n")
            if cut < 0:
                continue
            chunk, run = chunk[cut:], 0
        last = chunk.rfind(b"\n")
        run = run + len(chunk) if last < 0 else len(chunk) - last - 1
        yield chunk, False
