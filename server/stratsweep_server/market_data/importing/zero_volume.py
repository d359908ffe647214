"""Stretches of bars without volume: nothing was traded, or nobody counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import Bars


@dataclass(frozen=True, slots=True)
class Stretches:
    """Hold runs of bars, the longest first.

    Attributes:
        firsts: The position of the first bar of each.
        counts: The number of its bars.
    """

    firsts: NDArray[np.int64]
    counts: NDArray[np.int64]


def zero_volume_stretches(bars: Bars) -> Stretches:
    """Find the runs of bars whose volume is 0."""
    is_zero = np.concatenate([[False], bars.volume == 0, [False]])
    edges = np.flatnonzero(np.diff(is_zero.astype(np.int8)))
    firsts, counts = edges[::2], edges[1::2] - edges[::2]
    longest_first = np.argsort(-counts, kind="stable")
    return Stretches(firsts[longest_first], counts[longest_first])
