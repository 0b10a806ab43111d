"""Whether a run that logged errors ended well all the same, judged by how its log ends.

Scripts and builds live with errors in more ways than can be listed; how a log ends tells them apart better than any
list. The facts below go into a logistic regression whose wordings and weights stand in knowledge/ending.toml.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bringup.diagnose.evidence import EVEN, Evidence
from bringup.diagnose.knowledge import CompiledEnding
from bringup.diagnose.outcome import success_of
from bringup.diagnose.shapes import Weight, classify
from bringup.diagnose.text import Line
from bringup.model.knowledge import EndingWeights

TAIL = 14  # lines with text that are looked at
FADE = 0.7  # what a line counts of what the line below it counts
LONGEST = 500  # characters of a line; what it says stands at its beginning
CALM = 30  # lines after the last error, none of which speaks of a failure, that count as well as a sign of success
_UNFINISHED = re.compile(r"\[\s*\d+(?:/\d+|%)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the end of a log looks like; distances are ln(1 + lines with text below), of `TAIL` where there is none.

    Attributes:
        shape: distance of the last line that has the shape of an error.
        bad: distance of the last line with a word of failure.
        good: distance of the last line that reports something done.
        advice: share of the last lines that only add to what failed, the later ones counting more.
        advised: whether the very last line does.
        stopped: whether a line that says for good that a step failed comes after the last sign of success.
        failed: whether there is such a line at all, of a step that was not done later.
        over: whether a sign of success comes after all that could be a root cause.
        known: whether a known issue comes after the last sign of success.
    """

    shape: float
    bad: float
    good: float
    advice: float
    advised: float
    stopped: float
    failed: float
    over: float
    known: float


def chance_of_success(ending: CompiledEnding | None, tail: Sequence[Line], evidence: Evidence, lines: int) -> float:
    """Return how likely it is that a run with such a log ended well, 0 to 1; `EVEN` where that cannot be told.

    Args:
        ending: wordings and weights.
        tail: the last lines of the log.
        evidence: what was collected.
        lines: how many lines the log has.
    """
    if ending is None or not evidence.candidates:
        return EVEN
    facts = facts_of(ending, tail, evidence)
    likely = likelihood(ending.weights, facts)
    mute = facts.good >= facts.shape and not facts.over
    below = lines - max(found.end for found in evidence.candidates)
    counting = any(_UNFINISHED.match(line.core) for line in tail[-2:])
    ends_in_it = mute and (below < CALM or counting)
    last_word = not facts.bad or not facts.shape  # the very last line speaks of a failure
    return min(likely, EVEN) if ends_in_it or last_word or evidence.given_up else likely


def likelihood(weights: EndingWeights, facts: Facts) -> float:
    """Return how likely it is that a run with such an end of its log ended well, 0 to 1."""
    score = weights.bias + sum(getattr(weights, name) * value for name, value in asdict(facts).items())
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, score))))


def facts_of(ending: CompiledEnding, tail: Sequence[Line], evidence: Evidence) -> Facts:
    """Return the facts of the end of a log."""
    rows = [line._replace(core=line.core[:LONGEST]) for line in reversed(tail) if line.core][:TAIL]

    def is_advice(line: Line) -> bool:
        return ending.advice.match(line.core) is not None

    def is_bad(line: Line) -> bool:
        return ending.bad.search(ending.mere.sub("", line.core)) is not None

    def is_good(line: Line) -> bool:
        done = ending.good.search(line.core) is not None and not is_bad(line) and not is_advice(line)
        return done or bool(success_of(line))

    success = max((no for no, _ in evidence.successes), default=0)
    roots = [found.no for found in evidence.candidates if found.weight > Weight.WRAPPER]
    matches = [match.no for match in evidence.matches if not (match.item.issue.weak or match.item.issue.silent)]
    return Facts(
        shape=_distance(rows, _has_shape),
        bad=_distance(rows, is_bad),
        good=_distance(rows, is_good),
        advice=(1 - FADE) * sum(FADE**back for back, line in enumerate(rows) if is_advice(line)),
        advised=float(any(map(is_advice, rows[:1]))),
        stopped=float(max(evidence.hard, default=0) > success),
        failed=float(bool(evidence.hard)),
        over=float(success > max(roots, default=0)),
        known=float(max(matches, default=0) > success),
    )


def _distance(rows: Sequence[Line], fits: Callable[[Line], bool]) -> float:
    return math.log1p(next((back for back, line in enumerate(rows) if fits(line)), TAIL))


def _has_shape(line: Line) -> bool:
    shape = classify(line.core)
    return shape is not None and shape.weight is not Weight.NONE and shape.name != "git-probe"
