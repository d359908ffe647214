"""The simulation: target positions of one symbol become trades and an equity curve.

Execution model:

- **Timing.** The target decided at the close of bar t is traded at the open of bar t+1, and only
  when it differs from the target of the bar before: drift of the position's share of equity is
  not rebalanced. The account is flat at the start, so nothing trades on the first bar, and the
  target of the last bar is never traded.
- **Price.** Buys fill at open * (1 + slippage), sells at open * (1 - slippage). Commission is
  units * fill price * commission, on every fill.
- **Size.** From flat to a fraction f: f * cash / (fill * (1 + commission)) units, so that f = 1
  spends all cash, commission included. Shorts are sized alike. Units are fractional.
- **Flat** trades everything. **Reversal** closes fully, then opens the other side with the cash
  that results: two fills, one completed round trip.
- **Resizing** on the same side: f * equity / (fill * (1 + commission)) units, equity marked at the
  open. Whether that is a buy or a sell is decided at the open without slippage; if at the fill
  price the change has the other sign, or equity at the open is not positive, nothing is traded.
- **Marking.** Equity is marked at each close. A position open at the end is marked at the last
  close, not closed, and is not a completed round trip.
- **Ruin.** When equity at a close is zero or less (a short can do that), the position is closed
  at that close without costs, equity is zero from then on, and nothing trades any more.

A round trip lasts from flat to flat, or to a reversal. Its profit is the sum of its cash flows,
costs included; its return is profit / Σ(units added * fill price), commission excluded. A profit
or loss of less than 1e-12 of that value is the rounding of the arithmetic and counts as 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.compilation import compiled

_ROUNDING = 1e-12


class TradeTotals(NamedTuple):
    """Sums over the completed round trips of one sleeve.

    Attributes:
        trade_count: Completed round trips.
        winning_count: Those with a profit above 0.
        gross_profit: Sum of the positive profits, in currency.
        gross_loss: Sum of the negative profits without their sign, in currency.
        return_sum: Sum of the trade returns, as fractions.
    """

    trade_count: int
    winning_count: int
    gross_profit: float
    gross_loss: float
    return_sum: float


def add_trades(left: TradeTotals, right: TradeTotals) -> TradeTotals:
    """Return the sums over the round trips of two sleeves."""
    return TradeTotals(
        left.trade_count + right.trade_count,
        left.winning_count + right.winning_count,
        left.gross_profit + right.gross_profit,
        left.gross_loss + right.gross_loss,
        left.return_sum + right.return_sum,
    )


class Simulation(NamedTuple):
    """What became of one sleeve.

    Attributes:
        equity: Equity at each close, in currency, never below 0.
        open_bar_count: Bars at whose close a position is open.
        trades: Sums over the completed round trips.
    """

    equity: NDArray[np.float64]
    open_bar_count: int
    trades: TradeTotals


class _Account(NamedTuple):
    """Cash and units held, and the cash flows and value bought or shorted of this round trip."""

    cash: float
    units: float
    trip_flow: float
    trip_value: float


@compiled
def first_invalid_target(targets: NDArray[np.float64]) -> int:
    """Return the index of the first target that is neither NaN nor in [-1, 1], or -1."""
    for bar in range(len(targets)):
        if abs(targets[bar]) > 1.0:
            return bar
    return -1


@compiled
def simulate(
    targets: NDArray[np.float64],
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    starting_cash: float,
    commission: float,
    slippage: float,
) -> Simulation:
    """Trade target positions on one symbol, by the execution model of this module.

    Args:
        targets: float64, one per bar: fraction of equity in [-1, 1]; NaN is 0.
        open_prices: float64, positive.
        close_prices: float64, positive.
        starting_cash: Positive, in currency.
        commission: Fraction of each fill's value, in [0, 1).
        slippage: Fraction of the price, in [0, 1).
    """
    bar_count = len(close_prices)
    equity = np.empty(bar_count)
    account = _Account(starting_cash, 0.0, 0.0, 0.0)
    trades = TradeTotals(0, 0, 0.0, 0.0, 0.0)
    open_bar_count = 0
    held_target = 0.0
    for bar in range(bar_count):
        target = 0.0 if bar == 0 or math.isnan(targets[bar - 1]) else targets[bar - 1]
        if target != held_target:
            account, trades = _rebalance(
                account, trades, target, open_prices[bar], commission, slippage
            )
            held_target = target
        equity[bar] = account.cash + account.units * close_prices[bar]
        if equity[bar] <= 0.0:
            account, trades = _close(account, trades, close_prices[bar], 0.0)
            equity[bar:] = 0.0
            break
        if account.units != 0.0:
            open_bar_count += 1
    return Simulation(equity, open_bar_count, trades)


@compiled
def _rebalance(
    account: _Account,
    trades: TradeTotals,
    target: float,
    open_price: float,
    commission: float,
    slippage: float,
) -> tuple[_Account, TradeTotals]:
    """Close, open, reverse or resize, at an open."""
    if account.units * target > 0.0:
        return _resize(account, target, open_price, commission, slippage), trades
    if account.units != 0.0:
        price = _fill_price(open_price, -account.units, slippage)
        account, trades = _close(account, trades, price, commission)
    if target != 0.0 and account.cash > 0.0:
        price = _fill_price(open_price, target, slippage)
        account = _fill(account, _units(target, account.cash, price, commission), price, commission)
    return account, trades


@compiled
def _resize(
    account: _Account, target: float, open_price: float, commission: float, slippage: float
) -> _Account:
    equity = account.cash + account.units * open_price
    if equity <= 0.0:
        return account
    wanted = _units(target, equity, open_price, commission) - account.units
    price = _fill_price(open_price, wanted, slippage)
    change = _units(target, equity, price, commission) - account.units
    if change * wanted <= 0.0:
        return account
    return _fill(account, change, price, commission)


@compiled
def _close(
    account: _Account, trades: TradeTotals, price: float, commission: float
) -> tuple[_Account, TradeTotals]:
    """Trade everything held, which completes the round trip. Nothing held is no round trip."""
    if account.units == 0.0:
        return account, trades
    closed = _fill(account, -account.units, price, commission)
    profit = closed.trip_flow
    if abs(profit) <= _ROUNDING * closed.trip_value:
        profit = 0.0
    return _Account(closed.cash, 0.0, 0.0, 0.0), TradeTotals(
        trades.trade_count + 1,
        trades.winning_count + (1 if profit > 0.0 else 0),
        trades.gross_profit + max(profit, 0.0),
        trades.gross_loss + max(-profit, 0.0),
        trades.return_sum + profit / closed.trip_value,
    )


@compiled
def _fill(account: _Account, units: float, price: float, commission: float) -> _Account:
    """Buy units, or sell them where negative."""
    value = abs(units) * price
    flow = -units * price - value * commission
    added = value if account.units * units >= 0.0 else 0.0
    return _Account(
        account.cash + flow,
        account.units + units,
        account.trip_flow + flow,
        account.trip_value + added,
    )


@compiled
def _fill_price(open_price: float, side: float, slippage: float) -> float:
    """Return the price of a buy (side above 0) or a sell."""
    return open_price * (1.0 + slippage if side > 0.0 else 1.0 - slippage)


@compiled
def _units(target: float, equity: float, price: float, commission: float) -> float:
    return target * equity / (price * (1.0 + commission))
