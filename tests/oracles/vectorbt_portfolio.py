"""vectorbt as a referee: its portfolio under our execution model, and the figures it reports.

Commons Clause, hence in the group `oracles` alone: the product never imports it.

Where vectorbt's definition is another one than ours, a function here says so as a formula in what
our engine reports; everything else must be equal as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .definitions import ReturnMoments, moments_of
from .grids import CASH, Variant
from .markets import Market

vectorbt = pytest.importorskip("vectorbt", reason="`make oracles` installs the referees")


def portfolio_of(market: Market, variants: Sequence[Variant], positions: np.ndarray) -> Any:
    """Trade target positions at the next open, all-in.

    Args:
        market: The bars.
        variants: Whose costs apply, one per column.
        positions: The target after each bar (rows) of each variant (columns).
    """
    flat = np.zeros((1, positions.shape[1]))
    wanted = np.vstack([flat, positions[:-1]])  # decided at a close, traded at the next open
    held = np.vstack([flat, wanted[:-1]])
    change = wanted != held
    prices = market.prices
    return vectorbt.Portfolio.from_signals(
        pd.concat([prices["Close"]] * len(variants), axis=1, keys=range(len(variants))),
        entries=change & (wanted > 0),
        exits=change & (wanted == 0) & (held > 0),
        short_entries=change & (wanted < 0),
        short_exits=change & (wanted == 0) & (held < 0),
        price=prices["Open"].to_numpy()[:, None],
        size=np.inf,
        lock_cash=True,  # shorts of no more than the account, as ours
        upon_opposite_entry="reverse",
        fees=np.array([variant.commission for variant in variants]),
        slippage=np.array([variant.slippage for variant in variants]),
        init_cash=CASH,
        freq=market.freq,
    )


def reported(portfolio: Any, market: Market) -> pd.DataFrame:
    """What vectorbt reports: a row per variant. It calls closed trades what we call trades."""
    trades = portfolio.trades.closed
    figures = {
        "final_equity": portfolio.final_value(),
        "total_return": portfolio.total_return(),
        "cagr": portfolio.annualized_return(),
        "annualized_volatility": portfolio.annualized_volatility(),
        "sharpe_ratio": portfolio.sharpe_ratio(),
        "sortino_ratio": portfolio.sortino_ratio(),
        "calmar_ratio": portfolio.calmar_ratio(),
        "omega_ratio": portfolio.omega_ratio(),
        "max_drawdown": portfolio.max_drawdown(),
        "trade_count": trades.count(),
        "win_rate": trades.win_rate(),
        "profit_factor": trades.profit_factor(),
        "expectancy": trades.expectancy(),
        "average_trade_return": trades.returns.mean(),
        "max_drawdown_duration": longest_drawdowns(portfolio, market),
        "exposure_time": portfolio.position_coverage(),
    }
    return pd.DataFrame({name: np.asarray(values) for name, values in figures.items()})


def figures_by_its_definitions(ours: Mapping[str, float], market: Market) -> dict[str, float]:
    """What vectorbt should report, from what our engine reports.

    It counts a return for the first bar, from the starting cash to the first close: 0 in our
    execution model, in which nothing trades on the first bar. So its n returns are our n - 1 and a
    zero. Years have 365 days of bars at the given spacing, whatever bars there are in one. Its
    drawdowns are negative.
    """
    moments = moments_of(ours, market)
    periods = pd.Timedelta(days=365) / pd.Timedelta(market.freq)
    mean, deviation, downside = with_a_first_return_of_zero(moments)
    cagr = (1 + ours["total_return"]) ** (periods / (moments.count + 1)) - 1
    drawdown = ours["max_drawdown"]
    return dict(ours) | {
        "cagr": cagr,
        "annualized_volatility": deviation * math.sqrt(periods),
        "sharpe_ratio": mean / deviation * math.sqrt(periods) if deviation else math.nan,
        "sortino_ratio": mean / downside * math.sqrt(periods),
        "calmar_ratio": cagr / drawdown if drawdown else math.nan,
        "max_drawdown": -drawdown,
    }


def with_a_first_return_of_zero(moments: ReturnMoments) -> tuple[float, float, float]:
    """Mean, sample standard deviation and downside deviation of the returns and one zero more."""
    count = moments.count
    total = moments.mean * count
    squares = moments.deviation**2 * (count - 1) + moments.mean * total
    mean = total / (count + 1)
    deviation = math.sqrt((squares - mean * total) / count)
    return mean, deviation, moments.downside * math.sqrt(count / (count + 1))


def longest_drawdowns(portfolio: Any, market: Market) -> np.ndarray:
    """Days from peak to recovery or the last bar: it counts bars, its records say which ones."""
    records = portfolio.drawdowns.records
    time = market.nanoseconds
    longest = np.zeros(portfolio.wrapper.shape[1])
    days = (time[records["end_idx"]] - time[records["peak_idx"]]) / 86_400e9
    np.maximum.at(longest, records["col"].to_numpy(), days)
    return longest
