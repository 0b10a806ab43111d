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


@dataclass(frozen=True, kw_only=True)
class _Signature:
    id: str
    pattern: re.Pattern[str]
    with_text: re.Pattern[str] | None
    without_text: re.Pattern[str] | None
    cause: str
    fix: tuple[str, ...]

    def applies(self, text: str) -> bool:
        if self.with_text and not self.with_text.search(text):
            return False
        return not (self.without_text and self.without_text.search(text))


@cache
def _signatures() -> tuple[_Signature, ...]:
    path = Path(__file__).with_name("failures.toml")
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["failure"]
    return tuple(
        _Signature(
            id=row["id"],
            pattern=re.compile(row["pattern"]),
            with_text=re.compile(row["with"]) if "with" in row else None,
            without_text=re.compile(row["without"]) if "without" in row else None,
            cause=row["cause"],
            fix=tuple(row["fix"]),
        )
        for row in rows
    )


def classify(text: str) -> Cause:
    """Return the cause of the failure that `text` tells of; the last error line when no signature matches."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    for signature in _signatures():
        if not signature.applies(text):
            continue
        for line in lines:
            if found := signature.pattern.search(line):
                groups = ("", *(group or "" for group in found.groups()))
                sentence = _sentence(signature.cause.format(*groups), signature.fix)
                return Cause(id=signature.id, sentence=sentence, fix=signature.fix, line=line[:400])
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
