"""Check the knowledge against the excerpts that are kept beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bringup.diagnose import diagnose_paths
from bringup.diagnose.knowledge import Knowledge, knowledge_folder, load_knowledge
from bringup.diagnose.reader import Hit
from bringup.diagnose.signature import CompiledSignature
from bringup.diagnose.text import clean_line
from bringup.model.knowledge import Provider

EXCERPTS = "excerpts"


def check_knowledge(folder: Path | None = None) -> list[str]:
    """Return what is wrong with the knowledge, one sentence each; empty where all is well.

    Every issue has an excerpt `excerpts/<id>.log` (more as `<id>.1.log` and so on), every signature fits one of them,
    and the diagnosis of each excerpt gives its own issue and no other.

    Raises:
        ConfigError: the TOML itself is not right.
    """
    root = folder or knowledge_folder()
    knowledge = load_knowledge(root)
    problems = [*_excerpts_without_issue(root, knowledge), *_wrong_providers(knowledge.providers)]
    for name, item in knowledge.issues.items():
        files = excerpts_of(root, name)
        if not files:
            problems.append(f"{name}: no excerpt {EXCERPTS}/{name}.log")
        for number, signature in enumerate(item.signatures, 1):
            if not any(signature_fits(signature, path.read_bytes()) for path in files):
                problems.append(f"{name}: signature {number} fits none of its excerpts: {signature.pattern.pattern}")
        problems += _wrong_answers(knowledge, name, files)
    return problems


def _wrong_providers(providers: Sequence[Provider]) -> Iterator[str]:
    """Yield expressions that do not compile, and names that two providers claim."""
    owners: dict[tuple[str, str], str] = {}
    for item in providers:
        for kind in ("symbols", "identifiers", "objects"):
            for pattern in getattr(item, kind):
                try:
                    re.compile(pattern)
                except re.error as exc:
                    yield f"{item.name}: {kind}: {pattern!r} is no regular expression: {exc}"
        for kind in ("headers", "libs", "modules", "cmake", "programs", "builds"):
            for name in getattr(item, kind):
                other = owners.setdefault((kind, name.casefold() if kind == "cmake" else name), item.name)
                if other != item.name:
                    yield f"{item.name}: {kind}: {name!r} is claimed by {other} too"


def excerpts_of(folder: Path, issue: str) -> list[Path]:
    """Return the excerpts of an issue, in order of their names."""
    found = [folder / EXCERPTS / f"{issue}.log", *(folder / EXCERPTS).glob(f"{issue}.[0-9]*.log")]
    return sorted(path for path in found if path.is_file())


def signature_fits(signature: CompiledSignature, data: bytes) -> bool:
    """Return whether a signature fits somewhere in a log, its surroundings included."""
    start = 0
    for number, row in enumerate(data.split(b"\n"), 1):
        line = clean_line(row)
        if any(word in line.core.lower() for word in signature.has):
            hit = Hit(number, line, data, start)
            if signature.fit(hit) is not None:
                return True
        start += len(row) + 1
    return False


def _wrong_answers(knowledge: Knowledge, name: str, files: list[Path]) -> Iterator[str]:
    answers = diagnose_paths([str(path) for path in files], knowledge=knowledge, failed=True)
    for path, answer in zip(files, answers, strict=True):
        got = answer.findings[0].id if answer.findings else None
        if got != name:
            yield f"{name}: the diagnosis of {path.name} is {got or answer.status}"


def _excerpts_without_issue(root: Path, knowledge: Knowledge) -> Iterator[str]:
    for path in sorted((root / EXCERPTS).glob("*.log")):
        if path.name.split(".")[0] not in knowledge.issues:
            yield f"{path.name}: there is no issue of this name"
