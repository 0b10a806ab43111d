"""What is said of a failure that is not in the list: its category, what usually helps, whom its names lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bringup.diagnose.conflict import conflicts
from bringup.diagnose.hints import FAR, hints, names
from bringup.diagnose.knowledge import Knowledge
from bringup.diagnose.model import Finding
from bringup.diagnose.moves import built, moves, spoken
from bringup.diagnose.rank import Scored
from bringup.diagnose.reader import Hit
from bringup.diagnose.text import Line
from bringup.model.knowledge import Advice, Category

SEARCH_WORDS = 14
ROWS = 6
LINES_OF_BUILD = 300
PACKAGES = 3
ANYTHING = "."
NOBODY = "PACKAGE"
# Where the log does not belong to a target of ours, the commands fit any: `auto` is the GPU of the machine.
DEFAULTS = {"gpu": "auto", "jobs": "2", "stack": "kernels"}
# Our own commands that are about a target, up to the end of the command.
_TARGETED = re.compile(r"(?P<command>invoke \w+ --gpu [\w.-]+)(?=[\s,;:)]|$)(?![^;,(]* --stack)")

_ADVISED = 0.6
_HONEST = 0.4
# Categories of programs that run, which inside the building of a package are part of its installation.
_LATE = (Category.IMPORT, Category.RUNTIME, Category.LAUNCH)

_JIT = re.compile(
    r"\.cache/(?:flashinfer|torch_extensions|tvm-ffi)|cached_ops|flashinfer/jit|triton/(?:runtime|compiler|backends)"
    r"|torch/utils/cpp_extension\.py.*(?:load|jit)"
)

# What can be told from a word of a sentence: a path, a qualified or compound name, a quoted word, a number.
_SAYS_WHO = re.compile(r"\w[:._/=-]{1,2}\w|[a-z][A-Z]|[\"'`]\w|[A-Z]{2}|\d")
_PIP_FRAME = re.compile(r'File "[^"]{1,300}/pip/_(?:internal|vendor)/')
_STEP = re.compile(r"\[\d+/\d+\] |ninja: ")
_MAKING = re.compile(r"(?m)^(?:g?make(?:\[\d+\])?: \*\*\* \[|FAILED: |ninja: build stopped)")
_BACKEND = re.compile(r"The build backend returned|Call to `\w|Build backend failed")
_RESOLVER = re.compile(r"Because |conflicting dependencies|ResolutionImpossible|Cannot install ")
_FRAME = re.compile(r'^File "[^"]*/(?:site|dist)-packages/(\w+)')
_CAPTURE = re.compile(r"Capture cuda graph|cuda_graph_runner|CUDAGraph|capture_begin|capture_end")
_PIP = re.compile(
    r"pip/_(?:internal|vendor)|_in_process|Building wheel|Getting requirements to build|pip-build-env|build_meta"
    r"|Preparing metadata|Collecting \S|Failed to build `|uv pip|Resolved \d+ package"
    r"|Using (?:CPython|Python) \d|Creating virtual environment at|`uv \w+`|uv\.lock|`pyproject\.toml`"
)


def unknown(
    item: Scored, hit: Hit, line: Line, knowledge: Knowledge, facts: Mapping[str, str], common: dict[str, object]
) -> Finding:
    """Return the finding for a root that no known issue explains.

    Args:
        item: the root.
        hit: where its block begins.
        line: its line.
        knowledge: kinds of failures, mentions and providers.
        facts: what is known of the target.
        common: the fields of the finding that do not depend on what is known of the failure.
    """
    category = _category(item, hit)
    rows = rows_after(hit, item.no, ROWS)
    chosen = _advice(line, rows, hit, category, knowledge)
    packages = _packages(hit, item.no)
    values = {"packages": " ".join(packages) or NOBODY, **facts}
    said = _named(line, rows, hit, item.no, packages[:1], knowledge)
    if chosen is None:
        return Finding(
            id=None,
            title=f"a failure at {category} that is not in the list of known issues",
            category=category,
            cause="This is the first line that looks like a real error; no known issue fits it.",
            fix=(*(fill(text, values) for text in said), "read the lines around it, then search for the phrase"),
            confidence=_HONEST,
            url="",
            search=search_phrase(_told(line, hit, item.no)),
            **common,  # type: ignore[arg-type]
        )
    advice, found = chosen
    values |= _groups(found)
    if advice.pattern == ANYTHING and not said:
        said = spoken([line.core, *(row.core for row in rows[:2])], knowledge)
    fix = [fill(text, values) for text in (*said, *advice.fix, *_of_build(hit, category, knowledge))]
    return Finding(
        id=None,
        title=fill(advice.name, values),
        category=_agreed(category, advice, hit),
        cause=fill(advice.cause, values),
        fix=(*fix, *_from_log(line, hit, item.no, fix)),
        confidence=_ADVISED,
        url="",
        search=search_phrase(_told(line, hit, item.no)),
        **common,  # type: ignore[arg-type]
    )


def _named(line: Line, rows: list[Line], hit: Hit, no: int, caller: Sequence[str], knowledge: Knowledge) -> list[str]:
    """Return what follows from the names in the line and below it; `caller` has the innermost package, if any."""
    around = [row.core for row in (*hit.before, *hit.after[:40])]
    above = [row.core for row in (*hit.before, *hit.after[: max(0, no - hit.no)])]
    named = moves(line.core, [row.core for row in rows], above, around, "".join(caller), knowledge)
    return [*_conflicts(line, hit, no), *named]


def _advice(
    line: Line, after: list[Line], hit: Hit, category: Category, knowledge: Knowledge
) -> tuple[Advice, re.Match[str]] | None:
    """Return the first advice that the root line calls for, else that the lines below it do, else the general one."""
    exact = [(kind, pattern) for kind, pattern in knowledge.advice if pattern.pattern != ANYTHING]
    general = [(kind, pattern) for kind, pattern in knowledge.advice if pattern.pattern == ANYTHING]
    rows = "\n".join(row.core for row in after)
    inexact = [(kind, pattern) for kind, pattern in exact if not kind.alone]
    for kinds, text in ((exact, line.core), (inexact, rows), (general, line.core)):
        for kind, pattern in kinds:
            found = pattern.search(text)
            if found and kind.when in (None, category) and _is_near(kind.near, hit):
                return kind, found
    return None


def _from_log(line: Line, hit: Hit, no: int, said: Sequence[str]) -> list[str]:
    """Return what the log itself says that helps, and what the root line names that was not spoken of yet."""
    rows = [row.core for row in rows_after(hit, no, FAR) if row.stream == hit.line.stream]
    texts = [f"the log itself says: {text}" for text in hints(line.core, rows)]
    known = " ".join((*said, *texts))
    command = line.core.lower().startswith("error: command")
    named = [] if command else [name for name in names(line.core) if name not in known and name != "main"]
    if named:
        texts.append(f"begin with what the line names: {', '.join(named)}")
    return texts


def _of_build(hit: Hit, category: Category, knowledge: Knowledge) -> list[str]:
    above = hit.above(LINES_OF_BUILD)
    if not (_is_in_pip(hit) or any(_BACKEND.search(row.core) for row in above)) or category is Category.RUNTIME:
        return []
    return built([row.core for row in (*above, *hit.after)], knowledge)


def _conflicts(line: Line, hit: Hit, no: int) -> list[str]:
    """Return which requirements exclude one another; uv may have wrapped its reasons into lines above the root line."""
    if not _RESOLVER.search(line.core):
        return []
    return conflicts(line.core, [row.core for row in rows_after(hit, no, FAR)])


def _packages(hit: Hit, no: int) -> list[str]:
    """Return the packages whose code the traceback above the root line shows, the innermost first."""
    count = max(0, no - hit.no)
    rows = hit.after[:count] if count else hit.before
    names = [found[1] for row in reversed(rows) if (found := _FRAME.search(row.core))]
    known = [name for name in dict.fromkeys(names) if name not in ("pip", "setuptools", "pkg_resources", "torch")]
    return (known or list(dict.fromkeys(names)))[:PACKAGES]


def _groups(found: re.Match[str]) -> dict[str, str]:
    """Return the named groups; `name2`, `name3` stand for `name` in other branches of the expression."""
    groups: dict[str, str] = {}
    for name, text in found.groupdict().items():
        if text:
            groups.setdefault(name.rstrip("0123456789"), text)
    return groups


def _is_near(pattern: str, hit: Hit) -> bool:
    return not pattern or any(re.search(pattern, line.core) for line in (*hit.before, *hit.after[:40]))


def rows_after(hit: Hit, no: int, count: int) -> list[Line]:
    """Return the lines below the root line, `count` at most."""
    start = max(0, no - hit.no)
    return hit.after[start + 1 : start + 1 + count]


def _agreed(category: Category, advice: Advice, hit: Hit) -> Category:
    """Return the category of an advice, unless the surroundings say more exactly when it happened."""
    if advice.category in _LATE and _is_in_pip(hit):
        return Category.INSTALL
    if advice.category in (Category.RUNTIME, Category.LAUNCH) and category in (Category.CAPTURE, Category.JIT):
        return category
    if advice.category in _LATE and _is_of_build_step(hit):
        return Category.COMPILE
    return advice.category or category


def _category(item: Scored, hit: Hit) -> Category:
    around = "\n".join(line.core for line in (*hit.before[-40:], *hit.after[:60]))
    if _is_in_pip(hit) and item.category in _LATE:
        return Category.INSTALL
    if item.category in _LATE and _is_of_build_step(hit):
        return Category.COMPILE
    if item.category is Category.IMPORT:
        return item.category
    if item.found and item.found.kind == "wrapper" and _PIP.search(around):
        return Category.INSTALL
    if item.found and item.found.kind in ("shell", "signal") and _MAKING.search(around):
        return Category.COMPILE
    if _CAPTURE.search(around) and item.category is Category.RUNTIME:
        return Category.CAPTURE
    if item.category in (Category.RUNTIME, Category.COMPILE, Category.LINK) and _JIT.search(_inside(item, hit, around)):
        return Category.JIT
    if item.category is Category.RUNTIME and (_PIP.search(around) or _of_backend(hit)):
        return Category.INSTALL
    return item.category


def _inside(item: Scored, hit: Hit, around: str) -> str:
    """Return the frames of a traceback, which say what it was doing; of other errors the lines around them."""
    if item.found is None or item.found.kind != "traceback":
        return around
    return "\n".join(line.core for line in hit.after[: max(0, item.no - hit.no) + 60])


def _is_of_build_step(hit: Hit) -> bool:
    """Return whether a command of ninja's that failed wrote the line: it stands right below `FAILED:`."""
    rows = hit.before[-6:]
    failed = [at for at, row in enumerate(rows) if row.core.startswith("FAILED: ")]
    return bool(failed) and not any(_STEP.match(row.core) for row in rows[failed[-1] + 1 :])


def _of_backend(hit: Hit) -> bool:
    """Return whether the line stands, indented, below what uv says of a build backend that failed."""
    return hit.line.body.startswith("      ") and any(_BACKEND.search(row.core) for row in hit.above(LINES_OF_BUILD))


def _is_in_pip(hit: Hit) -> bool:
    """Return whether the line is in what pip shows of a program that builds a package, or says that it failed."""
    if hit.line.core.startswith("error: subprocess-exited") or any(
        _PIP_FRAME.match(line.core) for line in hit.after[:9]
    ):
        return True
    end = next((at for at, line in enumerate(hit.after[:300]) if "[end of output]" in line.core), None)
    return end is not None and not any(" lines of output]" in line.core for line in hit.after[1:end])


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put facts and groups in; a name without a value stays as <name>. Our commands name the target's own stack."""
    every = {**DEFAULTS, **values}
    filled = re.sub(r"(?<!\$)\{(\w+)\}", lambda found: every.get(found[1]) or f"<{found[1]}>", text)
    if "stack" not in values:
        return filled
    return _TARGETED.sub(lambda found: f"{found[0]} --stack {values['stack']}", filled)


def _told(line: Line, hit: Hit, no: int) -> str:
    """Return the root line, with the name that its sentence begins with some lines above if it has none of its own."""
    if _SAYS_WHO.search(line.core):
        return line.core
    above = [row.core for row in hit.after[: max(0, no - hit.no)][1:] if row.core]
    return " ".join((*(row for row in above[-1:] if _SAYS_WHO.search(row)), line.core))


def search_phrase(core: str) -> str:
    """Return a line as words to search for: paths reduced to names, numbers of lines and addresses left out."""
    text = re.sub(r"\S*/([\w.+-]+)", r"\1", core)
    text = re.sub(r"0x[0-9a-fA-F]+|:\d+(?::\d+)?:|\(\d+\):|\b[0-9a-f]{12,}\b", " ", text)
    words = re.sub(r"[\"'`\u2018\u2019\u201c\u201d<>{}()\[\]|]", " ", text).split()
    return " ".join(words[:SEARCH_WORDS])
