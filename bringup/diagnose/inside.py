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
    r"(?i)(?:.*(?:warning\b|classifiers)|(?:please consider|see https?:)|note: |hint: |-- |\*{4,}|!!|cause: "
    r"|\[std(?:out|err)\]|compilation terminated|=+$|\S*(?:gcc|g\+\+|clang|clang\+\+|nvcc|cc|c\+\+)(?:-\d+)? +-)"
)
# What build tools say of their steps, unless they say what is wrong.
_STEPS = re.compile(
    r"(?i)(?:running|copying|creating|adding|reading|writing|compiling|building|installing|collecting|looking|removing"
    r"|byte-compiling|skipping|checking|linking|generating|trying|using|loading|found|processing)\b"
)
_SURELY = re.compile(
    r"(?i)\b(?:requires?|required|cannot|can't|could not|unable|not found|missing|no module named|please install)"
    r"\b(?!/)"
)
_UV = re.compile(r"(?:error: |\u00d7 )?Failed to (?:download and )?build\b|Call to `\w")


def look_inside(found: Candidate) -> bool:
    """Move the root of a wrapper to the line of the wrapped output that says what is wrong; False if there is none."""
    if found.weight > Weight.WRAPPER or found.no != found.hit.no:
        return False
    inner = wrapped_line(found.hit)
    if inner is not None:
        found.no, found.line = inner
        found.weight = Weight.VAGUE
    return inner is not None


def wrapped_line(hit: Hit) -> tuple[int, Line] | None:
    """Return number and content of the line that says what is wrong in the output that a wrapper hands on."""
    last: tuple[int, Line] | None = None
    for no, line in _output(hit):
        if not line.core or not _is_plain(line) or _is_noise(line.core):
            continue
        if _SAYS.search(line.core):
            return no, line
        last = no, line
    return last if hit.line.core.startswith("error: subprocess-exited") else None


def _is_noise(core: str) -> bool:
    return _SAYS_NOTHING.match(core) is not None or (_STEPS.match(core) is not None and not _SURELY.search(core))


def _is_plain(line: Line) -> bool:
    shape = classify(line.core)
    return shape is None or shape.weight > Weight.WRAPPER


def _output(hit: Hit) -> Iterator[tuple[int, Line]]:
    core = hit.line.core
    if core.startswith("error: subprocess-exited"):
        yield from _between(hit)
    elif _UV.match(core):
        yield from _stderr(hit)
    elif core.startswith("FAILED: "):
        yield from _after_command(hit)
    elif re.match(r"g?make(?:\[\d+\])?: \*\*\* \[", core):
        yield from _above(hit)


def _stderr(hit: Hit) -> Iterator[tuple[int, Line]]:
    """Yield what uv shows of the program that failed, its errors first."""
    rows = list(_same(hit, hit.after[1:FAR], 1))
    marks = [at for at, (_, line) in enumerate(rows) if line.core == "[stderr]"]
    yield from rows[marks[0] + 1 :] if marks else rows


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
