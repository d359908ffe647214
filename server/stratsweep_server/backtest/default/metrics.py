"""The metrics of the default engine: each one's name, definition and formula, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from stratsweep_server.backtest.default.equity_curve import ROUNDING, CurveSummary
from stratsweep_server.backtest.default.simulation import TradeTotals
from stratsweep_server.backtest.engine import Metric


@dataclass(frozen=True, slots=True)
class Figures:
    """What the formulas use.

    Attributes:
        curve: The portfolio's equity curve E.
        trades: The completed round trips of all sleeves.
        exposure: Fraction of bars at whose close a position is open, averaged over sleeves.
        periods_per_year: Bars per year of 365.25 days; NaN for a single bar.
    """

    curve: CurveSummary
    trades: TradeTotals
    exposure: float
    periods_per_year: float


@dataclass(frozen=True, slots=True)
class _Definition:
    name: str
    description: str
    formula: Callable[[Figures], float]


def compute_metrics(figures: Figures) -> dict[str, float]:
    """Return every metric that has a value: those that are undefined or not finite are absent."""
    values = ((definition.name, definition.formula(figures)) for definition in _DEFINITIONS)
    return {name: value for name, value in values if math.isfinite(value)}


def _ratio(numerator: float, denominator: float) -> float:
    """Divide; a denominator of 0, or that only rounding keeps from it, gives no value."""
    return numerator / denominator if denominator > ROUNDING else math.nan


def _mean(total: float, count: int) -> float:
    return total / count if count else math.nan


def _cagr(figures: Figures) -> float:
    curve = figures.curve
    if curve.bar_count < 2:
        return math.nan
    years = (curve.bar_count - 1) / figures.periods_per_year
    try:
        return float((curve.last_equity / curve.first_equity) ** (1 / years) - 1)
    except OverflowError:
        return math.inf


def _annualized_ratio(figures: Figures, deviation: float) -> float:
    return _ratio(figures.curve.mean_return, deviation) * math.sqrt(figures.periods_per_year)


def _profit_factor(figures: Figures) -> float:
    trades = figures.trades
    return trades.gross_profit / trades.gross_loss if trades.gross_loss > 0 else math.nan


_DEFINITIONS = (
    _Definition(
        "total_return",
        "Last equity / starting cash - 1, as a fraction.",
        lambda figures: figures.curve.last_equity / figures.curve.first_equity - 1,
    ),
    _Definition(
        "cagr",
        "Compound annual growth rate: (last equity / starting cash) ^ (1 / years) - 1, where years "
        "= returns / periods per year. -1 after ruin. Absent for a single bar.",
        _cagr,
    ),
    _Definition(
        "annualized_volatility",
        "Sample standard deviation (ddof = 1) of the per-bar returns * √(periods per year), as a "
        "fraction. Absent below two returns.",
        lambda figures: figures.curve.return_deviation * math.sqrt(figures.periods_per_year),
    ),
    _Definition(
        "sharpe_ratio",
        "Mean / sample standard deviation (ddof = 1) of the per-bar returns * √(periods per year), "
        "risk-free rate 0 (Sharpe 1994). Absent below two returns or without deviation.",
        lambda figures: _annualized_ratio(figures, figures.curve.return_deviation),
    ),
    _Definition(
        "sortino_ratio",
        "Mean of the per-bar returns / downside deviation * √(periods per year), target 0; the "
        "downside deviation is √(Σ min(return, 0)² / number of all returns) (Sortino and Price "
        "1994). Absent without a negative return.",
        lambda figures: _annualized_ratio(figures, figures.curve.downside_deviation),
    ),
    _Definition(
        "calmar_ratio",
        "cagr / max_drawdown over the whole period (Young 1991). Absent without a drawdown.",
        lambda figures: _ratio(_cagr(figures), figures.curve.max_drawdown),
    ),
    _Definition(
        "omega_ratio",
        "Σ max(return, 0) / Σ max(-return, 0) over the per-bar returns, threshold 0 (Keating and "
        "Shadwick 2002). Absent without a negative return.",
        lambda figures: _ratio(figures.curve.gain_sum, figures.curve.loss_sum),
    ),
    _Definition(
        "max_drawdown",
        "Largest fall of equity below its highest close so far, as a positive fraction of that "
        "peak.",
        lambda figures: figures.curve.max_drawdown,
    ),
    _Definition(
        "max_drawdown_duration",
        "Longest time, in days, from a peak of equity until a close at or above it, or until the "
        "last bar.",
        lambda figures: figures.curve.max_drawdown_days,
    ),
    _Definition(
        "trade_count",
        "Completed round trips: flat to flat, or to a reversal. A change of size completes none; a "
        "position open at the end is none.",
        lambda figures: float(figures.trades.trade_count),
    ),
    _Definition(
        "win_rate",
        "Round trips with a profit after costs / round trips. Absent without round trips.",
        lambda figures: _mean(figures.trades.winning_count, figures.trades.trade_count),
    ),
    _Definition(
        "profit_factor",
        "Sum of the profits of winning round trips / sum of the losses of losing ones, after "
        "costs. Absent without a losing round trip.",
        _profit_factor,
    ),
    _Definition(
        "expectancy",
        "Mean profit per round trip after costs, in currency. Absent without round trips.",
        lambda figures: _mean(
            figures.trades.gross_profit - figures.trades.gross_loss, figures.trades.trade_count
        ),
    ),
    _Definition(
        "average_trade_return",
        "Mean over round trips of profit after costs / value bought or shorted to build the "
        "position (before commission), as a fraction. Absent without round trips.",
        lambda figures: _mean(figures.trades.return_sum, figures.trades.trade_count),
    ),
    _Definition(
        "exposure_time",
        "Fraction of bars at whose close a position is open, averaged over the symbols.",
        lambda figures: figures.exposure,
    ),
    _Definition(
        "final_equity",
        "Equity at the last close, in currency; an open position is marked at that close.",
        lambda figures: figures.curve.last_equity,
    ),
)

METRICS = tuple(Metric(definition.name, definition.description) for definition in _DEFINITIONS)
