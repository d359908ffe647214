"""Each built-in strategy against its definition in plain Python."""

import math
from itertools import pairwise

import numpy as np
import pytest
from stratsweep_server.backtest.default import strategies as _registers  # noqa: F401
from stratsweep_server.backtest.registry import registered_strategies

from .markets import bars_of, random_bars

BARS = random_bars(11, 120)
CLOSE = BARS.close.tolist()


def decide(name, bars=BARS, **parameters):
    return np.asarray(registered_strategies()[name].decide(bars, parameters)).tolist()


def simple_average(values, count):
    return [
        sum(values[end - count : end]) / count if end >= count else math.nan
        for end in range(1, len(values) + 1)
    ]


def exponential_average(values, span, start):
    """Begins at index `start + span - 1` with the mean of the `span` values up to there."""
    average = [math.nan] * (start + span - 1)
    average.append(sum(values[start : start + span]) / span)
    for value in values[start + span :]:
        average.append(average[-1] + 2 / (span + 1) * (value - average[-1]))
    return average


def crossing(fast, slow, allow_short):
    return [
        1 if f > s else -1 if f < s and allow_short else 0 for f, s in zip(fast, slow, strict=True)
    ]


def held(enter_long, exit_long, enter_short, exit_short):
    positions, position = [], 0
    for bar in range(len(enter_long)):
        if (position == 1 and exit_long[bar]) or (position == -1 and exit_short[bar]):
            position = 0
        if enter_long[bar]:
            position = 1
        if enter_short[bar]:
            position = -1
        positions.append(position)
    return positions


def test_sma_cross_worked_out_by_hand():
    bars = bars_of([1] * 7, [4, 2, 3, 5, 4, 3, 3])
    # Average of two:   -, 3, 2.5, 4, 4.5, 3.5, 3
    # Average of three: -, -, 3, 3.33, 4, 4, 3.33
    assert decide("sma_cross", bars, fast=2, slow=3) == [0, 0, 0, 1, 1, 0, 0]
    short = decide("sma_cross", bars, fast=2, slow=3, allow_short=True)
    assert short == [0, 0, -1, 1, 1, -1, -1]


def test_a_tie_of_averages_is_flat():
    # Averages of two and of four are equal on the last bar: (3 + 1) / 2 = (1 + 3 + 3 + 1) / 4.
    bars = bars_of([1] * 4, [1, 3, 3, 1])
    assert decide("sma_cross", bars, fast=2, slow=4, allow_short=True) == [0, 0, 0, 0]


def test_a_tie_is_not_decided_by_rounding():
    # The averages of two and four are equal; in doubles the running sums differ in the last bit.
    closes = [0.1, 0.7, 0.3, 0.2, 0.2, 0.3, 0.3, 0.2]
    bars = bars_of([1] * 8, closes)
    assert decide("sma_cross", bars, fast=2, slow=4, allow_short=True)[-1] == 0


@pytest.mark.parametrize("allow_short", [False, True])
def test_sma_cross_follows_its_definition(allow_short):
    expected = crossing(simple_average(CLOSE, 4), simple_average(CLOSE, 9), allow_short)
    assert decide("sma_cross", fast=4, slow=9, allow_short=allow_short) == expected


@pytest.mark.parametrize("allow_short", [False, True])
def test_ema_cross_follows_its_definition(allow_short):
    fast, slow = exponential_average(CLOSE, 4, 0), exponential_average(CLOSE, 9, 0)
    expected = crossing(fast, slow, allow_short)
    assert decide("ema_cross", fast=4, slow=9, allow_short=allow_short) == expected


@pytest.mark.parametrize("allow_short", [False, True])
@pytest.mark.parametrize(("fast", "slow"), [(4, 9), (9, 4), (6, 6), (2, 30), (30, 2)])
def test_macd_cross_follows_its_definition(fast, slow, allow_short):
    # Both averages begin on the bar on which the longer one exists.
    longest = max(fast, slow)
    fast_average = exponential_average(CLOSE, fast, longest - fast)
    slow_average = exponential_average(CLOSE, slow, longest - slow)
    line = [f - s for f, s in zip(fast_average, slow_average, strict=True)]
    signal = exponential_average(line, 3, longest - 1)
    expected = crossing(line, signal, allow_short)
    actual = decide("macd_cross", fast=fast, slow=slow, signal=3, allow_short=allow_short)
    assert actual == expected


def test_macd_cross_with_its_spans_exchanged_takes_the_other_side():
    usual = decide("macd_cross", fast=4, slow=9, allow_short=True)
    exchanged = decide("macd_cross", fast=9, slow=4, allow_short=True)
    assert set(usual) == {1, 0, -1}
    assert exchanged == [-position for position in usual]


def test_macd_cross_of_equal_spans_has_no_signal():
    assert not any(decide("macd_cross", fast=9, slow=9, allow_short=True))


@pytest.mark.parametrize("allow_short", [False, True])
def test_rsi_reversion_follows_its_definition(allow_short):
    period = 5
    changes = [after - before for before, after in pairwise(CLOSE)]
    gain = sum(max(change, 0) for change in changes[:period]) / period
    loss = sum(max(-change, 0) for change in changes[:period]) / period
    rsi = [math.nan] * period + [100 * gain / (gain + loss)]
    for change in changes[period:]:
        gain = (gain * (period - 1) + max(change, 0)) / period
        loss = (loss * (period - 1) + max(-change, 0)) / period
        rsi.append(100 * gain / (gain + loss))
    expected = held(
        [value < 30 for value in rsi],
        [value > 55 for value in rsi],
        [value > 65 and allow_short for value in rsi],
        [value < 55 for value in rsi],
    )
    parameters = {"period": 5, "oversold": 30.0, "overbought": 65.0, "neutral": 55.0}
    assert decide("rsi_reversion", allow_short=allow_short, **parameters) == expected


def test_rsi_reversion_takes_prices_that_have_not_moved_yet_for_no_signal():
    bars = bars_of([1] * 8, [5, 5, 5, 5, 5, 4, 4, 4])
    assert decide("rsi_reversion", bars, period=2) == [0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("allow_short", [False, True])
def test_bollinger_reversion_follows_its_definition(allow_short):
    period, deviations = 8, 1.5
    middle = simple_average(CLOSE, period)
    width = [
        deviations * float(np.std(CLOSE[end - period : end])) if end >= period else math.nan
        for end in range(1, len(CLOSE) + 1)
    ]
    bands = list(zip(CLOSE, middle, width, strict=True))
    expected = held(
        [close < mean - half for close, mean, half in bands],
        [close > mean for close, mean, _ in bands],
        [close > mean + half and allow_short for close, mean, half in bands],
        [close < mean for close, mean, _ in bands],
    )
    actual = decide(
        "bollinger_reversion", period=period, deviations=deviations, allow_short=allow_short
    )
    assert actual == expected


@pytest.mark.parametrize("allow_short", [False, True])
@pytest.mark.parametrize(("entry_period", "exit_period"), [(6, 3), (3, 6), (2, 50), (5, 10_000)])
def test_donchian_breakout_follows_its_definition(entry_period, exit_period, allow_short):
    high, low = BARS.high.tolist(), BARS.low.tolist()
    longest = max(entry_period, exit_period)

    def highest(count, bar):
        return max(high[bar - count : bar]) if bar >= longest else math.nan

    def lowest(count, bar):
        return min(low[bar - count : bar]) if bar >= longest else math.nan

    bars = range(len(CLOSE))
    expected = held(
        [CLOSE[bar] > highest(entry_period, bar) for bar in bars],
        [CLOSE[bar] < lowest(exit_period, bar) for bar in bars],
        [CLOSE[bar] < lowest(entry_period, bar) and allow_short for bar in bars],
        [CLOSE[bar] > highest(exit_period, bar) for bar in bars],
    )
    actual = decide(
        "donchian_breakout",
        entry_period=entry_period,
        exit_period=exit_period,
        allow_short=allow_short,
    )
    assert actual == expected


def test_donchian_breakout_trades_nothing_while_it_could_not_leave():
    bars = bars_of([1] * 7, [1, 2, 3, 4, 5, 6, 7])
    assert decide("donchian_breakout", bars, entry_period=2, exit_period=5) == [0] * 5 + [1, 1]
    assert decide("donchian_breakout", bars, entry_period=2, exit_period=7) == [0] * 7


@pytest.mark.parametrize("allow_short", [False, True])
def test_momentum_follows_its_definition(allow_short):
    changes = [math.nan] * 7 + [
        after / before - 1 for before, after in zip(CLOSE[:-7], CLOSE[7:], strict=True)
    ]
    expected = [1 if c > 0.02 else -1 if c < -0.02 and allow_short else 0 for c in changes]
    assert decide("momentum", period=7, threshold=0.02, allow_short=allow_short) == expected


def test_buy_and_hold_is_always_long():
    assert decide("buy_and_hold") == [1] * len(CLOSE)


@pytest.mark.parametrize("price", [10.0, 100.0, 7.0])
def test_a_change_that_equals_the_threshold_of_momentum_is_a_tie(price):
    closes = [price, price * 1.013, price * 1.013, price * 1.013]
    closes = [round(close, 4) for close in closes]
    bars = bars_of([1] * 4, closes)
    assert decide("momentum", bars, period=1, threshold=0.013, allow_short=True) == [0] * 4


@pytest.mark.parametrize("base", [20.0, 20.1, 500.3, 50_000.1])
def test_an_rsi_that_equals_its_level_is_a_tie(base):
    # One tick up and four down: of a move of five, a gain of one, an RSI of exactly 20.
    closes = [base, base + 0.1, base - 0.3, base - 0.3, base - 0.3]
    closes = [round(close, 1) for close in closes]
    parameters = {"period": 2, "oversold": 20.0, "overbought": 80.0, "allow_short": True}
    assert decide("rsi_reversion", bars_of([1] * 5, closes), **parameters) == [0] * 5
    mirrored = [round(2 * base - close, 1) for close in closes]
    assert decide("rsi_reversion", bars_of([1] * 5, mirrored), **parameters) == [0] * 5


@pytest.mark.parametrize("price", [100.0, 1e-7])
def test_an_rsi_goes_by_moves_however_small_beside_the_price_or_in_currency(price):
    # An up-move, then prices that stand still: the RSI stays 100, and is never oversold.
    closes = [price] * 3 + [1.01 * price] * 500
    assert not any(decide("rsi_reversion", bars_of([1] * 503, closes), period=14))
