"""Prices that are unusually far from the close before them: splits, wrong prices, or big days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import Bars

MEDIAN_COUNT, SMALLEST = 20, 0.05
RULE = f"highs or lows {SMALLEST:.0%} and {MEDIAN_COUNT} times the median off the close before"


@dataclass(frozen=True, slots=True)
class Jumps:
    """Hold the unusual moves from one bar to the next.

    Attributes:
        indices: The positions of the bars, the largest move first.
        prices: The high or low of each, whichever is farther away.
        moves: By which fraction it is above (or, negative, below) the close before.
    """

    indices: NDArray[np.int64]
    prices: NDArray[np.float64]
    moves: NDArray[np.float64]


def find_jumps(bars: Bars) -> Jumps:
    """Find bars whose high or low is far from the close before, as `RULE` says.

    Up and down are measured alike, by the logarithm; usual is the median over all bars.
    """
    before = bars.close[:-1]
    up, down = np.log(bars.high[1:] / before), np.log(before / bars.low[1:])
    is_up = up >= down
    sizes = np.where(is_up, up, down)
    limit = np.log1p(SMALLEST)
    if len(sizes):
        limit = max(limit, MEDIAN_COUNT * float(np.median(np.maximum(sizes, 0))))
    found = np.flatnonzero(sizes > limit)
    found = found[np.argsort(-sizes[found], kind="stable")]
    prices = np.where(is_up, bars.high[1:], bars.low[1:])[found]
    return Jumps(found + 1, prices, prices / before[found] - 1)
