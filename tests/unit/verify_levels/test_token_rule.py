import math

import pytest
import token_rule
from hypothesis import given
from hypothesis import strategies as st

TOKENS = [[number * 64 + step for step in range(64)] for number in range(16)]
MARGINS = [[1.0] * 64 for _ in TOKENS]
BOUNDS = [[0.25] * 64 for _ in TOKENS]


def judge(got, **more):
    return token_rule.judge(TOKENS, got, margins=MARGINS, bounds=BOUNDS, **more)


def changed(sequence, step, token):
    got = [list(row) for row in TOKENS]
    got[sequence][step] = token
    return got


def test_identical_sequences_pass():
    verdict = judge(TOKENS)
    assert verdict.passed
    assert verdict.why == "16 of 16 sequences identical, 1024 distinct tokens"
    assert verdict.differences == ()


def test_a_difference_where_the_reference_was_sure_fails_and_is_named():
    verdict = judge(changed(3, 7, 31999))
    assert not verdict.passed
    assert "sequence 3 differs at token 7: 31999 instead of 199" in verdict.why


def test_a_difference_below_the_bound_is_excused_but_counts():
    margins = [list(row) for row in MARGINS]
    margins[3][7] = 0.1
    got = changed(3, 7, 31999)
    verdict = token_rule.judge(TOKENS, got, margins=margins, bounds=BOUNDS)
    assert verdict.differences[0].excused
    assert verdict.why == "1 of 16 sequences differ, at most 5% may"
    assert token_rule.judge(TOKENS, got, margins=margins, bounds=BOUNDS, allowed=0.1).passed


def test_what_follows_an_excused_difference_is_not_judged():
    margins = [list(row) for row in MARGINS]
    margins[3][7] = 0.1
    got = [list(row) for row in TOKENS]
    got[3][7:] = [5] * 57
    verdict = token_rule.judge(TOKENS, got, margins=margins, bounds=BOUNDS, allowed=0.1)
    assert [(one.step, one.excused) for one in verdict.differences] == [(7, True)]
    assert verdict.passed


def test_a_collapsed_model_fails():
    cycle = [[5, 9] * 32 for _ in TOKENS]
    verdict = token_rule.judge(cycle, cycle, margins=MARGINS, bounds=BOUNDS)
    assert not verdict.passed
    assert "only 2 distinct tokens, 200 are needed" in verdict.why


@pytest.mark.parametrize("got", [TOKENS[:15], [row[:63] for row in TOKENS], [[*row, 1] for row in TOKENS]])
def test_missing_and_surplus_tokens_are_never_excused(got):
    verdict = token_rule.judge(TOKENS, got, margins=[[0.0] * 64] * 16, bounds=BOUNDS)
    assert not verdict.passed
    assert all(not one.excused for one in verdict.differences)


def test_nothing_to_compare_fails():
    assert not token_rule.judge([], [], margins=[], bounds=[], min_distinct=0).passed


def test_between_two_programs_the_margin_is_of_the_step_where_the_first_left_the_reference():
    margins = [list(row) for row in MARGINS]
    margins[3][7] = 0.1
    eager = changed(3, 7, 31999)
    graph = [list(row) for row in eager]
    graph[3][9] = 4
    told = {"margins": margins, "bounds": BOUNDS, "allowed": 0.1}
    assert token_rule.judge(eager, graph, reference=TOKENS, **told).passed
    assert not token_rule.judge(eager, graph, **told).passed


def test_bound_of_the_small_llama():
    # u = 2^-8, 46 roundings: 4 * sqrt(2) / 256 * (sqrt(46) + 4.2)
    bound = token_rule.margin_bound("bfloat16", 4, std=1.0, top=4.2)
    assert bound == pytest.approx(4 * math.sqrt(2) / 256 * (math.sqrt(46) + 4.2))
    assert token_rule.margin_bound("float16", 4, std=1.0, top=4.2) == pytest.approx(bound / 8)


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5),
    st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5),
)
def test_any_tokens_get_a_verdict_and_only_equal_ones_have_no_difference(expected, got):
    zeros = [[0.0] * len(row) for row in expected]
    verdict = token_rule.judge(expected, got, margins=zeros, bounds=zeros, min_distinct=0)
    same = all(index < len(got) and got[index] == row for index, row in enumerate(expected) if row)
    assert bool(verdict.differences) == any(
        token_rule.first_difference(row, got[index] if index < len(got) else []) is not None
        for index, row in enumerate(expected)
    )
    if same and len(got) == len(expected):
        assert not [one for one in verdict.differences if expected[one.sequence]]
