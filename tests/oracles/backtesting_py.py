"""backtesting.py as a referee: its broker under our execution model, and the figures it reports.

AGPL, hence in the group `oracles` alone: the product never imports it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from .definitions import Account, moments_of
from .grids import CASH, Variant
from .markets import Market

backtesting = pytest.importorskip("backtesting", reason="`make oracles` installs the referees")
library = pytest.importorskip("backtesting.lib", reason="`make oracles` installs the referees")

_LOTS = 1e14
"""The referee trades whole lots: so many of them are what the cash buys at the highest price."""


class Targets(backtesting.Strategy):
    """Orders at each close what the target position of that bar asks for, all-in."""

    targets = np.zeros(0)

    def init(self):
        # The referee asks for orders from the second bar on; what is ordered here trades there.
        self._order(0.0, self.targets[0])

    def next(self):
        bar = len(self.data) - 1
        self._order(self.targets[bar - 1], self.targets[bar])

    def _order(self, before, target):
        if target == before:
            return
        self.position.close()
        if target > 0:
            self.buy()
        elif target < 0:
            self.sell()


class FillCosts:
    """Commission and slippage of every fill, as the `commission` function of the referee.

    Its `spread` worsens entries only, so that the slippage of an exit has to be charged as a
    commission. The referee calls this to size an order (a fraction of the account), then when it
    opens the trade, and twice when it closes it: for the exit, and again for its report of the
    entry's.
    """

    def __init__(self, commission: float, slippage: float) -> None:
        self._commission = commission
        self._slippage = slippage
        self._leaves_next = False

    def __call__(self, size: float, price: float) -> float:
        value = abs(size) * price
        side = math.copysign(1, size)
        if abs(size) < 1:
            self._leaves_next = False
            return value * (1 + side * self._slippage) * self._commission
        if not self._leaves_next:  # the price has its slippage: an entry, or the report of it
            self._leaves_next = True
            return value * self._commission
        self._leaves_next = False
        received = (1 - side * self._slippage) * (1 - side * self._commission)
        return value * abs(1 - received)


def run(market: Market, variant: Variant, targets: np.ndarray) -> Any:
    """Trade target positions at the next open: what backtesting.py reports."""
    costs = FillCosts(variant.commission, variant.slippage)
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.filterwarnings("ignore", "Some trades remain open")  # ours remain open, too
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # what it calls of pandas
        return library.FractionalBacktest(
            market.prices,
            Targets,
            cash=CASH,
            spread=variant.slippage,
            commission=costs if variant.slippage else variant.commission,
            fractional_unit=CASH / (_LOTS * market.prices["Open"].max()),
        ).run(targets=targets)


def account_of(result: Any) -> Account:
    """The referee's equity curve and trades; the last of a ruined account without its debts."""
    equity = result["_equity_curve"]["Equity"].to_numpy(copy=True)
    equity[0] = CASH  # it fills the first bar, on which nothing trades, from the second
    trades = result["_trades"]
    is_open = np.zeros(len(equity), dtype=bool)
    for entry, exit_ in zip(trades["EntryBar"], trades["ExitBar"], strict=True):
        is_open[entry:exit_] = True
    for trade in result["_strategy"].trades:
        is_open[trade.entry_bar :] = True
    profits = trades["PnL"].to_numpy(dtype=np.float64, copy=True)
    returns = trades["ReturnPct"].to_numpy(dtype=np.float64, copy=True)
    debts, value = debts_of(result)
    profits[-1:] += debts
    returns[-1:] += debts / value
    return Account(equity, is_open, profits, returns)


def debts_of(result: Any) -> tuple[float, float]:
    """What its last trade lost beyond all that there was, and the value of that at its entry.

    At ruin the referee closes at the close, with costs, and forgets the debts: starting cash + the
    profits of its trades is less than its equity, 0. In our engine a trade loses no more than there
    was, and profits add up to equity.
    """
    if result["Equity Final [$]"] > 0:
        return 0.0, 1.0
    trades = result["_trades"]
    last = trades.iloc[-1]
    return -(CASH + trades["PnL"].sum()), abs(last["Size"]) * last["EntryPrice"]


def figures_by_its_definitions(
    ours: Mapping[str, float], market: Market, result: Any
) -> dict[str, float]:
    """What backtesting.py should report, from what our engine reports.

    Only what is defined by per-bar figures and trades: see `annualized_by_its_definitions` for the
    rest.
    """
    return {
        "Equity Final [$]": ours["final_equity"],
        "Return [%]": 100 * ours["total_return"],
        "CAGR [%]": 100 * ours["cagr"],
        "Max. Drawdown [%]": -100 * ours["max_drawdown"],
        "# Trades": ours["trade_count"],
        "Win Rate [%]": 100 * ours.get("win_rate", math.nan),
        "Expectancy [%]": 100 * expectancy_as_backtesting_py_defines_it(ours, result),
        "Exposure Time [%]": 100 * exposure_as_backtesting_py_defines_it(ours, market, result),
        "Profit Factor": profit_factor_as_backtesting_py_defines_it(result),
    }


def expectancy_as_backtesting_py_defines_it(ours: Mapping[str, float], result: Any) -> float:
    """The mean return of the completed trades, less the debts at ruin."""
    debts, value = debts_of(result)
    if not ours["trade_count"]:
        return math.nan
    return ours["average_trade_return"] - debts / value / ours["trade_count"]


def profit_factor_as_backtesting_py_defines_it(result: Any) -> float:
    """Σ max(R, 0) / Σ max(-R, 0) over the returns R of its trades; ours takes their profits.

    The returns cannot be worked back from what we report; but their mean is compared, and ours is
    compared with the profits of its trades, in `account_of`.
    """
    returns = result["_trades"]["ReturnPct"]
    losses = -returns.clip(upper=0).sum()
    return returns.clip(lower=0).sum() / losses if losses else math.nan


def exposure_as_backtesting_py_defines_it(
    ours: Mapping[str, float], market: Market, result: Any
) -> float:
    """Bars of completed trades, the one at whose open a trade ends included, over all bars.

    So each bar on which a completed trade ends and no other begins is one more than ours, and the
    bars of a trade that is still open are not in it.
    """
    trades = result["_trades"]
    ends = set(trades["ExitBar"]) - set(trades["EntryBar"])
    open_bars = sum(len(market) - trade.entry_bar for trade in result["_strategy"].trades)
    return ours["exposure_time"] + (len(ends) - open_bars) / len(market)


def annualized_by_its_definitions(ours: Mapping[str, float], market: Market) -> dict[str, float]:
    """What backtesting.py should annualize to, from what our engine reports on daily bars.

    With g the geometric mean of the daily returns, v their variance (ddof = 1), and d days a year,
    252, or 365 for a market that trades at weekends:

    - annual return: (1 + g) ^ d - 1,
    - annual volatility: √((v + (1 + g)²) ^ d - (1 + g) ^ (2 d)),
    - Sharpe ratio: their quotient,
    - Sortino ratio: annual return / (downside deviation * √d),
    - Calmar ratio: annual return / maximum drawdown.

    It works on the last equity of each day; from hourly bars these figures cannot be worked back.
    """
    moments = moments_of(ours, market)
    days = 365 if (market.prices.index.day_of_week >= 5).any() else 252
    growth = (1 + ours["total_return"]) ** (1 / moments.count)
    annual_return = growth**days - 1
    variance = (moments.deviation**2 + growth**2) ** days - growth ** (2 * days)
    volatility = math.sqrt(variance)
    return {
        "Return (Ann.) [%]": 100 * annual_return,
        "Volatility (Ann.) [%]": 100 * volatility,
        "Sharpe Ratio": annual_return / volatility if volatility else math.nan,
        "Sortino Ratio": annual_return / (moments.downside * math.sqrt(days)),
        "Calmar Ratio": annual_return / ours["max_drawdown"] if ours["max_drawdown"] else math.nan,
    }
