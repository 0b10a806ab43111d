"""What one pass over a log has collected."""

from __future__ import annotations

from dataclasses import dataclass, field

from bringup.diagnose.attempts import redone, tried_again
from bringup.diagnose.blocks import Candidate
from bringup.diagnose.match import Match
from bringup.diagnose.shapes import Weight
from bringup.model.knowledge import Category

EVEN = 0.5  # chance of a good end where nothing tells


@dataclass(slots=True)
class Evidence:
    """All that one pass over a log has collected.

    Attributes:
        candidates: in the order of the log.
        matches: known issues, in the order of the log, the first of each id.
        successes: numbers of lines that report success, with what they prove harmless.
        hard: numbers of lines that say for good that a step failed.
        dropped: numbers of the latest lines that were dealt with and are not among the candidates.
        ended: whether the log's last lines give success as the end of the whole run.
        given_up: whether what ran it all (a CI) says that the run failed.
        failed: whether the run is known to have failed.
        well: how likely the end of the log makes it that the run ended well, 0 to 1.
        redone: first and last lines of failed attempts, up to where the same thing was done after all, with their end.
        superseded: first and last lines of failures after which the work was begun again, however that ended.
    """

    candidates: list[Candidate] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    successes: list[tuple[int, frozenset[Category]]] = field(default_factory=list)
    hard: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    ended: bool = False
    given_up: bool = False
    failed: bool = False
    well: float = EVEN
    redone: list[tuple[int, int, int]] = field(default_factory=list)
    superseded: list[tuple[int, int]] = field(default_factory=list)

    def settle(self) -> None:
        """Find the failures after which the same thing was done; what only says that they failed is settled too."""
        self.redone = [
            (found.hit.no, found.end, max(found.no, found.end) + below)
            for found in self.candidates
            if (below := redone(found))
        ]
        self.superseded = [(found.hit.no, found.end) for found in self.candidates if tried_again(found)]
        self.hard = [no for no in self.hard if not any(low <= no <= done for low, _, done in self.redone)]

    def settled(self, found: Candidate) -> bool:
        """Return whether this is a failed attempt at what was done later, or only says that there was one."""
        wrapper = found.weight <= Weight.WRAPPER
        return any(low <= found.no <= (done if wrapper else high) for low, high, done in self.redone)

    def undone(self, no: int, category: Category) -> bool:
        """Return whether a later success proves that an error at line `no` did not matter."""
        later = [at for at, categories in self.successes if at > no and category in categories]
        attempt = any(low <= no <= high for low, high, _ in self.redone)
        return attempt or self.ended or (bool(later) and not any(no <= at < later[-1] for at in self.hard))
