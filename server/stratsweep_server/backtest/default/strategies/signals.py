"""Turn indicators into target positions of many combinations: crosses, thresholds, held positions.

Positions are int8 of shape (combinations, bars): 1 long, -1 short, 0 flat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.compilation import compiled
from stratsweep_server.backtest.indicators import Booleans, Columns, Doubles, Integers
from stratsweep_server.market_data.bars import Bars

TIE = 1e-12
"""Indicators are rounded, so that equal ones may differ by a little: a difference of less than this
fraction of the price is a tie."""

Positions = NDArray[np.int8]

# Bars that are worked on at a time: so many of every column fit into the nearest cache.
_TILE = 512


def cross_positions(fast: Columns, slow: Columns, bars: Bars, allow_short: Booleans) -> Positions:
    """Return 1 where fast is above slow; where it is below, -1 if shorts are allowed; else 0.

    Above is strictly above, by more than `TIE` * close: a tie is flat, whatever rounding made of
    it. NaN, an indicator's warm-up, is flat.
    """
    return _cross(
        fast.table, fast.rows, slow.table, slow.rows, TIE * bars.close, np.atleast_1d(allow_short)
    )


def threshold_positions(values: Columns, threshold: Doubles, allow_short: Booleans) -> Positions:
    """Return 1 where a value is above the threshold; -1 where it is below minus it, if allowed.

    Values are fractions of the price; one within `TIE` of the threshold is not beyond it.
    """
    shorts = np.atleast_1d(allow_short)
    thresholds = np.full(len(shorts), threshold, dtype=np.float64) + TIE
    return _beyond(values.table, values.rows, thresholds, shorts)


def held_positions(
    enter_long: Columns,
    exit_long: Columns,
    enter_short: Columns,
    exit_short: Columns,
    allow_short: Booleans,
    first_bars: Integers = 0,
) -> Positions:
    """Return positions that are entered on one condition (bool columns) and held until another.

    On each bar an exit is taken first, then an entry: an entry reverses the other side, and one
    that coincides with its own exit keeps the position. The bars before `first_bars` are flat: to
    be given where the indicators of entries and exits do not begin on the same bar.
    """
    shorts = np.atleast_1d(allow_short)
    return _hold(
        enter_long.table,
        enter_long.rows,
        exit_long.table,
        exit_long.rows,
        enter_short.table,
        enter_short.rows,
        exit_short.table,
        exit_short.rows,
        shorts,
        np.full(len(shorts), first_bars, dtype=np.int64),
    )


@compiled
def _cross(
    fast: NDArray[np.float64],
    fast_rows: NDArray[np.int64],
    slow: NDArray[np.float64],
    slow_rows: NDArray[np.int64],
    ties: NDArray[np.float64],
    allow_short: NDArray[np.bool_],
) -> Positions:
    positions = np.empty((len(fast_rows), len(ties)), np.int8)
    for start in range(0, len(ties), _TILE):
        end = min(start + _TILE, len(ties))
        tie = ties[start:end]
        for combination in range(len(fast_rows)):
            above = fast[fast_rows[combination], start:end]
            below = slow[slow_rows[combination], start:end]
            position = positions[combination, start:end]
            if allow_short[combination]:
                for bar in range(len(tie)):
                    gap = above[bar] - below[bar]
                    position[bar] = np.int8(gap > tie[bar]) - np.int8(gap < -tie[bar])
            else:
                for bar in range(len(tie)):
                    position[bar] = above[bar] - below[bar] > tie[bar]
    return positions


@compiled
def _beyond(
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    thresholds: NDArray[np.float64],
    allow_short: NDArray[np.bool_],
) -> Positions:
    positions = np.empty((len(rows), values.shape[1]), np.int8)
    for combination in range(len(rows)):
        value = values[rows[combination]]
        position = positions[combination]
        threshold = thresholds[combination]
        if allow_short[combination]:
            for bar in range(len(value)):
                position[bar] = np.int8(value[bar] > threshold) - np.int8(value[bar] < -threshold)
        else:
            for bar in range(len(value)):
                position[bar] = value[bar] > threshold
    return positions


@compiled
def _hold(
    enter_long: NDArray[np.bool_],
    enter_long_rows: NDArray[np.int64],
    exit_long: NDArray[np.bool_],
    exit_long_rows: NDArray[np.int64],
    enter_short: NDArray[np.bool_],
    enter_short_rows: NDArray[np.int64],
    exit_short: NDArray[np.bool_],
    exit_short_rows: NDArray[np.int64],
    allow_short: NDArray[np.bool_],
    first_bars: NDArray[np.int64],
) -> Positions:
    positions = np.empty((len(enter_long_rows), enter_long.shape[1]), np.int8)
    for combination in range(len(enter_long_rows)):
        first = first_bars[combination]
        enters_long = enter_long[enter_long_rows[combination], first:]
        exits_long = exit_long[exit_long_rows[combination], first:]
        enters_short = enter_short[enter_short_rows[combination], first:]
        exits_short = exit_short[exit_short_rows[combination], first:]
        positions[combination, :first] = 0
        path = positions[combination, first:]
        position = np.int8(0)
        if allow_short[combination]:
            for bar in range(len(path)):
                is_out = ((position > 0) & exits_long[bar]) | ((position < 0) & exits_short[bar])
                position = np.int8(0) if is_out else position
                position = np.int8(-1) if enters_short[bar] else position
                position = np.int8(1) if enters_long[bar] else position
                path[bar] = position
        else:
            for bar in range(len(path)):
                position = np.int8(0) if exits_long[bar] else position
                position = np.int8(1) if enters_long[bar] else position
                path[bar] = position
    return positions
