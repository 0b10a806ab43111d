"""Turn the text of a failure into its true cause and the next move; the signatures are in failures.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why something failed.

    Attributes:
        id: lasting name of the signature, None when none matched.
        sentence: the cause and the first move, in one line that stands alone.
        fix: all moves, the best first.
        line: the line of the text that told it.
    """

    id: str | None
    sentence: str
    fix: tuple[str, ...]
    line: str


@cache
def _signatures() -> tuple[tuple[str, re.Pattern[str], str, tuple[str, ...]], ...]:
    path = Path(__file__).with_name("failures.toml")
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["failure"]
    return tuple((row["id"], re.compile(row["pattern"]), row["cause"], tuple(row["fix"])) for row in rows)


def classify(text: str) -> Cause:
    """Return the cause of the failure that `text` tells of; the last error line when no signature matches."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for name, pattern, cause, fix in _signatures():
        for line in lines:
            found = pattern.search(line)
            if found:
                groups = ("", *(group or "" for group in found.groups()))
                return Cause(id=name, sentence=_sentence(cause.format(*groups), fix), fix=fix, line=line[:400])
    line = _last_error(lines)
    return Cause(id=None, sentence=f"Not a known failure: {line}", fix=(), line=line)


def _sentence(cause: str, fix: tuple[str, ...]) -> str:
    return f"{cause} Next: {'; '.join(fix)}." if fix else cause


def _last_error(lines: list[str]) -> str:
    errors = [line for line in lines if re.match(r"(\[.*\] )?[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (errors or lines or ["no output"])[-1][:400]


if __name__ == "__main__":
    told = classify(sys.stdin.read())
    print(told.sentence)
    print(f"line: {told.line}")
