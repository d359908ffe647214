"""Compute mean and standard deviation of the last values, from those alone.

A running sum carries the rounding errors of all values before: after a fall from 10,000 to 1 they
are larger than the differences that decide. Here a window is the end of one block, as long as the
window, and the beginning of the next (van Herk, "A fast algorithm for local minimum and maximum
filters", 1992): both are sums of the window's own values, and a bar costs the same whatever the
length. Values are taken relative to the second block's first, which is in the window: so equal
values give exactly their mean, and a deviation of zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.compilation import compiled

Values = NDArray[np.float64]


@compiled
def window_mean(values: Values, period: int) -> Values:
    """Return for each value the mean of the last `period` (at least 1); NaN for the first ones."""
    means = np.empty(len(values))
    before, after = np.zeros(period), np.zeros(period)
    for start in range(0, len(values), period):
        end = min(start + period, len(values))
        base, next_base = values[start], values[end % len(values)]
        total, rest = 0.0, 0.0
        # Forwards for this block's windows and backwards for the next one's, side by side.
        for place in range(end - start):
            total += values[start + place] - base
            means[start + place] = base + (before[place] + total) / period
            after[end - start - 1 - place] = rest
            rest += values[end - 1 - place] - next_base
        before, after = after, before
    means[: period - 1] = np.nan
    return means


@compiled
def window_deviation(values: Values, period: int) -> Values:
    """Return the population standard deviation (ddof = 0) of the same windows as `window_mean`."""
    deviations = np.empty(len(values))
    before, after = np.zeros((period, 2)), np.zeros((period, 2))
    for start in range(0, len(values), period):
        end = min(start + period, len(values))
        base, next_base = values[start], values[end % len(values)]
        total, squares, rest, rest_squares = 0.0, 0.0, 0.0, 0.0
        for place in range(end - start):
            value = values[start + place] - base
            total += value
            squares += value * value
            mean = (before[place, 0] + total) / period
            variance = (before[place, 1] + squares) / period - mean * mean
            deviations[start + place] = np.sqrt(max(variance, 0.0))
            after[end - start - 1 - place, 0] = rest
            after[end - start - 1 - place, 1] = rest_squares
            value = values[end - 1 - place] - next_base
            rest += value
            rest_squares += value * value
        before, after = after, before
    deviations[: period - 1] = np.nan
    return deviations
