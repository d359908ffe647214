"""Mean and standard deviation of the last values, from those alone.

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
    """Return the mean of the last `period` values (at least 1) on each; NaN on the first ones."""
    means = np.full(len(values), np.nan)
    before = np.zeros(period)
    for start in range(0, len(values), period):
        base = values[start]
        total = 0.0
        if start > 0:
            for place in range(period - 1, 0, -1):
                total += values[start - period + place] - base
                before[place - 1] = total
        total = 0.0
        for place in range(min(period, len(values) - start)):
            total += values[start + place] - base
            if start > 0 or place == period - 1:
                means[start + place] = base + (before[place] + total) / period
    return means


@compiled
def window_deviation(values: Values, period: int) -> Values:
    """Return the population standard deviation (ddof = 0) likewise."""
    deviations = np.full(len(values), np.nan)
    before = np.zeros((period, 2))
    for start in range(0, len(values), period):
        base = values[start]
        total, squares = 0.0, 0.0
        if start > 0:
            for place in range(period - 1, 0, -1):
                value = values[start - period + place] - base
                total += value
                squares += value * value
                before[place - 1, 0] = total
                before[place - 1, 1] = squares
        total, squares = 0.0, 0.0
        for place in range(min(period, len(values) - start)):
            value = values[start + place] - base
            total += value
            squares += value * value
            if start > 0 or place == period - 1:
                mean = (before[place, 0] + total) / period
                variance = (before[place, 1] + squares) / period - mean * mean
                deviations[start + place] = np.sqrt(max(variance, 0.0))
    return deviations
