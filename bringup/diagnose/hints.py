"""What a log itself advises, and what its root line names: flags, variables, packages, files."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_HINTS = 2
MOST_NAMES = 5
FAR = 14
LONGEST = 220

_ADVISES = re.compile(
    r"(?i:(?:= )?(?:hint|help|suggestion|solution|tip)\s?: |try[: ]"
    r"|please (?!report|file|see|visit|tell me|check the doc|submit)"
    r"|you (?:can|may|might|need|should|must|probably) |consider |install (?:it|the) "
    r"|to (?:fix|solve|resolve|enable|allow|use) "
    r"|(?:run|use|set|specify(?! --help)|make sure|ensure|add|upgrade|update|rerun|re-run|increase|reduce) [`'\"\w-])"
)
_WITHIN = re.compile(
    r"(?i:[.;,:] ?((?:please|try|you (?:can|may|need|should|must)|consider|did you mean|install (?!ed\b)|make sure"
    r"|use|set|run|add) .*))"
)
# Advice that stands below errors of every kind.
_EMPTY = re.compile(
    r"(?i:build failures usually|see above|see below|see also|for more|TORCHDYNAMO_VERBOSE|TORCH_LOGS|originates from"
    r"|report (?:this|a bug)|try `rustc|explain E\d|TORCH_USE_CUDA_DSA|CUDA_LAUNCH_BLOCKING|RUST_BACKTRACE"
    r"|this is likely not|use --help|to suppress|try (?:again|later)\b|running build|run Build Command|use `?-v)"
)
_SOURCE = re.compile(r"\d*\s*\||[{}]|^\s*(?:File \"|raise |return |self\.|if |for |def |#)")
_NAME = re.compile(
    r"^(?P<place>[^\s:(\"'`]{1,200}[./][^\s:(\"'`]{1,80}(?::\d{1,6}|\(\d{1,6}\)))(?=[:,)]|\s)"
    r"|(?P<flag>(?<![\w-])--?[A-Za-z][\w-]{2,40})|\b(?P<variable>[A-Z][A-Z0-9]*_[A-Z0-9_]{1,40}|CUDACXX|LD_LIBRARY_PATH)\b"
    r"|[`'\"‘“](?P<quoted>[A-Za-z_./-][\w./+:@=<>~-]{1,60})[`'\"’”]"  # noqa: RUF001 - quotes that gcc writes
)


def hints(core: str, after: Sequence[str]) -> list[str]:
    """Return the sentences in which the log says what to do: behind the error on its own line, or below it."""
    found = [match[1]] if (match := _WITHIN.search(core)) and not _EMPTY.search(match[1]) else []
    for at, row in enumerate(after[:FAR]):
        if row.startswith("Traceback") or len(found) >= MOST_HINTS:
            break
        text = row.strip(" *-•\t")
        if _ADVISES.match(text) and not _EMPTY.search(text) and not _SOURCE.search(text) and not text.endswith(":"):
            found.append(_sentence(re.sub(r"^(?i:(?:= )?(?:hint|help|tip)\s?: )", "", text), after[at + 1 : at + 3]))
    return [text[:LONGEST] for text in dict.fromkeys(found)][:MOST_HINTS]


def _sentence(text: str, rows: Sequence[str]) -> str:
    """Return a sentence that a tool has broken into lines of the terminal's width."""
    for row in rows:
        if (
            not row
            or row[:1].isupper()
            or re.search(r"[.!?)`'\"]$", text)
            or _ADVISES.match(row)
            or _SOURCE.search(row)
        ):
            break
        text = f"{text} {row}"
    return text


def names(core: str) -> list[str]:
    """Return place, flags, environment variables and quoted names of a line, in their order."""
    found = (match[match.lastgroup] for match in _NAME.finditer(core) if match.lastgroup)
    return list(dict.fromkeys(found))[:MOST_NAMES]
