"""Compute the indicators of the built-in strategies; NaN where one has no value yet.

They are TA-Lib's, except for those that it computes by running sums (`windows`).

`import talib` imports polars and pandas to accept their series. polars starts threads on import,
which a fork server must not have, and both cost every worker time and memory for nothing: bars are
numpy arrays. So talib gets stand-ins of their classes, with which it takes the series of a strategy
that imports them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.windows import window_deviation, window_mean
from stratsweep_server.backtest.importing import deferred
from stratsweep_server.backtest.indicators import indicator
from stratsweep_server.market_data.bars import Bars, read_only

Values = NDArray[np.float64]


with deferred({"polars": ("DataFrame", "Series"), "pandas": ("DataFrame", "Series")}):
    import talib


@indicator
def simple_average(bars: Bars, period: int) -> Values:
    """Return the mean of the last `period` closes."""
    return window_mean(read_only(bars.close), period)


@indicator
def exponential_average(bars: Bars, span: int) -> Values:
    """Return the exponential average of closes, which starts as the mean of the first `span`.

    A new close weighs 2 / (span + 1).
    """
    average: Values = talib.EMA(bars.close, timeperiod=span)
    return average


@indicator
def relative_macd_gap(bars: Bars, fast: int, slow: int, signal: int) -> Values:
    """Return the MACD line (fast minus slow), minus its signal line, over the close (Appel).

    Both averages begin on the bar on which the longer one exists, each with the mean of as many
    closes up to there as its span. Equal spans give a line of zeros.
    """
    line, signal_line, _ = talib.MACD(
        bars.close, fastperiod=fast, slowperiod=slow, signalperiod=signal
    )
    gap: Values = (line - signal_line) / bars.close
    # TA-Lib swaps the spans so that the shorter one is fast.
    return gap if fast <= slow else -gap


@indicator
def relative_strength(bars: Bars, period: int) -> Values:
    """Return Wilder's relative strength index of closes, 0 to 100; NaN until a close differs."""
    rsi: Values = talib.RSI(bars.close, timeperiod=period)
    # TA-Lib gives 0 where there is neither gain nor loss, which would count as oversold.
    changed = bars.close != bars.close[0]
    rsi[: changed.argmax() if changed.any() else len(rsi)] = np.nan
    return rsi


@indicator
def average_move(bars: Bars, period: int) -> Values:
    """Return Wilder's average of the absolute changes of the close, in currency.

    It is the sum of the average gain and the average loss of `relative_strength`: the average true
    range of bars that are nothing but their closes.
    """
    move: Values = talib.ATR(bars.close, bars.close, bars.close, timeperiod=period)
    return move


@indicator
def standard_deviation(bars: Bars, period: int) -> Values:
    """Return the population standard deviation (ddof = 0) of the last `period` closes."""
    return window_deviation(read_only(bars.close), period)


@indicator
def highest_before(bars: Bars, period: int) -> Values:
    """Return the highest high of the `period` bars before each bar."""
    return _before(talib.MAX(bars.high, timeperiod=period))


@indicator
def lowest_before(bars: Bars, period: int) -> Values:
    """Return the lowest low of the `period` bars before each bar."""
    return _before(talib.MIN(bars.low, timeperiod=period))


@indicator
def rate_of_change(bars: Bars, period: int) -> Values:
    """Return the change of the close over the last `period` bars, as a fraction."""
    change: Values = talib.ROCP(bars.close, timeperiod=period)
    return change


def _before(values: Values) -> Values:
    """Shift by one bar: the value of the bar before."""
    shifted = np.empty_like(values)
    shifted[0] = np.nan
    shifted[1:] = values[:-1]
    return shifted
