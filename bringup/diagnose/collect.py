"""One pass over a log: candidates, known issues, signs of success."""

from __future__ import annotations

import functools
import io
import re
from collections import deque

from bringup.diagnose.attempts import ATTEMPT_TRIGGERS, is_again, tried_again
from bringup.diagnose.blocks import Candidate, read_block
from bringup.diagnose.ending import chance_of_success
from bringup.diagnose.evidence import Evidence
from bringup.diagnose.inside import wrapped_line
from bringup.diagnose.knowledge import Knowledge
from bringup.diagnose.match import Match, Matcher
from bringup.diagnose.outcome import (
    SUCCESS_TRIGGERS,
    is_counted,
    is_ended,
    is_given_up,
    is_hard,
    is_harmless,
    is_stopped,
    success_of,
)
from bringup.diagnose.reader import Hit, Reader, Stream
from bringup.diagnose.shapes import FOREIGN_TRIGGERS, TRIGGERS, Shape, Weight, classify
from bringup.diagnose.text import Line
from bringup.model.knowledge import Category

# Of lines that differ only in numbers this many are kept, and so many candidates altogether; memory stays bounded.
ALIKE = 2
MOST = 500
LATEST = 8  # so many of the latest of those are looked at too: an attempt that fails like the ones before is the last
ENOUGH = 100  # so many candidates are kept whether they were dealt with or not
MOST_MATCHES = 8
# A tool that says so many lines after the last step of a build that it stopped speaks of that build.
SAME_BUILD = 400
# So many lines of a block's message are searched for known issues.
INSIDE = 150
# Among so many lines at the end the status of the whole run is looked for.
LAST = 3

_QUIET = ("trace", "command", "passed", "zero", "ignored", "commit", "probe", "excerpt")


@functools.lru_cache(maxsize=4)
def triggers(knowledge: Knowledge) -> tuple[bytes, ...]:
    """Return the words that make a line worth a look, lower case: those of shapes, and what signatures want."""
    words = [*TRIGGERS]
    words += sorted(word for word in knowledge.scanned if not any(other in word for other in words))
    least = [word for word in words if not any(other != word and other in word for other in words)]
    return tuple(word.encode() for word in least)


class Collector:
    """Reads one log; afterwards `evidence`, `reader.lines` and `reader.tail` hold what is in it."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._matcher = Matcher(knowledge)
        self._triggers = triggers(knowledge)
        self._alike: dict[str, int] = {}
        self._latest: list[Candidate] = []
        self._repeats: deque[tuple[Hit, Shape]] = deque(maxlen=LATEST)
        self._reader = Reader(io.BytesIO(), ())
        self._seen: dict[str, list[Match]] = {}
        self._counted: set[int] = set()
        self._stopped: list[int] = []
        self.evidence = Evidence()

    def read(self, stream: Stream) -> Reader:
        """Read the stream to its end."""
        foreign = tuple(word.encode() for word in FOREIGN_TRIGGERS)
        later = tuple(word.encode() for word in (*SUCCESS_TRIGGERS, *ATTEMPT_TRIGGERS))
        self._reader = reader = Reader(stream, self._triggers, foreign=foreign, later=later)
        for hit in reader.hits():
            self._take(hit)
        for hit, shape in self._repeats:
            self._store_block(hit, shape)
        self.evidence.candidates += self._latest
        for back, line in enumerate(reversed(reader.tail)):
            self._success(reader.lines - back, line)
            self.evidence.ended |= back < LAST and is_ended(line)
        kept = [item for item in self.evidence.successes if not self._is_void(item[0])]
        self.evidence.successes = sorted(kept, key=lambda item: item[0])
        matches = [match for found in self._seen.values() for match in found]
        self.evidence.matches = sorted(matches, key=lambda match: match.no)
        self.evidence.settle()
        self.evidence.well = chance_of_success(self._knowledge.ending, reader.tail, self.evidence, reader.lines)
        return reader

    def _take(self, hit: Hit) -> None:
        if " PASSED" in hit.line.core or hit.line.core.endswith("... ok"):  # test runners print millions of these
            return
        shape = classify(hit.line.core)
        self._success(hit.no, hit.line)
        if is_hard(hit.line):
            self.evidence.hard.append(hit.no)
            self.evidence.given_up |= is_given_up(hit.line)
            del self.evidence.hard[1000:-1]
        if is_again(hit.line):
            self._again()
        if is_stopped(hit.line):
            self._stopped.append(hit.no)
            del self._stopped[1000:-1]
        if shape is not None and shape.name in _QUIET:
            return
        noise = shape is not None and shape.weight is Weight.NONE
        if hit.line.level != "D":
            self._match(hit)
        if shape is None or noise:
            return
        if self._fresh(hit):
            self._store_block(hit, shape)
        else:
            self._repeats.append((hit, shape))

    def _store_block(self, hit: Hit, shape: Shape) -> None:
        found = read_block(hit, shape)
        if found is not None:
            hit.keep()
            self._match_inside(found)
            self._match_wrapped(found)
            self._store(found)

    def _success(self, no: int, line: Line) -> None:
        good: frozenset[Category] = success_of(line)
        if good:
            self.evidence.successes.append((no, good))
            del self.evidence.successes[1000:-1]
            if is_counted(line):
                self._counted.add(no)

    def _again(self) -> None:
        """Something begins once more: what fails in the same words now counts as well."""
        self._alike.clear()
        for found in self._seen.values():
            del found[2:]

    def _is_void(self, no: int) -> bool:
        """Return whether the line only counted to the end of a build that then stopped (`-k`)."""
        return no in self._counted and any(no < at <= no + SAME_BUILD for at in self._stopped)

    def _match_inside(self, found: Candidate) -> None:
        """Look for known issues in the message of a block, whose lines need no word of error of their own."""
        last = min(found.end, found.hit.no + len(found.hit.after) - 1, max(found.no, found.hit.no) + INSIDE)
        rows = [found.hit.below(no - found.hit.no) for no in range(max(found.hit.no, found.frames[1]) + 1, last + 1)]
        known = sum(self._match(row) for row in rows)
        if not known and found.hit.line.core.startswith("CMake Error"):
            for row in rows:
                self._match(row.unwrapped())
        elif not known and found.kind in ("traceback", "exception", "general"):
            self._match(found.hit.below(found.no - found.hit.no).unwrapped(2))  # pasted at the width of a window

    def _match_wrapped(self, found: Candidate) -> None:
        """Look for known issues in what a tool shows of a program that failed, whatever its lines look like."""
        if found.weight is not Weight.WRAPPER or found.no != found.hit.no:
            return
        inner = wrapped_line(found.hit)
        if inner is not None and inner[0] > found.hit.no:
            self._match(found.hit.below(inner[0] - found.hit.no))

    def _match(self, hit: Hit) -> int:
        """Store the known issues that fit at a line; returns how many do."""
        found = self._matcher.matches(hit)
        for match in found:
            seen = self._seen.setdefault(match.item.issue.id, [])
            if len(seen) < MOST_MATCHES or match.last:
                self._reader.alert = True
                hit.keep()
                del seen[MOST_MATCHES - 1 :]
                seen.append(match)
        return len(found)

    def _fresh(self, hit: Hit) -> bool:
        if hit.line.core.startswith(("Traceback", "curl: (")):
            return True
        key = re.sub(r"(?<!error: )\d+", "0", hit.line.core[:200])  # the status of a download makes a difference
        self._alike[key] = self._alike.get(key, 0) + 1 if len(self._alike) < 20000 or key in self._alike else ALIKE
        return self._alike[key] <= ALIKE

    def _store(self, found: Candidate) -> None:
        self._reader.alert = True
        if len(self.evidence.candidates) >= ENOUGH and (
            is_harmless(found) or tried_again(found)
        ):  # they must not crowd out the real one
            self.evidence.dropped.append(found.no)
            del self.evidence.dropped[:-50]
            return
        if len(self.evidence.candidates) < MOST:
            self.evidence.candidates.append(found)
            return
        self._latest.append(found)
        del self._latest[:-50]
