"""Choose the root cause among the candidates, by a small explicit score."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bringup.diagnose.blocks import Candidate
from bringup.diagnose.evidence import Evidence
from bringup.diagnose.inside import look_inside
from bringup.diagnose.match import Match, is_affected
from bringup.diagnose.outcome import is_harmless
from bringup.diagnose.shapes import Weight, classify
from bringup.model.knowledge import Category

# What is added to the weight of the shape.
KNOWN = 30  # a known issue explains the line
KNOWN_WEAK = 4  # a known issue with a very common line
MENTION = 70  # weight of a known issue at a line without the shape of an error
SILENT = 45  # weight of a known issue that shows as a warning
THE_END = 100  # lines after a traceback at which a program that it ended still wrote something
GOES_ON = 300  # so many lines after a traceback say that its program went on
FEW = 4
WENT_ON = 25  # subtracted for a traceback that a program wrote into its log before it went on
LATER = 2  # subtracted for each candidate that comes before
MOST_LATER = 10
AGAINST_FACTS = 15  # subtracted where the target has a version of the package that is not affected
CHAINED = 15  # subtracted where a traceback says that it follows from another

# An exception that programs raise to themselves while they look for something; what followed from it is the cause.
_LOOKUP = re.compile(r"(?:KeyError|AttributeError|IndexError|StopIteration|LookupError|StopAsyncIteration)\b")

_NO_FILE = re.compile(r"couldn't connect to|Can't load the \w+ |find the requested files|and we cannot find")

# Of these the same line is written at each attempt; what is said of the last attempt holds for all.
_TRIED = frozenset({"download", "network"})
# A compiler only says that it gave up, right below an error of its own.
_GAVE_UP = re.compile(r"compilation terminated|\d+ errors? (?:generated|detected)")
_INFO = re.compile(r"\[?(?:INFO|DEBUG)\b")
_TEST = re.compile(r"(?:FAIL|ERROR): \w+ \(")


@dataclass(slots=True)
class Scored:
    """A candidate, with the known issue that explains it, if any."""

    no: int
    score: float
    category: Category
    found: Candidate | None
    match: Match | None = None
    inner: Scored | None = None

    @property
    def is_silent(self) -> bool:
        """Whether it is wrong without an error, so that a run which seems to end well can have it."""
        return self.match is not None and self.match.item.issue.silent


def rank(evidence: Evidence, lines: int, facts: Mapping[str, str]) -> list[Scored]:
    """Return the possible roots, best first; empty where nothing failed.

    Of a run that is known to have failed, the last error counts although it seems to be dealt with.
    """
    alive, dealt_with, past = _alive(evidence)
    found = _ranked(alive, dealt_with, evidence, lines, facts)
    if not found and evidence.failed:
        found = _ranked((dealt_with or past)[-1:], [], evidence, lines, facts)
    return found


def _ranked(
    alive: list[Candidate], dealt_with: list[Candidate], evidence: Evidence, lines: int, facts: Mapping[str, str]
) -> list[Scored]:
    if alive and max(found.weight for found in alive) <= Weight.VAGUE:
        over = dealt_with and max((at for at, _ in evidence.successes), default=0) > max(found.no for found in alive)
        # Where no success came later it did fail, so what seemed harmless counts.
        alive = [] if over else sorted((*alive, *dealt_with), key=lambda found: found.no)
    alive = _given_up(alive, dealt_with)
    if alive and max(found.weight for found in alive) <= Weight.WRAPPER:
        any(look_inside(found) for found in alive)
    scored = [_score(found, index) for index, found in enumerate(alive)]
    _went_on(scored, lines)
    scored = _chains(scored)
    matches = _outranked(_usable(evidence, lines, alive))
    for match in matches:
        if not match.item.issue.wrapper:
            _explain(scored, match, evidence, facts)
    scored.sort(key=lambda item: (-item.score, item.no))
    return _wrapped(_explained_by_silent(scored), [match for match in matches if match.item.issue.wrapper])


def _given_up(alive: list[Candidate], dealt_with: list[Candidate]) -> list[Candidate]:
    """Bring back what was tried again and again, where the program says at last that it has not got the file."""
    without = [found for found in alive if _NO_FILE.search(found.line.core)]
    tried = [found for found in dealt_with if found.kind == "network" and without and found.no < without[-1].no]
    for found in without if tried else ():
        found.weight = Weight.WRAPPER
    return sorted((*alive, *tried), key=lambda found: found.no)


def _wrapped(scored: list[Scored], wrappers: list[Match]) -> list[Scored]:
    """Give an unknown root the known issue that says that something failed; its line stays the root line."""
    if not wrappers or (scored and scored[0].match is not None):
        return scored
    if not scored or scored[0].score < Weight.SYMPTOM:
        first = wrappers[0]
        return [Scored(first.no, float(MENTION), first.item.issue.category, None, first), *scored]
    scored[0].match = wrappers[0]
    return scored


def _alive(evidence: Evidence) -> tuple[list[Candidate], list[Candidate], list[Candidate]]:
    """Return what counts, what seems to have been dealt with, and what a later success has undone.

    Blocks stand for what is in them.
    """
    past: list[Candidate] = []
    alive: list[Candidate] = []
    dealt_with: list[Candidate] = []
    blocks: list[Candidate] = []
    spared = list(evidence.dropped)
    for found in sorted(evidence.candidates, key=lambda item: (item.hit.no, item.no)):
        if any(_contains(other, found) for other in blocks[-40:]):
            continue
        if blocks and _is_retry(blocks[-1], found):
            alive = [item for item in alive if item is not blocks[-1]]
        if _GAVE_UP.match(found.line.core) and any(0 < found.no - no <= FEW for no in spared):
            continue
        blocks.append(found)
        if evidence.settled(found) or evidence.undone(found.no, found.category):
            past += [found] if found.weight > Weight.WRAPPER else []
        else:
            harmless = _is_harmless(found, evidence)
            if harmless and found.link and alive and alive[-1].kind == "traceback":
                dealt_with.append(alive.pop())  # what was raised while it was handled went no further
            (dealt_with if harmless else alive).append(found)
            spared += [found.no] * harmless
    tried = {(found.kind, found.line.core): found.no for found in dealt_with if found.kind in _TRIED}
    ends = [found for found in alive if found.kind == "git" or (found is alive[-1] and found.kind == "traceback")]
    again = {(found.kind, found.line.core) for found in ends}
    alive += [found for found in dealt_with if (found.kind, found.line.core) in again]  # the same once more, in vain
    alive.sort(key=lambda found: (found.hit.no, found.no))
    counted = [found for found in alive if tried.get((found.kind, found.line.core), 0) <= found.no]
    return counted, dealt_with, past


def _is_retry(before: Candidate, found: Candidate) -> bool:
    """Return whether a download was tried once more right after; the last answer is why it was given up."""
    return before.kind == found.kind == "download" and found.no - before.no <= FEW


def _contains(block: Candidate, found: Candidate) -> bool:
    return block.hit.no <= found.no <= block.end and block.hit.line.stream == found.hit.line.stream


def _score(found: Candidate, index: int) -> Scored:
    later = min(index * LATER, MOST_LATER) if found.weight > Weight.WRAPPER else 0
    return Scored(found.no, float(found.weight - later), found.category, found)


def _went_on(scored: list[Scored], lines: int) -> None:
    """Demote tracebacks that a program logged and survived, where a later one is the end of it."""
    traces = [item for item in scored if item.found and item.found.kind == "traceback"]
    if any(item.found and _of_test(item.found) for item in traces):
        for item in traces:
            item.score -= 0 if item.found and _of_test(item.found) else WENT_ON
    last = scored[-1] if scored else None
    if last and last.found and last.found.kind == "usage" and lines - last.no <= FEW:  # it lived to read its arguments
        for item in traces:
            if item.found and item.found.hit.line.stream == last.found.hit.line.stream:
                item.score = min(item.score, last.score - 1)
    if not traces or lines - traces[-1].no > THE_END:
        return
    for item in traces[:-1]:
        item.score -= WENT_ON if item.found and _survived(item.found) else 0
    for item in traces[:-1]:
        if item.found and lines - item.found.end > GOES_ON and _ordinary(item.found):
            item.score -= WENT_ON


def _survived(found: Candidate) -> bool:
    """Return whether the process logged on as usual after a traceback that it had logged itself."""
    rows = found.hit.after[found.no - found.hit.no + 1 :][:10]
    return any(line.level in ("I", "D") or _INFO.match(line.core) for line in rows)


def _of_test(found: Candidate) -> bool:
    """Return whether a test runner shows the traceback as that of a test that failed."""
    return any(_TEST.match(line.core) for line in found.hit.before[-3:])


def _ordinary(found: Candidate) -> bool:
    """Return whether what the process wrote after a block is what a running program writes."""
    rows = found.hit.after[found.end - found.hit.no + 1 :][:8]
    return len(rows) > FEW and all(classify(line.core) is None or line.level for line in rows)


def _chains(scored: list[Scored]) -> list[Scored]:
    """Prefer the innermost of chained exceptions, except where it was only a lookup."""
    for before, item in pairwise(scored):
        if not (item.found and item.found.link and before.found and before.found.kind == "traceback"):
            continue
        if item.found.link == "context" and _LOOKUP.match(before.found.line.core):
            before.score -= CHAINED
        else:
            item.score = min(item.score, before.score) - CHAINED
            item.inner = before.inner or before
    return scored


def _usable(evidence: Evidence, lines: int, alive: Sequence[Candidate]) -> list[Match]:
    """Return the first match of each issue that counts: not shown source, not undone, a hang only at the end."""
    usable: dict[str, Match] = {}
    early = [match for match in evidence.matches if any(a <= match.no <= z for a, z in evidence.superseded)]
    for match in sorted(evidence.matches, key=lambda match: (match in early, _is_quiet(match))):
        issue = match.item.issue
        if issue.id in usable:
            continue
        if match.last and match.no < lines - 3:
            continue
        if any(low <= match.no <= high for low, high in _frames(evidence, match)):
            continue
        counts = issue.silent or any(_covers(found, match) for found in alive)
        if not counts and evidence.undone(match.no, issue.category):
            continue
        usable[issue.id] = match
    return list(usable.values())


def _is_quiet(match: Match) -> bool:
    """Return whether the line is a warning or other noise; where the failure shows again, that line counts."""
    shape = classify(match.hit.line.core)
    return shape is not None and shape.weight is Weight.NONE


def _frames(evidence: Evidence, match: Match) -> list[tuple[int, int]]:
    return [found.frames for found in evidence.candidates if found.hit.line.stream == match.hit.line.stream]


def _outranked(matches: list[Match]) -> list[Match]:
    present = {match.item.issue.id for match in matches}
    beaten = {other for match in matches for other in match.item.issue.over if other in present}
    return [match for match in matches if match.item.issue.id not in beaten]


def _explain(scored: list[Scored], match: Match, evidence: Evidence, facts: Mapping[str, str]) -> None:
    """Attach a known issue to the candidate whose line it explains, or add it as a candidate of its own."""
    issue = match.item.issue
    home = next((item for item in scored if item.found and _covers(item.found, match)), None)
    bonus = (KNOWN_WEAK if issue.weak else KNOWN) - (0 if is_affected(issue, facts) else AGAINST_FACTS)
    if home is None:
        around = [found for found in evidence.candidates if _covers(found, match)]
        if any(_is_past(found, evidence) for found in around):
            return
        shape = classify(match.hit.line.core)
        quiet = issue.silent or (shape is not None and shape.weight is Weight.NONE)
        base = SILENT - KNOWN if quiet else MENTION
        scored.append(Scored(match.no, base + bonus - _later(scored, match.no), issue.category, None, match))
        return
    if issue.silent:
        bonus = 0
    inner = home.inner
    if home.match is None and inner is not None and inner.match is None:
        inner.match, inner.score = match, inner.score + bonus
        if not issue.weak:  # the exact statement is there, not in what was raised further inside
            inner.no = match.no
    elif home.match is None:
        home.match, home.score = match, max(home.score, Weight.WRAPPER) + bonus
        home.no = match.no
    else:
        scored.append(Scored(match.no, home.score - 1, issue.category, None, match))


def _is_harmless(found: Candidate, evidence: Evidence) -> bool:
    return is_harmless(found) or (found.hit.no, found.end) in evidence.superseded


def _is_past(found: Candidate, evidence: Evidence) -> bool:
    return _is_harmless(found, evidence) or evidence.undone(found.no, found.category)


def _later(scored: list[Scored], no: int) -> float:
    before = sum(1 for item in scored if item.no < no and item.score > Weight.WRAPPER)
    return float(min(before * LATER, MOST_LATER))


def _covers(found: Candidate, match: Match) -> bool:
    return found.hit.no <= match.no <= found.end and found.hit.line.stream == match.hit.line.stream


def _explained_by_silent(scored: list[Scored]) -> list[Scored]:
    """Put a warning first where the best candidate is what it warned of."""
    if not scored:
        return scored
    text = _text(scored[0])
    for item in scored[1:]:
        if item.match and any(pattern.search(text) for pattern in item.match.item.explains):
            return [item, *(other for other in scored if other is not item)]
    return scored


def _text(item: Scored) -> str:
    line = item.found.line if item.found else item.match.line if item.match else None
    return line.core if line else ""
