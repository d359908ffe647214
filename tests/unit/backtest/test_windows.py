"""Means and deviations of the last values, against exact sums; what came before has no part."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest.default.windows import window_deviation, window_mean
from stratsweep_server.market_data.bars import read_only

SERIES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60).map(np.array).map(read_only)


def exact(values, period):
    """Mean and variance of each whole window, in rational numbers."""
    ends = range(period, len(values) + 1)
    windows = [list(map(Fraction, values[end - period : end])) for end in ends]
    means = [sum(window) / period for window in windows]
    variances = [
        sum((value - mean) ** 2 for value in window) / period
        for window, mean in zip(windows, means, strict=True)
    ]
    return windows, means, variances


@settings(max_examples=200, deadline=None)
@given(SERIES, st.integers(1, 25))
def test_they_are_exact_but_for_the_rounding_of_the_windows_own_values(values, period):
    means, deviations = window_mean(values, period), window_deviation(values, period)
    first = min(period - 1, len(values))
    assert np.isnan(means[:first]).all()
    assert np.isnan(deviations[:first]).all()
    windows, exact_means, exact_variances = exact(values.tolist(), period)
    for number, window in enumerate(windows):
        spread = max(window) - min(window)
        size = max(window)
        mean, deviation = means[first + number], deviations[first + number]
        assert abs(Fraction(mean) - exact_means[number]) <= Fraction(1e-15) * period * size
        error = abs(Fraction(deviation) ** 2 - exact_variances[number])
        assert error <= Fraction(1e-15) * period * spread**2


@pytest.mark.parametrize("period", [1, 2, 7, 500])
@pytest.mark.parametrize("fall", [1e3, 1e9])
def test_values_that_stand_still_after_any_fall_have_exactly_their_mean_and_no_deviation(
    period, fall
):
    values = read_only(
        np.concatenate([np.geomspace(10.1 * fall, 10.1, 3_000), np.full(1_000, 10.1)])
    )
    still = slice(3_000 + period, None)
    assert set(window_mean(values, period)[still]) == {10.1}
    assert set(window_deviation(values, period)[still]) == {0.0}


def test_a_window_longer_than_the_values_has_none():
    assert np.isnan(window_mean(read_only(np.ones(5)), 6)).all()
    assert np.isnan(window_deviation(read_only(np.ones(5)), 10_000)).all()
