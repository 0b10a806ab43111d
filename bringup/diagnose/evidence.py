"""What one pass over a log has collected."""

from __future__ import annotations

from dataclasses import dataclass, field

from bringup.diagnose.blocks import Candidate
from bringup.diagnose.match import Match
from bringup.model.knowledge import Category


@dataclass(slots=True)
class Evidence:
    """All that one pass over a log has collected.

    Attributes:
        candidates: in the order of the log.
        matches: known issues, in the order of the log, the first of each id.
        successes: numbers of lines that report success, with what they prove harmless.
        hard: numbers of lines that say for good that a step failed.
        dropped: numbers of the latest lines that were dealt with and are not among the candidates.
        attempts: numbers of the latest lines that say that all begins once more.
        ended: whether the log's last lines give success as the end of the whole run.
    """

    candidates: list[Candidate] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    successes: list[tuple[int, frozenset[Category]]] = field(default_factory=list)
    hard: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    ended: bool = False

    def undone(self, no: int, category: Category) -> bool:
        """Return whether a later success proves that an error at line `no` did not matter."""
        if self.attempts and no < self.attempts[-1]:
            return True
        later = [at for at, categories in self.successes if at > no and category in categories]
        return self.ended or (bool(later) and not any(no <= at < later[-1] for at in self.hard))
