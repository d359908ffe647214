"""From indicators to target positions: crosses with a tie rule, and positions that are held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.compilation import compiled

# Indicators are running sums, so that equal ones differ by rounding errors: a difference of less
# than this fraction of the price is a tie.
TIE = 1e-12


@compiled
def cross_positions(
    fast: NDArray[np.float64],
    slow: NDArray[np.float64],
    close: NDArray[np.float64],
    allow_short: bool,
) -> NDArray[np.float64]:
    """Return 1 where fast is above slow; where it is below, -1 if shorts are allowed; else 0.

    Above is strictly above, by more than `TIE` * close: a tie is flat, whatever rounding made of
    it. NaN, an indicator's warm-up, is flat.
    """
    positions = np.zeros(len(close))
    for bar in range(len(close)):
        gap = fast[bar] - slow[bar]
        tie = TIE * close[bar]
        if gap > tie:
            positions[bar] = 1.0
        elif allow_short and gap < -tie:
            positions[bar] = -1.0
    return positions


@compiled
def held_positions(
    enter_long: NDArray[np.bool_],
    exit_long: NDArray[np.bool_],
    enter_short: NDArray[np.bool_],
    exit_short: NDArray[np.bool_],
    allow_short: bool,
) -> NDArray[np.float64]:
    """Return positions that are entered on one condition and held until another.

    On each bar an exit is taken first, then an entry: an entry reverses the other side, and one
    that coincides with its own exit keeps the position.
    """
    positions = np.empty(len(enter_long))
    position = 0.0
    for bar in range(len(enter_long)):
        if (position > 0.0 and exit_long[bar]) or (position < 0.0 and exit_short[bar]):
            position = 0.0
        if enter_long[bar]:
            position = 1.0
        elif allow_short and enter_short[bar]:
            position = -1.0
        positions[bar] = position
    return positions
