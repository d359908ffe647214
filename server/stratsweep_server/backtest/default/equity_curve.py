"""The equity curve in figures: returns, their deviation, drawdowns.

A change of equity by less than `ROUNDING` of it is the rounding of the arithmetic and counts as
none: otherwise a price that stands still would have losing bars and drawdowns that last for years.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.compilation import compiled

ROUNDING = 1e-12
_NANOSECONDS_PER_DAY = 86_400e9


class CurveSummary(NamedTuple):
    """Figures of an equity curve E of n bars with returns r = E[t] / E[t-1] - 1, t = 1 … n-1.

    Attributes:
        bar_count: n, at least 1.
        first_equity: Equity at the first close, in currency.
        last_equity: Equity at the last close, in currency.
        mean_return: Mean of r; NaN without returns.
        return_deviation: Sample standard deviation of r (ddof = 1); NaN below two returns.
        downside_deviation: √(mean of min(r, 0)² over all r); NaN without returns.
        gain_sum: Σ max(r, 0).
        loss_sum: Σ max(-r, 0).
        max_drawdown: Largest 1 - E / (highest E so far), in [0, 1].
        max_drawdown_days: Longest time from a peak until equity is back at it, or to the last bar.
    """

    bar_count: int
    first_equity: float
    last_equity: float
    mean_return: float
    return_deviation: float
    downside_deviation: float
    gain_sum: float
    loss_sum: float
    max_drawdown: float
    max_drawdown_days: float


@compiled
def summarize(time: NDArray[np.int64], equity: NDArray[np.float64]) -> CurveSummary:
    """Compute the figures of an equity curve, each sum in the order of the bars.

    Args:
        time: int64 nanoseconds, ascending, at least one.
        equity: float64, one per time, the first positive, none negative.
    """
    mean, deviation, downside, gain_sum, loss_sum = _return_figures(_returns(equity))
    drawdown, duration = _drawdown(time, equity)
    return CurveSummary(
        len(equity),
        equity[0],
        equity[-1],
        mean,
        deviation,
        downside,
        gain_sum,
        loss_sum,
        drawdown,
        duration / _NANOSECONDS_PER_DAY,
    )


@compiled
def _returns(equity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return E[t] / E[t-1] - 1, and 0 after ruin."""
    returns = np.empty(len(equity) - 1)
    for bar in range(1, len(equity)):
        before = equity[bar - 1]
        change = equity[bar] / before - 1.0 if before != 0.0 else 0.0
        returns[bar - 1] = change if abs(change) > ROUNDING else 0.0
    return returns


@compiled
def _return_figures(returns: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """Return mean, deviation, downside deviation, sum of gains, sum of losses."""
    count = len(returns)
    total = 0.0
    gain_sum = 0.0
    loss_sum = 0.0
    downside_squares = 0.0
    for value in returns:
        total += value
        gain_sum += max(value, 0.0)
        loss = max(-value, 0.0)
        loss_sum += loss
        downside_squares += loss * loss
    mean = total / count
    squares = 0.0
    for value in returns:
        squares += (value - mean) ** 2
    deviation = np.sqrt(squares / (count - 1)) if count > 1 else np.nan
    return mean, deviation, np.sqrt(downside_squares / count), gain_sum, loss_sum


@compiled
def _drawdown(time: NDArray[np.int64], equity: NDArray[np.float64]) -> tuple[float, int]:
    """Return the deepest drawdown and the longest one's nanoseconds."""
    peak = equity[0]
    peak_time = time[0]
    under_water = False
    deepest = 0.0
    longest = 0
    for bar in range(len(equity)):
        if peak - equity[bar] > ROUNDING * peak:
            under_water = True
            deepest = max(deepest, 1.0 - equity[bar] / peak)
        else:
            if under_water:
                longest = max(longest, time[bar] - peak_time)
            under_water = False
            peak = max(peak, equity[bar])
            peak_time = time[bar]
    if under_water:
        longest = max(longest, time[-1] - peak_time)
    return deepest, longest
