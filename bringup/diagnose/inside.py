"""What a program wrote before a tool said only that it failed, where no line of it has the form of an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bringup.diagnose.blocks import Candidate
from bringup.diagnose.reader import Hit
from bringup.diagnose.shapes import Weight, classify
from bringup.diagnose.text import Line

FAR = 300
ABOVE = 14

_PIP_BEGIN = re.compile(r"\[\d+ lines? of output\]")
_PIP_END = "[end of output]"
_NEXT_STEP = re.compile(r"\[\d+/\d+\] |ninja: |FAILED: |g?make(?:\[\d+\])?: ")
_SAYS = re.compile(
    r"(?i)\b(?:not|cannot|can't|could ?n[o']t|unable|no|fail(?:ed|s|ure)?|missing|unknown|required|requires|removed"
    r"|invalid|error|fatal|without|unsupported|unrecogni[sz]ed|deprecated|denied|refused|need(?:s|ed)?|must|too old"
    r"|abort(?:ed)?)\b"
)
_SAYS_NOTHING = re.compile(
    r"(?i)(?:.*(?:warning\b|classifiers)|(?:running|copying|creating|adding|reading|writing|compiling|building|installing|collecting"
    r"|looking|removing|byte-compiling|skipping|checking|linking|generating|trying|using|loading|found|processing"
    r"|please consider|see https?:)\b|note: |-- |\*{4,}|!!|compilation terminated|=+$"
    r"|\S*(?:gcc|g\+\+|clang|clang\+\+|nvcc|cc|c\+\+)(?:-\d+)? +-)"
)


def look_inside(found: Candidate) -> None:
    """Move the root of a wrapper to the line of the wrapped output that says what is wrong, if there is one."""
    if found.weight > Weight.WRAPPER or found.no != found.hit.no:
        return
    for no, line in _output(found.hit):
        if line.core and _SAYS.search(line.core) and not _SAYS_NOTHING.match(line.core) and _is_plain(line):
            found.no, found.line = no, line
            return


def _is_plain(line: Line) -> bool:
    shape = classify(line.core)
    return shape is None or shape.weight > Weight.WRAPPER


def _output(hit: Hit) -> Iterator[tuple[int, Line]]:
    core = hit.line.core
    if core.startswith("error: subprocess-exited"):
        yield from _between(hit)
    elif core.startswith("FAILED: "):
        yield from _after_command(hit)
    elif re.match(r"g?make(?:\[\d+\])?: \*\*\* \[", core):
        yield from _above(hit)


def _between(hit: Hit) -> Iterator[tuple[int, Line]]:
    """Yield what pip shows of the program that failed."""
    inside = False
    for no, line in _same(hit, hit.after[1:FAR], 1):
        if _PIP_END in line.core:
            return
        if inside:
            yield no, line
        inside = inside or _PIP_BEGIN.search(line.core) is not None


def _after_command(hit: Hit) -> Iterator[tuple[int, Line]]:
    """Yield what stands below `FAILED:` and the command that follows it, up to the next step."""
    for no, line in _same(hit, hit.after[2:FAR], 2):
        if _NEXT_STEP.match(line.core):
            return
        yield no, line


def _above(hit: Hit) -> Iterator[tuple[int, Line]]:
    """Yield the lines above make's, the nearest first."""
    rows = [line for line in hit.before[-ABOVE:] if line.stream == hit.line.stream]
    for back, line in enumerate(reversed(rows), 1):
        if _NEXT_STEP.match(line.core):
            return
        yield hit.no - back, line


def _same(hit: Hit, rows: Sequence[Line], first: int) -> Iterator[tuple[int, Line]]:
    for offset, line in enumerate(rows, first):
        if line.stream == hit.line.stream:
            yield hit.no + offset, line
