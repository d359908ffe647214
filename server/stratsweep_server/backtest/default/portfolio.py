"""Put symbols on one calendar as equal-capital sleeves, prepared once for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.trade_jumps import Market, prepare_market
from stratsweep_server.market_data.bars import (
    Bars,
    combined_time,
    periods_per_year,
    read_only,
)

_NANOSECONDS_PER_DAY = 86_400e9


@dataclass(frozen=True, slots=True, eq=False)
class Portfolio:
    """Hold what every combination on the same bars shares.

    Attributes:
        sleeves: The bars of each symbol that strategies see, as plain read-only arrays.
        warm_up_counts: How many of each sleeve's bars come before the first day: strategies see
            them, nothing trades on them.
        offsets: int64 (sleeves + 1): where each sleeve's bars after the warm-up begin when they lie
            one sleeve after the other, and the end.
        open_prices: float64 (bars after the warm-up, of all sleeves).
        close_prices: The same of closes.
        days: float64, the sorted union of the times of these bars, in days.
        latest_bar: int64 (sleeves, union): for each time of the union, the sleeve's latest bar
            then, counted after the warm-up; -1 before its first.
        market: The one symbol, prepared for jumps from trade to trade; None for several.
        periods_per_year: Bars of the union per year; NaN for a single bar.
    """

    sleeves: tuple[Bars, ...]
    warm_up_counts: tuple[int, ...]
    offsets: NDArray[np.int64]
    open_prices: NDArray[np.float64]
    close_prices: NDArray[np.float64]
    days: NDArray[np.float64]
    latest_bar: NDArray[np.int64]
    market: Market | None
    periods_per_year: float


# A portfolio is dropped together with its first bars, at the end of an optimization.
_portfolios: WeakKeyDictionary[Bars, tuple[tuple[Bars, ...], Portfolio]] = WeakKeyDictionary()


def build_portfolio(sleeves: tuple[Bars, ...]) -> Portfolio:
    """Put the bars of symbols on one calendar.

    The last portfolio of the same first bars is remembered, and goes with them.

    Args:
        sleeves: The bars of each symbol, at least one after the warm-up.
        start_date: The first day that trades; earlier bars are for warm-up. None: no warm-up.
    """
    others, portfolio = _portfolios.get(sleeves[0], ((), None))
    if portfolio is None or others != sleeves[1:]:
        portfolio = _build(sleeves)
        _portfolios[sleeves[0]] = (sleeves[1:], portfolio)
    return portfolio


def _build(sleeves: tuple[Bars, ...]) -> Portfolio:
    traded = [bars.after_warm_up() for bars in sleeves]
    time = combined_time(traded)
    days = time / _NANOSECONDS_PER_DAY
    opens = np.concatenate([bars.open for bars in traded])
    closes = np.concatenate([bars.close for bars in traded])
    return Portfolio(
        sleeves=tuple(map(_plain, sleeves)),
        warm_up_counts=tuple(bars.warm_up_count for bars in sleeves),
        offsets=np.cumsum([0, *map(len, traded)], dtype=np.int64),
        open_prices=opens,
        close_prices=closes,
        days=days,
        latest_bar=np.stack(
            [np.searchsorted(bars.time, time, side="right") - 1 for bars in traded]
        ),
        market=prepare_market(opens, closes, days) if len(traded) == 1 else None,
        periods_per_year=periods_per_year(time) if len(time) > 1 else np.nan,
    )


def _plain(bars: Bars) -> Bars:
    """View the arrays as the one type that the strategies' kernels are compiled for."""
    prices = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(
        bars.symbol,
        read_only(np.ascontiguousarray(bars.time)),
        *(read_only(np.ascontiguousarray(column)) for column in prices),
        timezone=bars.timezone,
        warm_up_count=bars.warm_up_count,
    )
