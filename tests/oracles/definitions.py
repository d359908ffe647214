"""Our metrics as `docs/trading-model.md` defines them, from a referee's equity curve and trades."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .markets import Market

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Account:
    """What a referee says became of the cash.

    Attributes:
        equity: At each close.
        is_open: Whether a position is open at each close.
        profits: Of each completed round trip, after costs.
        trade_returns: Profit of each over the value bought or shorted.
    """

    equity: np.ndarray
    is_open: np.ndarray
    profits: np.ndarray
    trade_returns: np.ndarray


def metrics_of(account: Account, market: Market) -> dict[str, float]:
    """Every metric that has a value."""
    equity, periods = account.equity, market.periods_per_year
    returns = np.zeros(len(equity) - 1)
    np.divide(np.diff(equity), equity[:-1], out=returns, where=equity[:-1] > 0)
    returns[np.abs(returns) <= _ROUNDING] = 0.0
    growth = equity[-1] / equity[0]
    drawdown = 1 - equity / np.maximum.accumulate(equity)
    deepest = drawdown.max() if drawdown.max() > _ROUNDING else 0.0
    cagr = growth ** (periods / len(returns)) - 1
    yearly = math.sqrt(periods)
    deviation = returns.std(ddof=1)
    profits = account.profits
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "total_return": growth - 1,
            "cagr": cagr,
            "annualized_volatility": deviation * yearly,
            "sharpe_ratio": returns.mean() / deviation * yearly,
            "sortino_ratio": returns.mean() / _downside_deviation(returns) * yearly,
            "calmar_ratio": np.divide(cagr, deepest),
            "omega_ratio": returns.clip(min=0).sum() / -returns.clip(max=0).sum(),
            "max_drawdown": deepest,
            "max_drawdown_duration": _longest_drawdown(drawdown, market.nanoseconds),
            "trade_count": float(len(profits)),
            "win_rate": _mean(profits > 0),
            "profit_factor": profits.clip(min=0).sum() / -profits.clip(max=0).sum(),
            "expectancy": _mean(profits),
            "average_trade_return": _mean(account.trade_returns),
            "exposure_time": account.is_open.mean(),
            "final_equity": equity[-1],
        }
    return with_values(values)


def with_values(figures: Mapping[str, float]) -> dict[str, float]:
    """Leave out what has no value: NaN, and infinities."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


class ReturnMoments(NamedTuple):
    """Figures of the per-bar returns, worked back from the metrics that we report.

    Attributes:
        count: The number of returns, one less than the bars.
        mean: Their mean; 0 where there is no Sharpe ratio, since then all of them are 0.
        deviation: Their sample standard deviation (ddof = 1).
        downside: The root of the mean square of the negative ones, over all of them; NaN where
            none is negative.
    """

    count: int
    mean: float
    deviation: float
    downside: float


def moments_of(ours: Mapping[str, float], market: Market) -> ReturnMoments:
    """Undo the annualization: sharpe = mean / deviation * √p, sortino = mean / downside * √p."""
    yearly = math.sqrt(market.periods_per_year)
    deviation = ours["annualized_volatility"] / yearly
    mean = ours.get("sharpe_ratio", 0.0) * deviation / yearly
    downside = mean * yearly / ours["sortino_ratio"] if ours.get("sortino_ratio") else math.nan
    return ReturnMoments(len(market) - 1, mean, deviation, downside)


def disagreements(ours: Mapping[str, float], theirs: Mapping[str, float], of: object) -> list[str]:
    """Where figures differ by more than 1e-9 of them (1e-11 near zero), or only one has a value."""
    return [
        f"{name}: ours {ours.get(name)!r}, theirs {theirs.get(name)!r}, {of}"
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours
        or name not in theirs
        or not math.isclose(ours[name], theirs[name], rel_tol=1e-9, abs_tol=1e-11)
    ]


def _downside_deviation(returns: np.ndarray) -> float:
    return np.sqrt(np.mean(returns.clip(max=0) ** 2))


def _mean(values: np.ndarray) -> float:
    return values.mean() if len(values) else math.nan


def _longest_drawdown(drawdown: np.ndarray, time: np.ndarray) -> float:
    """Days from the last close at a peak to the next one, or to the last bar."""
    peaks = np.append(np.flatnonzero(drawdown <= _ROUNDING), len(drawdown) - 1)
    under_water = np.diff(peaks) > 1
    under_water[-1:] |= drawdown[-1] > _ROUNDING
    spans = np.diff(time[peaks])[under_water]
    return spans.max() / 86_400e9 if len(spans) else 0.0
