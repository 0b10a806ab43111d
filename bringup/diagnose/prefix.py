"""What a launcher or CI system of any kind puts before each line, learned from the log itself.

The usual prefixes are known (`text`); others are recognised because nearly all lines begin with the same name followed
by the same separator, numbers apart: `node-07: `, `build-kernels<tab>`, `torch> `, `[worker 3] `.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from bringup.diagnose.text import clean_line

SAMPLE = 64 << 10
FEWEST = 3
GAP = 9
SHARE = 0.85

_HEAD = re.compile(
    r"(?P<name>[A-Za-z][\w.@+-]{0,60}(?:\[\d+\])?)(?P<sign>: |\t| ?\| |> )(?=\S|\s)"
    r"|(?P<pod>[a-z][a-z0-9.]*-[a-z0-9.-]{1,60} [a-z][\w-]{0,40}) "  # pod and container
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
    heads = Counter(head for text in texts if (head := _head(text)))
    if not heads:
        return None
    best = re.compile(max(heads, key=lambda head: heads[head]))
    return best if sum(1 for text in texts if best.match(text)) >= SHARE * len(texts) else None


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
