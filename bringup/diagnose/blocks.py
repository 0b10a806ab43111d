"""From the line where an error begins to the line that names its cause.

CMake puts the message below the header, Python puts it below the frames, cargo and uv put the innermost cause last.
Each function here reads one such form from the lines that follow a hit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bringup.diagnose.reader import Hit
from bringup.diagnose.shapes import Shape, Weight, classify
from bringup.diagnose.text import Line
from bringup.model.knowledge import Category


@dataclass(slots=True)
class Candidate:
    """A possible root cause.

    Attributes:
        hit: where the block begins.
        kind: name of the shape.
        weight: what the shape says about the cause.
        category: what the shape suggests.
        no: number of the root line.
        line: the root line.
        end: number of the last line of the block.
        frames: numbers of the first and the last line of source that a traceback shows.
        link: "cause" or "context" if a traceback says that it followed from the one before it.
    """

    hit: Hit
    kind: str
    weight: Weight
    category: Category
    no: int
    line: Line
    end: int
    frames: tuple[int, int] = (0, -1)
    link: str = ""


_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w{0,80}\.){0,10}[A-Za-z_]\w{0,80}(?::\s|:?$)")
_INNER = re.compile(r"(?:[A-Za-z_]\w{0,80}\.){0,10}[A-Z]\w{3,80}: \S")  # an exception within the message of another
_LINK_CAUSE = re.compile(r"The above exception was the direct cause of")
_LINK_CONTEXT = re.compile(r"During handling of the above exception")
_TRACEBACK_OR_LINK = re.compile(r"Traceback \(most|The above exception|During handling of")
MESSAGE = 12
_NESTED = "Traceback (most recent call last):"
_HANDED_ON = re.compile(r"Original Traceback \(most recent call last\):$")
_COMPILERS = frozenset({"gcc", "edg", "compiler", "ptxas", "ld", "nvrtc"})
_SAYS_NOTHING = re.compile(
    r"process didn't exit successfully|---|network failure seems|spurious|No such file or directory \(os error 2\)$"
)
_LISTS = re.compile(r"\bfollowing \w+(?: \w+)?:$")
_PASSED_ON = re.compile(
    r"Call to `[^`]{1,200}` failed \(exit status|The build backend returned|Git operation failed"
    r"|Build backend failed|client error"
)
_CAUSED_BY = re.compile(r"(?:Caused by|cause):\s*(.*)")
_HANDS_ON = re.compile(r":$|(?i:compil|codegen|build|ninja|\bcommand\b|\blink)")
_IMPORT_ERROR = re.compile(r"(?:\w+\.)*(?:ImportError|ModuleNotFoundError|OSError: lib\S+\.so)\b")
_SAYS = re.compile(r"(?i)\b(?:not|cannot|no|fail\w*|missing|unknown|required|removed|invalid|error|without|could)\b")
_INSIDE_CMAKE = re.compile(
    r"(?:is not able to compile|fails with the following output|Compiling the CUDA compiler id|Output:|Compiler:"
    r"|could not be compiled|failed with the following)"
)


def read_block(hit: Hit, shape: Shape) -> Candidate | None:
    """Return the candidate that begins at `hit`, or None where the block turns out to be no error."""
    if shape.name == "traceback":
        return _traceback(hit, shape)
    if shape.name == "cmake":
        return _cmake(hit, shape)
    if shape.name == "panic":
        return (
            _below(hit, shape, re.compile(r"(?!note: |stack backtrace)\S"), 3)
            if _ends_in_place(hit)
            else _alone(hit, shape)
        )
    if shape.name == "resolver":
        return _below(hit, shape, re.compile(r"(?:cause: )?Because "), 3)
    if shape.name == "backend":
        return _below(hit, shape, re.compile(r"\w+Error: |Cannot |Unable |Failed |Could "), 4)
    if shape.name == "terminate":
        return _below(hit, shape, re.compile(r"what\(\):"), 3)
    if shape.name in {"cargo", "general", "maturin", "download", "wrapper"}:
        return _caused_by(hit, shape)
    if shape.name == "autoconf" and hit.line.core.endswith(":"):  # names the folder; the next line says what is wrong
        return _below(hit, shape, re.compile(r"configure(?:\.ac:\d+)?: error: |\S"), 2)
    found = _alone(hit, shape)
    _last_error(found)
    return found


def _alone(hit: Hit, shape: Shape) -> Candidate:
    imports = shape.name == "exception" and _IMPORT_ERROR.match(hit.line.core)
    category = Category.IMPORT if imports else shape.category
    return Candidate(hit, shape.name, shape.weight, category, hit.no, hit.line, hit.no)


def _ends_in_place(hit: Hit) -> bool:
    """Return whether a Rust panic has its message below: Rust 1.73 and newer, or one that begins with a new line."""
    return re.search(r"panicked at (?:[^'\s]\S*:\d+:\d+:|')$", hit.line.core) is not None


def _follow(hit: Hit, count: int) -> Iterator[tuple[int, Line]]:
    """Yield number and content of the lines after a hit that the same process wrote."""
    for offset, line in enumerate(hit.after[1 : count + 1], 1):
        if line.stream == hit.line.stream:
            yield hit.no + offset, line


def _below(hit: Hit, shape: Shape, wanted: re.Pattern[str], count: int) -> Candidate:
    found = _alone(hit, shape)
    for no, line in _follow(hit, count * 4):
        if wanted.match(line.core):
            found.no, found.line, found.end = no, line, no
            break
    return found


def _caused_by(hit: Hit, shape: Shape) -> Candidate:
    """Read a chain of `Caused by:`; the last is the innermost. Of a list below a heading the first line is the root."""
    found = _alone(hit, shape)
    wanted = False
    if hit.line.core.startswith("error: failed to select a version"):
        return _below(hit, shape, re.compile(r"(?:the )?package `.{1,300} (?:but|depends on|is locked)"), 6)
    if _LISTS.search(hit.line.core):
        found = _below(hit, shape, re.compile(r"\S"), 1)
    for no, line in _follow(hit, 60):
        if wanted and line.core:
            if not _SAYS_NOTHING.match(line.core):
                found.no, found.line = no, line
            found.end, wanted = no, False
            continue
        link = _CAUSED_BY.match(line.core)
        if link and link[1]:
            found.end = no
            if not _PASSED_ON.match(link[1]):
                found.no, found.line = no, line
        elif link:
            wanted = True
        elif no > found.end + 12 or (line.core and classify(line.core) and found.end < no - 6):
            break
    if found.no != hit.no and shape.weight is Weight.WRAPPER:
        found.weight = Weight.GENERAL
    return found


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" │|>"))


def _traceback(hit: Hit, shape: Shape) -> Candidate | None:
    base = _indent(hit.line.body)
    strangers = 0
    for no, line in _follow(hit, 390):
        if not line.core or set(line.core) <= set("^~ "):
            continue
        if _indent(line.body) > base or line.core.startswith(("File ", "[Previous line repeated")):
            continue
        if _EXCEPTION.match(line.core):
            if line.core.endswith(_NESTED) or _HANDED_ON.match(_next(hit, no)):  # its message is a traceback of its own
                continue
            return _exception(hit, shape, no, line)
        strangers += 1
        if strangers > 3:
            return None
    return None


def _next(hit: Hit, no: int) -> str:
    return next((line.core for at, line in _follow(hit, no - hit.no + 2) if at > no), "")


def _exception(hit: Hit, shape: Shape, no: int, line: Line) -> Candidate | None:
    inner = classify(line.core)
    weight = Weight.WRAPPER if inner and inner.weight is Weight.WRAPPER else shape.weight
    if re.match(r"(?:SystemExit|KeyboardInterrupt|[\w.]*Warning)\b", line.core):
        weight = Weight.WRAPPER
    category = Category.IMPORT if _IMPORT_ERROR.match(line.core) else shape.category
    found = Candidate(hit, shape.name, weight, category, no, line, no, frames=(hit.no, no - 1), link=_link_before(hit))
    _message(found, bare=line.core.endswith((":", "Error", "Exception")) and " " not in line.core)
    _last_error(found)
    return found


def _message(found: Candidate, *, bare: bool) -> None:
    """Extend the block over the lines of a long message; below a mere heading the first line is the root."""
    named = found.no
    for no, line in _follow(found.hit, 390):
        if no <= named:
            continue
        shape = classify(line.core) if line.core else None
        if (
            no > named + MESSAGE
            or _TRACEBACK_OR_LINK.match(line.core)
            or (shape and shape.weight is not Weight.NONE and not bare)
        ):
            _yield_to_compiler(found, line)
            return
        found.end = no
        if line.core and found.no == named and _goes_on(found, line, no, bare=bare):
            found.no, found.line, bare = no, line, False


def _goes_on(found: Candidate, line: Line, no: int, *, bare: bool) -> bool:
    """Return whether a line below a heading is its message: indented, an exception, or below a bare name."""
    if not found.line.core.endswith(":"):
        return False
    return bare or line.body[:1] in " \t" or (no == found.no + 1 and _INNER.match(line.core) is not None)


def _last_error(found: Candidate) -> None:
    """NCCL explains its codes first, and gives what happened below `Last error:`."""
    if "NCCL error" not in found.line.core:
        return
    below = False
    for no, line in _follow(found.hit, found.no - found.hit.no + 6):
        if below and line.core:
            found.no, found.line, found.end = no, line, max(found.end, no)
            return
        below = below or (no > found.no and line.core == "Last error:")


def _yield_to_compiler(found: Candidate, line: Line) -> None:
    """Where an exception only hands on what a compiler said, the compiler's line is the cause."""
    error = classify(line.core)
    if error is not None and error.name in _COMPILERS and _HANDS_ON.search(found.line.core):
        found.weight = Weight.WRAPPER


def _link_before(hit: Hit) -> str:
    before = [line for line in hit.before if line.stream == hit.line.stream and line.core][-2:]
    for line in before:
        if _LINK_CAUSE.search(line.core):
            return "cause"
        if _LINK_CONTEXT.search(line.core):
            return "context"
    return ""


def _say_what(found: Candidate) -> None:
    """CMake gives names and lists between the halves of a sentence; the half that says what is wrong is the root."""
    if not found.line.core.endswith(":") or _SAYS.search(found.line.core):
        return
    for no, line in _follow(found.hit, min(found.end - found.hit.no, MESSAGE)):
        if no > found.no and _SAYS.search(line.core):
            found.no, found.line = no, line
            return


def _download(found: Candidate) -> None:
    """Of a download that CMake tried several times the first attempt says what was wrong."""
    if found.line.core.startswith("Each download failed"):
        for no, line in _follow(found.hit, found.end - found.hit.no):
            if no > found.no and line.core.startswith("error: "):
                found.no, found.line = no, line
                return


def _cmake(hit: Hit, shape: Shape) -> Candidate:
    found = _alone(hit, shape)
    if not re.search(r":$", hit.line.core) or re.match(
        r"CMake Error: .{0,60}\b(?:[Uu]nable|[Cc]annot|not)\b", hit.line.core
    ):
        return found
    base, inside = _indent(hit.line.body), False
    inner: Candidate | None = None
    for no, line in _follow(hit, 200):
        if not line.core:
            continue
        if _indent(line.body) <= base:
            break
        if found.no == hit.no:
            found.no, found.line = no, line
        found.end = no
        inside = inside or _INSIDE_CMAKE.search(line.core) is not None
        error = classify(line.core) if inside and inner is None else None
        if error and error.weight >= Weight.GENERAL:
            inner = Candidate(hit, error.name, shape.weight, shape.category, no, line, no)
    if inner:
        inner.end = found.end
        return inner
    _say_what(found)
    _download(found)
    if re.match(r"Command failed|Build step for|CMake step for|Failed to \w+ ", found.line.core):
        found.weight = Weight.WRAPPER
    return found
