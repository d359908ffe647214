"""A portfolio: symbols as equal-capital sleeves, seen on one calendar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import Bars, combined_time, periods_per_year

_Scalar = TypeVar("_Scalar", bound=np.generic)

_REMEMBERED_PORTFOLIOS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Portfolio:
    """What every combination on the same bars shares.

    Attributes:
        sleeves: The bars of each symbol, as plain read-only arrays.
        time: int64 nanoseconds, the sorted union of the sleeves' bar times.
        latest_bar: For each sleeve and each time of the union, the index of the sleeve's latest bar
            then; -1 before its first.
        periods_per_year: Bars of the union per year; NaN for a single bar.
    """

    sleeves: tuple[Bars, ...]
    time: NDArray[np.int64]
    latest_bar: tuple[NDArray[np.int64], ...]
    periods_per_year: float

    def equity(
        self, sleeve_equities: Sequence[NDArray[np.float64]], sleeve_cash: float
    ) -> NDArray[np.float64]:
        """Return the sum of the sleeves at each time of the union.

        A sleeve is its cash before its first bar and its last known equity between and after bars.

        Args:
            sleeve_equities: Equity of each sleeve at its own bars.
            sleeve_cash: What each sleeve starts with.
        """
        if len(sleeve_equities) == 1:
            return sleeve_equities[0]
        total = np.zeros(len(self.time))
        for equity, latest in zip(sleeve_equities, self.latest_bar, strict=True):
            total += np.append(equity, sleeve_cash)[latest]  # index -1 is the cash at the end
        return total


@lru_cache(maxsize=_REMEMBERED_PORTFOLIOS)
def build_portfolio(sleeves: tuple[Bars, ...]) -> Portfolio:
    """Put bars on one calendar. Remembered by the identity of the bars, nothing is copied."""
    time = combined_time(sleeves)
    return Portfolio(
        tuple(map(_plain, sleeves)),
        _read_only(time),
        tuple(np.searchsorted(bars.time, time, side="right") - 1 for bars in sleeves),
        periods_per_year(time) if len(time) > 1 else np.nan,
    )


def _plain(bars: Bars) -> Bars:
    """View the arrays as the one type that the kernels are compiled for."""
    return Bars(
        bars.symbol,
        _read_only(bars.time),
        _read_only(bars.open),
        _read_only(bars.high),
        _read_only(bars.low),
        _read_only(bars.close),
        _read_only(bars.volume),
    )


def _read_only(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
