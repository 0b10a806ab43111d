"""Find known issues in the lines that have one of their literals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from bringup.diagnose.knowledge import CompiledIssue, Knowledge
from bringup.diagnose.reader import Hit
from bringup.diagnose.signature import CompiledSignature
from bringup.diagnose.text import Line
from bringup.model.knowledge import Issue


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A known issue seen at a line.

    Attributes:
        item: the issue.
        hit: the line that has the literal, with its surroundings.
        no: number of the line where the expression begins to fit.
        line: that line.
        groups: what the named groups of the expression hold.
        last: whether it counts only at the end of the log.
    """

    item: CompiledIssue
    hit: Hit
    no: int
    line: Line
    groups: dict[str, str]
    last: bool


class Matcher:
    """Matches hits against the knowledge."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._by_word: dict[str, list[tuple[CompiledIssue, CompiledSignature]]] = {}
        for item in knowledge.issues.values():
            for signature in item.signatures:
                for word in signature.has:
                    self._by_word.setdefault(word, []).append((item, signature))

    def matches(self, hit: Hit) -> list[Match]:
        """Return what fits at this hit, each issue once."""
        small = hit.line.core.lower()
        found: dict[str, Match] = {}
        for word, entries in self._by_word.items():
            if word not in small:
                continue
            for item, signature in entries:
                if item.issue.id in found:
                    continue
                match = _try(hit, item, signature)
                if match:
                    found[item.issue.id] = match
        return list(found.values())


def _try(hit: Hit, item: CompiledIssue, signature: CompiledSignature) -> Match | None:
    place = signature.fit(hit)
    if place is None:
        return None
    no, line, groups = place
    return Match(item=item, hit=hit, no=no, line=line, groups=groups, last=signature.last)


def is_affected(issue: Issue, facts: Mapping[str, str]) -> bool:
    """Return False only where a package is known to have a version that the issue does not concern."""
    for text in issue.affected:
        wanted = Requirement(text)
        names = {wanted.name, wanted.name.removesuffix("-python"), "cuda" if wanted.name == "nvcc" else ""}
        for name in names & facts.keys():
            try:
                if Version(facts[name]) not in wanted.specifier:
                    return False
            except InvalidVersion:
                continue
    return True
