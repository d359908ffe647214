"""The ranking: by score, then by combination index, undefined scores last."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.optimization.ranking import best_row, is_better, rank

MAXIMIZE, MINIMIZE = OptimizationDirection.MAXIMIZE, OptimizationDirection.MINIMIZE
BOTH = (MAXIMIZE, MINIMIZE)
directions = st.sampled_from(BOTH)
# Few different scores, so that ties are common.
scores = st.lists(
    st.sampled_from([math.nan, -math.inf, -1.5, -0.0, 0.0, 5e-324, 1.0, math.inf]) | st.floats()
)


def ranked(scores, indices, direction=MAXIMIZE):
    order = rank(np.array(scores, dtype=float), np.array(indices, dtype=np.int64), direction)
    return [indices[row] for row in order]


def test_the_largest_score_is_first_when_maximizing():
    assert ranked([0.1, 0.9, 0.5], [0, 1, 2]) == [1, 2, 0]


def test_the_smallest_score_is_first_when_minimizing():
    assert ranked([0.1, 0.9, 0.5], [0, 1, 2], MINIMIZE) == [0, 2, 1]


@pytest.mark.parametrize("direction", BOTH)
def test_undefined_scores_are_last_in_either_direction(direction):
    assert ranked([math.nan, -1e9, math.nan, 1e9], [0, 1, 2, 3], direction)[2:] == [0, 2]


@pytest.mark.parametrize("direction", BOTH)
def test_equal_scores_are_in_the_order_of_their_combinations(direction):
    assert ranked([7.0, 7.0, 7.0], [30, 10, 20], direction) == [10, 20, 30]


@pytest.mark.parametrize("direction", BOTH)
def test_negative_zero_is_a_zero(direction):
    assert ranked([-0.0, 0.0, -0.0], [2, 1, 0], direction) == [0, 1, 2]


def test_nothing_ranks_to_nothing():
    assert ranked([], []) == []


@pytest.mark.parametrize("first_index", [0, 2**62])
@pytest.mark.parametrize("decimals", [0, 3, 17])
def test_many_scores_with_many_ties_or_none_are_in_the_same_order(decimals, first_index):
    random = np.random.default_rng(decimals)
    scores = random.normal(size=20_000).round(decimals)
    scores[random.random(20_000) < 0.05] = math.nan
    indices = random.permutation(20_000) + first_index
    expected = np.lexsort((indices, np.where(np.isnan(scores), math.inf, -scores)))
    np.testing.assert_array_equal(rank(scores, indices, MAXIMIZE), expected)


@given(scores, directions, st.randoms(use_true_random=False))
def test_the_order_is_the_stated_rule_whatever_the_order_of_arrival(scores, direction, random):
    indices = random.sample(range(10 * len(scores)), len(scores))
    sign = -1 if direction is MAXIMIZE else 1
    rows = sorted(
        zip(scores, indices, strict=True),
        key=lambda row: (True, 0, row[1]) if math.isnan(row[0]) else (False, sign * row[0], row[1]),
    )
    assert ranked(scores, indices, direction) == [index for _, index in rows]


@given(scores, directions)
def test_the_order_is_a_permutation_of_the_rows(scores, direction):
    order = rank(np.array(scores, dtype=float), np.arange(len(scores)), direction)
    assert sorted(order.tolist()) == list(range(len(scores)))


@given(scores, directions, st.integers(0, 50), st.randoms(use_true_random=False))
def test_the_best_few_are_the_first_of_the_full_ranking(scores, direction, limit, random):
    indices = np.array(random.sample(range(10 * len(scores)), len(scores)), dtype=np.int64)
    values = np.array(scores, dtype=float)
    few = rank(values, indices, direction, limit)
    assert few.tolist() == rank(values, indices, direction)[: limit or None].tolist()


@given(scores, directions, st.randoms(use_true_random=False))
def test_the_best_row_is_the_first_of_the_ranking_if_its_score_is_defined(
    scores, direction, random
):
    indices = np.array(random.sample(range(10 * len(scores)), len(scores)), dtype=np.int64)
    values = np.array(scores, dtype=float)
    defined = [row for row in rank(values, indices, direction) if not math.isnan(values[row])]
    assert best_row(values, indices, direction) == (defined[0] if defined else None)


@pytest.mark.parametrize(
    ("score", "index", "direction", "expected"),
    [
        (2.0, 9, MAXIMIZE, True),
        (0.5, 1, MAXIMIZE, False),
        (0.5, 9, MINIMIZE, True),
        (2.0, 1, MINIMIZE, False),
        (1.0, 4, MAXIMIZE, True),
        (1.0, 4, MINIMIZE, True),
        (1.0, 6, MAXIMIZE, False),
        (1.0, 6, MINIMIZE, False),
    ],
)
def test_a_better_score_or_an_earlier_combination_of_the_same_is_better(
    score, index, direction, expected
):
    assert is_better(score, index, 1.0, 5, direction) is expected
