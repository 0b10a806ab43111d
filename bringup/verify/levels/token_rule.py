"""The rule for greedy tokens, and the bound that it uses. Pure Python, so that any reader can recompute a verdict.

Two right programs in bf16 do not give the same logits: they round at other places. Where the two best logits of the
fp32 reference are closer than that noise, either token is right. So sequences must be identical, or at their first
difference the reference's margin must lie below a bound that depends on the dtype, the depth and the reference alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

UNIT_ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}
"""Largest relative error of one rounding to nearest."""

ROUNDINGS_PER_LAYER = 11
"""Roundings to the dtype on the way through a layer: two norms, qkv, rope, attention, output projection, two
residual sums, gate-and-up projection, activation, down projection."""

ROUNDINGS_OUTSIDE = 2
"""The final norm and the head's product."""

CERTAINTY = 4.0
"""How many standard deviations of the noise the bound covers."""

MAX_DIFFERING = 0.05
"""Share of the sequences that may differ at all, even where the margin excuses them."""

MIN_DISTINCT = 200
"""Distinct tokens that all sequences together must hold: a collapsed model proves nothing."""

STATED_BOUND = (
    "margin < 4 * sqrt(2) * (u * sqrt(11 * layers + 2) * std(logits) + u * max|logit|), u = 2^-8 for bfloat16: "
    "four standard deviations of the difference of two logits that were each rounded 11 times a layer, plus the "
    "rounding of the logits themselves"
)


def margin_bound(dtype: str, layers: int, *, std: float, top: float) -> float:
    """Return the largest margin of two logits that rounding in `dtype` can turn around.

    Args:
        dtype: name of the dtype that the tested program computes in.
        layers: decoder layers of the model.
        std: standard deviation of the reference's logits over the vocabulary at this step.
        top: the largest of them.
    """
    noise = logit_noise(dtype, layers, std=std) + UNIT_ROUNDOFF[dtype] * abs(top)
    return CERTAINTY * math.sqrt(2.0) * noise


def logit_noise(dtype: str, layers: int, *, std: float) -> float:
    """Return the standard deviation of a logit's error from independent roundings, in the logits' own unit."""
    return UNIT_ROUNDOFF[dtype] * math.sqrt(ROUNDINGS_PER_LAYER * layers + ROUNDINGS_OUTSIDE) * std


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First difference of one sequence from the reference; `excused` if the reference was undecided there."""

    sequence: int
    step: int
    expected: int
    got: int
    margin: float
    bound: float
    excused: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Outcome of the rule over all sequences."""

    passed: bool
    why: str
    sequences: int
    tokens: int
    distinct: int
    differences: tuple[Difference, ...]

    def evidence(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return asdict(self)


def first_difference(expected: Sequence[int], got: Sequence[int]) -> int | None:
    """Index of the first token that differs or is missing, None if there is none."""
    for step, token in enumerate(expected):
        if step >= len(got) or got[step] != token:
            return step
    return len(expected) if len(got) > len(expected) else None


def judge(
    expected: Sequence[Sequence[int]],
    got: Sequence[Sequence[int]],
    *,
    margins: Sequence[Sequence[float]],
    bounds: Sequence[Sequence[float]],
    reference: Sequence[Sequence[int]] | None = None,
    allowed: float = MAX_DIFFERING,
    min_distinct: int = MIN_DISTINCT,
) -> Verdict:
    """Apply the rule to `got`.

    Args:
        expected: tokens that should come, by sequence.
        got: tokens that came.
        margins: lead of the fp32 reference's best logit at each step.
        bounds: what rounding can turn around at each step.
        reference: tokens of the fp32 reference, if `expected` are another program's: where that one left the
            reference earlier than `got` leaves it, margin and bound are those of the step where it left.
        allowed: share of sequences that may differ.
        min_distinct: distinct tokens that `got` must hold.
    """
    differences = []
    for number, tokens in enumerate(expected):
        mine = got[number] if number < len(got) else ()
        step = first_difference(tokens, mine)
        if step is None:
            continue
        in_range = step < len(tokens) and step < len(mine)
        left = first_difference(reference[number], tokens) if reference else None
        at = step if left is None else min(step, left)
        known = in_range and at < len(margins[number])
        margin, bound = (margins[number][at], bounds[number][at]) if known else (math.inf, 0.0)
        differences.append(
            Difference(
                sequence=number,
                step=step,
                expected=tokens[step] if step < len(tokens) else -1,
                got=mine[step] if step < len(mine) else -1,
                margin=margin,
                bound=bound,
                excused=margin < bound,
            )
        )
    return _verdict(got, len(expected), tuple(differences), allowed, min_distinct)


def _verdict(
    got: Sequence[Sequence[int]], sequences: int, differences: tuple[Difference, ...], allowed: float, min_distinct: int
) -> Verdict:
    distinct = len({token for tokens in got for token in tokens})
    real = [difference for difference in differences if not difference.excused]
    problems = []
    if not sequences:
        problems.append("there is no sequence to compare")
    if real:
        one = real[0]
        problems.append(
            f"sequence {one.sequence} differs at token {one.step}: {one.got} instead of {one.expected}, where the "
            f"reference leads by {one.margin:.3f} and rounding explains at most {one.bound:.3f}"
        )
    if len(differences) > allowed * sequences:
        problems.append(f"{len(differences)} of {sequences} sequences differ, at most {allowed:.0%} may")
    if distinct < min_distinct:
        problems.append(
            f"all sequences hold only {distinct} distinct tokens, {min_distinct} are needed to prove anything"
        )
    same = sequences - len(differences)
    return Verdict(
        passed=not problems,
        why="; ".join(problems) or f"{same} of {sequences} sequences identical, {distinct} distinct tokens",
        sequences=sequences,
        tokens=sum(len(tokens) for tokens in got),
        distinct=distinct,
        differences=differences,
    )
