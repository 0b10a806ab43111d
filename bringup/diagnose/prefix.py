"""What a launcher or CI system of any kind puts before each line, learned from the log itself.

The usual prefixes are known (`text`); others are recognised because nearly all lines begin with the same name followed
by the same separator, numbers apart: `node-07: `, `build-kernels<tab>`, `torch> `, `[worker 3] `.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise, takewhile

from bringup.diagnose.text import LOGGER, clean_line, level_of

SAMPLE = 64 << 10
FEWEST = 3
GAP = 9
MANY = 5
LONGEST = 160
SHARE = 0.85

_HEAD = re.compile(
    r"(?P<name>[A-Za-z][\w.@+-]{0,60}(?:\[\d+\])?)(?P<sign>: |\t| ?\| |> )(?=\S|\s)"
    r"|(?P<pod>[a-z][a-z0-9.]*-[a-z0-9.-]{1,60} [a-z][\w-]{0,40}) "  # pod and container
    r"|(?P<replica>[a-z][\w-]{0,40}/\d{1,4}) "
    r"|\((?P<paren>[A-Za-z][\w.=, :+-]{0,80})\) "
    r"|\[(?P<bracket>[A-Za-z][\w./@ :+-]{0,80})\]:? "
)
_NUMBERED = re.compile(r" {0,8}(\d{1,8})(?::| ?\||\)) ?")
# Programs and words that begin their messages in the same form; these say what happened, not where.
_SPEAKERS = re.compile(
    r"(?i)(?:g?make|ninja|real-ld|ld|collect2|pip|uv|cargo|rustc|error|warning|info|debug|trace|critical|fatal|note|cause|hint"
    r"|nvcc|ptxas|nvlink|cicc|cc1\w*|cpp|as|ar|gcc|cc|clang|cmake|configure|checking|curl|wget|git|tar|gzip|python|bash|sh|rm|cp|mv"
    r"|docker|traceback|e|w|i|d|file|requirement|[\w.+-]*(?:gcc|g\+\+|clang)(?:-[\d.]+)?|\w*(?:Error|Exception|Warning))"
    r"(?:\[\d+\])?"
)


def learn_prefix(data: bytes) -> re.Pattern[str] | None:
    """Return what nearly all of the first lines begin with, beyond the prefixes that are known; None if nothing."""
    rows = data[:SAMPLE].split(b"\n")[:-1]
    margin = _margin([row.decode("utf-8", "replace") for row in rows])
    if margin:
        return re.compile(margin)
    texts = [line.text for line in map(clean_line, rows) if line.text.strip()]
    if len(texts) < FEWEST:
        return None
    if _is_handed_on(texts):
        return LOGGER
    clocked = _clocked(texts)
    if clocked:
        return re.compile(clocked)
    heads = Counter(head for text in texts if (head := _head(text)))
    if not heads:
        return None
    best = re.compile(max(heads, key=lambda head: heads[head]))
    return best if sum(1 for text in texts if best.match(text)) >= SHARE * len(texts) else None


def _is_handed_on(texts: list[str]) -> bool:
    """Return whether a program logs all that another one writes, at one level, which then says nothing."""
    levels = Counter(level for text in texts if (level := level_of(LOGGER.match(text))))
    return set(levels) in ({"I"}, {"E"}) and levels.total() >= SHARE * len(texts)


def _clocked(texts: list[str]) -> str:
    """Return an expression for a beginning with a time of day that nearly all lines share, numbers apart."""
    if len(texts) < MANY or sum(LOGGER.match(text) is not None for text in texts) * 2 > len(texts):
        return ""
    shapes = sorted(re.sub(r"\d+", "0", f"{text[:LONGEST]} ") for text in texts)
    left_out = int(len(shapes) * (1 - SHARE) / 2)
    most, clock, _ = _same(shapes[left_out], shapes[-1 - left_out]).partition("0:0:0")
    if not clock:
        return ""
    stamped = [shape for shape in shapes if shape.startswith(most + clock)]
    shared = _same(stamped[0], stamped[-1])
    shared = shared[: max(shared.rfind(sign) for sign in " ]|>\t") + 1]
    return r"\d+".join(re.escape(part) for part in shared.rstrip(" \t").split("0")) + r"(?:[ \t]|$)"


def _same(first: str, other: str) -> str:
    """Return what two texts begin with; of the first and the last in their order, what all between them do."""
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, other, strict=False)))


def _margin(rows: list[str]) -> str:
    """Return an expression for what stands left of a whole log that was quoted: numbers of lines, > or indentation."""
    filled = [row for row in rows if row.strip(" \t>|")]
    if len(filled) < FEWEST:
        return ""
    numbers = [int(found[1]) for row in filled if (found := _NUMBERED.match(row))]
    if len(numbers) == len(filled) and all(0 < b - a <= GAP for a, b in pairwise(numbers)):
        return _NUMBERED.pattern
    if all(row.startswith(">") for row in filled):
        return r"> ?|>$"
    if all(row.startswith("|") for row in filled):
        return r"\| ?"
    blanks = min(len(row) - len(row.lstrip(" ")) for row in filled)
    return f" {{{blanks}}}" if blanks > 1 else ""


def _head(text: str) -> str:
    """Return an expression for how a line begins, open for other numbers; empty where it begins like any line."""
    found = _HEAD.match(text)
    if not found or (found["name"] and _SPEAKERS.fullmatch(found["name"])):
        return ""
    parts = re.split(r"\d+", found[0].rstrip(" \t"))
    return r"\d+".join(re.escape(part) for part in parts) + r"(?:[ \t]|$)"
