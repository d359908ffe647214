"""Indicators: computed once for each distinct parameter, kept, and never overwritten in use."""

from weakref import WeakSet

import numpy as np
import pytest
from stratsweep_server.backtest import indicator, indicators

from .markets import random_bars

BARS = random_bars(1, 50)
COLUMN_BYTES = 50 * 8


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    """Other tests' indicators have bars of their own: they would count."""
    monkeypatch.setattr(indicators, "_stores", WeakSet())


@pytest.fixture
def shifted():
    calls = []

    @indicator
    def shifted(bars, period: int, factor: float = 1.0):
        calls.append((period, factor))
        return np.roll(bars.close, period) * factor

    shifted.calls = calls
    return shifted


def test_each_distinct_value_is_computed_once(shifted):
    columns = shifted(BARS, np.array([3, 1, 3, 2, 1, 1]))
    assert sorted(shifted.calls) == [(1, 1.0), (2, 1.0), (3, 1.0)]
    for row, period in enumerate([3, 1, 3, 2, 1, 1]):
        np.testing.assert_array_equal(columns.table[columns.rows[row]], np.roll(BARS.close, period))


def test_columns_are_kept_for_the_next_decision(shifted):
    for periods in ([1, 2], [2, 3], [1, 3]):
        indicators.begin_decision()
        shifted(BARS, np.array(periods))
    assert len(shifted.calls) == 3


def test_several_parameters_are_one_key(shifted):
    columns = shifted(BARS, np.array([1, 1, 2]), np.array([0.5, 2.0, 0.5]))
    assert len(shifted.calls) == 3
    np.testing.assert_array_equal(columns.table[columns.rows[1]], np.roll(BARS.close, 1) * 2)


def test_a_single_value_is_a_batch_of_one(shifted):
    columns = shifted(BARS, 4)
    assert columns.rows.shape == (1,)
    np.testing.assert_array_equal(shifted.column(BARS, 4), columns.table[columns.rows[0]])


def test_other_bars_have_columns_of_their_own(shifted):
    other = random_bars(2, 30)
    assert shifted(BARS, 1).table.shape[1] == 50
    assert shifted(other, 1).table.shape[1] == 30
    assert len(shifted.calls) == 2


def test_columns_in_use_survive_more_of_them_than_are_kept(shifted, monkeypatch):
    monkeypatch.setattr(indicators, "KEPT_BYTES", 3 * COLUMN_BYTES)
    indicators.begin_decision()
    first = shifted(BARS, np.arange(3))
    second = shifted(BARS, np.arange(3, 12))
    for columns, periods in ((first, range(3)), (second, range(3, 12))):
        for row, period in zip(columns.rows, periods, strict=True):
            np.testing.assert_array_equal(columns.table[row], np.roll(BARS.close, period))


def test_going_round_a_grid_larger_than_what_is_kept_finds_most_of_it(shifted, monkeypatch):
    monkeypatch.setattr(indicators, "KEPT_BYTES", 8 * COLUMN_BYTES)
    for period in [*range(10)] * 3:
        indicators.begin_decision()
        shifted(BARS, period)
    assert len(shifted.calls) < 20


def test_all_indicators_of_a_process_share_one_bound(shifted, monkeypatch):
    monkeypatch.setattr(indicators, "KEPT_BYTES", 20 * COLUMN_BYTES)
    markets = [random_bars(seed, 50) for seed in range(30)]
    other = indicator(lambda bars, period: np.roll(bars.open, period))
    for _ in range(2):
        for number, bars in enumerate(markets):
            indicators.begin_plan(number // 10)  # ten symbols each
            for each in (shifted, other):
                columns = each(bars, np.arange(3))
                np.testing.assert_array_equal(
                    columns.table[columns.rows[1]], each._function(bars, 1)
                )
            assert indicators.kept_bytes() <= indicators.KEPT_BYTES
    assert indicators.kept_bytes() > indicators.KEPT_BYTES / 2


def test_what_other_plans_keep_goes_first(shifted, monkeypatch):
    monkeypatch.setattr(indicators, "KEPT_BYTES", 9 * COLUMN_BYTES)
    first, second = random_bars(1, 50), random_bars(2, 50)
    for plan, bars in (("first", first), ("second", second)):
        indicators.begin_plan(plan)
        shifted(bars, np.arange(7))
        shifted(bars, np.arange(7))
    assert len(shifted.calls) == 14, "what runs now is kept"
    indicators.begin_plan("first")
    shifted(first, np.arange(7))
    assert len(shifted.calls) == 21, "what ran before was dropped"


def test_plans_that_take_turns_and_do_not_fit_together_are_not_all_dropped(shifted, monkeypatch):
    monkeypatch.setattr(indicators, "KEPT_BYTES", 9 * COLUMN_BYTES)
    markets = [random_bars(seed, 50) for seed in range(4)]
    for _ in range(10):
        for plan, bars in enumerate(markets):
            indicators.begin_plan(plan)
            shifted(bars, np.arange(4))
    assert len(shifted.calls) <= 120, "of 160: one of four stays"


def test_symbols_of_one_plan_that_do_not_fit_together_are_not_all_dropped(shifted, monkeypatch):
    monkeypatch.setattr(indicators, "KEPT_BYTES", 9 * COLUMN_BYTES)
    markets = [random_bars(seed, 50) for seed in range(4)]
    indicators.begin_plan("one")
    for _ in range(10):
        for bars in markets:
            indicators.begin_decision()
            shifted(bars, np.arange(4))
    assert len(shifted.calls) <= 120, "of 160: one of four stays"


def test_what_is_kept_of_bars_goes_with_them(shifted):
    shifted(random_bars(5, 50), np.arange(4))
    assert indicators.kept_bytes() == 0


def test_a_table_cannot_be_written_to(shifted):
    with pytest.raises(ValueError, match="read-only"):
        shifted(BARS, 1).table[0, 0] = 0.0


def test_what_is_not_one_value_per_bar_is_refused():
    @indicator
    def short(bars, period):
        return bars.close[period:]

    with pytest.raises(ValueError, match=r"'short' must return one value per bar, 50; .*\(48,\)"):
        short(BARS, 2)


def test_an_indicator_keeps_its_name_and_docstring():
    @indicator
    def mean(bars):
        "The mean."
        return np.full(len(bars), bars.close.mean())

    assert (mean.__name__, mean.__doc__) == ("mean", "The mean.")
    assert mean(BARS).rows.tolist() == [0]
