"""Define the metrics of the default engine: name, definition and formula of each, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stratsweep_server.backtest.default.figures import ROUNDING, Column, Figures
from stratsweep_server.backtest.engine import Metric, MetricUnit, OptimizationDirection

_MAXIMIZE, _MINIMIZE = OptimizationDirection.MAXIMIZE, OptimizationDirection.MINIMIZE
_NEITHER = None
"""More of it is neither better nor worse in itself, as of trades or of time in the market."""


@dataclass(frozen=True, slots=True)
class _Definition:
    name: str
    unit: MetricUnit
    best_direction: OptimizationDirection | None
    description: str
    formula: Callable[[Figures], Column]


def compute_metrics(figures: Figures) -> dict[str, Column]:
    """Return every metric as a column, one value per combination; NaN where it has none."""
    # A metric without a value is no error, and infinities become NaN below.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        metrics = {each.name: each.formula(figures) for each in _DEFINITIONS}
    for values in metrics.values():
        values[~np.isfinite(values)] = np.nan
    return metrics


def _ratio(numerator: Column, denominator: Column, above: float = ROUNDING) -> Column:
    """Divide; a denominator of 0, or that only rounding keeps from it, gives no value."""
    ratio = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=ratio, where=denominator > above)


def _per_trade(total: Column, figures: Figures) -> Column:
    return _ratio(total, figures.sums.trade_count)


def _total_return(figures: Figures) -> Column:
    return figures.sums.final_equity / figures.starting_equity - 1


def _cagr(figures: Figures) -> Column:
    if figures.return_count == 0:
        return np.full_like(figures.sums.final_equity, np.nan)
    years = figures.return_count / figures.periods_per_year
    growth: Column = (figures.sums.final_equity / figures.starting_equity) ** (1 / years) - 1
    return growth


def _annualized_ratio(figures: Figures, deviation: Column) -> Column:
    return _ratio(figures.mean_return, deviation) * math.sqrt(figures.periods_per_year)


_DEFINITIONS = (
    _Definition(
        "total_return",
        MetricUnit.FRACTION,
        _MAXIMIZE,
        "Last equity / starting cash - 1, as a fraction.",
        _total_return,
    ),
    _Definition(
        "cagr",
        MetricUnit.FRACTION,
        _MAXIMIZE,
        "Compound annual growth rate: (last equity / starting cash) ^ (1 / years) - 1, where years "
        "= returns / periods per year. -1 after ruin. Absent for a single bar.",
        _cagr,
    ),
    _Definition(
        "annualized_volatility",
        MetricUnit.FRACTION,
        _MINIMIZE,
        "Sample standard deviation (ddof = 1) of the per-bar returns * √(periods per year), as a "
        "fraction. Absent below two returns.",
        lambda figures: figures.return_deviation * math.sqrt(figures.periods_per_year),
    ),
    _Definition(
        "sharpe_ratio",
        MetricUnit.RATIO,
        _MAXIMIZE,
        "Mean / sample standard deviation (ddof = 1) of the per-bar returns * √(periods per year), "
        "risk-free rate 0 (Sharpe 1994). Absent below two returns or without deviation.",
        lambda figures: _annualized_ratio(figures, figures.return_deviation),
    ),
    _Definition(
        "sortino_ratio",
        MetricUnit.RATIO,
        _MAXIMIZE,
        "Mean of the per-bar returns / downside deviation * √(periods per year), target 0; the "
        "downside deviation is √(Σ min(return, 0)² / number of all returns) (Sortino and Price "
        "1994). Absent without a negative return.",
        lambda figures: _annualized_ratio(figures, figures.downside_deviation),
    ),
    _Definition(
        "calmar_ratio",
        MetricUnit.RATIO,
        _MAXIMIZE,
        "cagr / max_drawdown over the whole period (Young 1991). Absent without a drawdown.",
        lambda figures: _ratio(_cagr(figures), figures.sums.max_drawdown),
    ),
    _Definition(
        "omega_ratio",
        MetricUnit.RATIO,
        _MAXIMIZE,
        "Σ max(return, 0) / Σ max(-return, 0) over the per-bar returns, threshold 0 (Keating and "
        "Shadwick 2002). Absent without a negative return.",
        lambda figures: _ratio(figures.sums.gain_sum, figures.sums.loss_sum),
    ),
    _Definition(
        "max_drawdown",
        MetricUnit.FRACTION,
        _MINIMIZE,
        "Largest fall of equity below its highest close so far, as a positive fraction of that "
        "peak.",
        lambda figures: figures.sums.max_drawdown.copy(),
    ),
    _Definition(
        "max_drawdown_duration",
        MetricUnit.DAYS,
        _MINIMIZE,
        "Longest time, in days, from a peak of equity until a close at or above it, or until the "
        "last bar.",
        lambda figures: figures.sums.max_drawdown_days.copy(),
    ),
    _Definition(
        "trade_count",
        MetricUnit.COUNT,
        _NEITHER,
        "Completed round trips: flat to flat, to a reversal, or to ruin. A change of size "
        "completes none; a position open at the end is none.",
        lambda figures: figures.sums.trade_count.copy(),
    ),
    _Definition(
        "win_rate",
        MetricUnit.FRACTION,
        _MAXIMIZE,
        "Round trips with a profit after costs / round trips. Absent without round trips.",
        lambda figures: _per_trade(figures.sums.winning_count, figures),
    ),
    _Definition(
        "profit_factor",
        MetricUnit.RATIO,
        _MAXIMIZE,
        "Sum of the profits of winning round trips / sum of the losses of losing ones, after "
        "costs. Absent without a losing round trip.",
        lambda figures: _ratio(figures.sums.gross_profit, figures.sums.gross_loss, above=0.0),
    ),
    _Definition(
        "expectancy",
        MetricUnit.CURRENCY,
        _MAXIMIZE,
        "Mean profit per round trip after costs, in currency; times trade_count, and with the "
        "profit of a position still open, the change of equity. Absent without round trips.",
        lambda figures: _per_trade(figures.sums.gross_profit - figures.sums.gross_loss, figures),
    ),
    _Definition(
        "average_trade_return",
        MetricUnit.FRACTION,
        _MAXIMIZE,
        "Mean over round trips of profit after costs / value bought or shorted to build the "
        "position (before commission), as a fraction. Absent without round trips.",
        lambda figures: _per_trade(figures.sums.trade_return_sum, figures),
    ),
    _Definition(
        "exposure_time",
        MetricUnit.FRACTION,
        _NEITHER,
        "Fraction of bars at whose close a position is open, averaged over the symbols.",
        lambda figures: figures.sums.exposure.copy(),
    ),
    _Definition(
        "final_equity",
        MetricUnit.CURRENCY,
        _MAXIMIZE,
        "Equity at the last close, in currency; an open position is marked at that close.",
        lambda figures: figures.sums.final_equity.copy(),
    ),
)

METRICS = tuple(
    Metric(each.name, each.description, each.unit, each.best_direction) for each in _DEFINITIONS
)
