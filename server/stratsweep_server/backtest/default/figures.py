"""Hold what a simulation leaves of a backtest: the sums from which every metric is computed.

Both kernels fill the same table, one row per figure and one column per combination.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""A change of equity, a drawdown or a profit smaller than this fraction of its base is the rounding
of the arithmetic and counts as none: otherwise a price that stands still would have losing bars and
drawdowns that last for years."""

Column = NDArray[np.float64]


class Sums(NamedTuple):
    """Hold sums over a backtest, one value per combination.

    The equity curve E has its returns r[t] = E[t] / E[t-1] - 1 at every bar but the first.

    Attributes:
        final_equity: E at the last close, in currency.
        gain_sum: Σ max(r, 0).
        loss_sum: Σ max(-r, 0).
        square_sum: Σ r².
        loss_square_sum: Σ min(r, 0)².
        max_drawdown: Largest 1 - E / (highest E so far), in [0, 1].
        max_drawdown_days: Longest time from a peak until equity is back at it, or to the last bar.
        trade_count: Completed round trips.
        winning_count: Those with a profit above 0.
        gross_profit: Sum of the positive profits, in currency.
        gross_loss: Sum of the negative profits without their sign, in currency.
        trade_return_sum: Sum of the trade returns, as fractions.
        exposure: Fraction of bars at whose close a position is open, averaged over the symbols.
    """

    final_equity: Column
    gain_sum: Column
    loss_sum: Column
    square_sum: Column
    loss_square_sum: Column
    max_drawdown: Column
    max_drawdown_days: Column
    trade_count: Column
    winning_count: Column
    gross_profit: Column
    gross_loss: Column
    trade_return_sum: Column
    exposure: Column


# The rows of the table, for kernels: `Sums` in the same order.
(
    FINAL_EQUITY,
    GAIN_SUM,
    LOSS_SUM,
    SQUARE_SUM,
    LOSS_SQUARE_SUM,
    MAX_DRAWDOWN,
    MAX_DRAWDOWN_DAYS,
    TRADE_COUNT,
    WINNING_COUNT,
    GROSS_PROFIT,
    GROSS_LOSS,
    TRADE_RETURN_SUM,
    EXPOSURE,
) = range(len(Sums._fields))
SUM_COUNT = len(Sums._fields)


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Hold and derive what the formulas of the metrics use.

    Attributes:
        sums: Over each backtest.
        starting_equity: E at the first close, in currency; nothing trades on the first bar.
        bar_count: Bars of the equity curve, at least 1.
        periods_per_year: Bars per year of 365.25 days; NaN for a single bar.
    """

    sums: Sums
    starting_equity: float
    bar_count: int
    periods_per_year: float

    @property
    def return_count(self) -> int:
        """Return the number of returns in the equity curve."""
        return self.bar_count - 1

    @property
    def mean_return(self) -> Column:
        """Return the mean of r; NaN without returns."""
        return _quotient(self.sums.gain_sum - self.sums.loss_sum, self.return_count)

    @property
    def return_deviation(self) -> Column:
        """Return the sample standard deviation of r (ddof = 1); NaN below two returns.

        Computed from Σ r² and Σ r. What is left of Σ r² after rounding, 1e-14 of it, is no
        deviation: a curve that grows by the same fraction at every bar has none.
        """
        squares = self.sums.square_sum
        about_mean = squares - self.mean_return**2 * self.return_count
        about_mean = np.where(about_mean > _CANCELLATION * squares, about_mean, 0.0)
        return np.sqrt(_quotient(about_mean, self.return_count - 1))

    @property
    def downside_deviation(self) -> Column:
        """Return √(mean of min(r, 0)² over all r); NaN without returns."""
        return np.sqrt(_quotient(self.sums.loss_square_sum, self.return_count))


_CANCELLATION = 1e-14


def _quotient(total: Column, count: int) -> Column:
    return total / count if count > 0 else np.full_like(total, np.nan)
