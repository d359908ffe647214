"""The account of one symbol: cash, units, the round trip under way, and how fills change them.

The rules are those of `stratsweep_server.backtest.default.simulation`. Scalar: kernels call it for
the few bars on which a combination trades.
"""

from __future__ import annotations

from typing import NamedTuple

from stratsweep_server.backtest.default.compilation import compiled
from stratsweep_server.backtest.default.figures import ROUNDING


class Account(NamedTuple):
    """Cash and units held, and the cash flows and value bought or shorted of this round trip."""

    cash: float
    units: float
    trip_flow: float
    trip_value: float


class TradeTotals(NamedTuple):
    """Sums over completed round trips.

    Attributes:
        trade_count: Completed round trips.
        winning_count: Those with a profit above 0.
        gross_profit: Sum of the positive profits, in currency.
        gross_loss: Sum of the negative profits without their sign, in currency.
        return_sum: Sum of the trade returns, as fractions.
    """

    trade_count: float
    winning_count: float
    gross_profit: float
    gross_loss: float
    return_sum: float


NO_TRADES = TradeTotals(0.0, 0.0, 0.0, 0.0, 0.0)


@compiled
def rebalance(
    account: Account, target: float, open_price: float, commission: float, slippage: float
) -> tuple[Account, TradeTotals]:
    """Close, open, reverse or resize at an open; returns the round trip that this completes."""
    trades = NO_TRADES
    if account.units * target > 0.0:
        return _resize(account, target, open_price, commission, slippage), trades
    if account.units != 0.0:
        price = _fill_price(open_price, -account.units, slippage)
        account, trades = close(account, price, commission)
    if target != 0.0 and account.cash > 0.0:
        price = _fill_price(open_price, target, slippage)
        account = _fill(account, _units(target, account.cash, price, commission), price, commission)
    return account, trades


@compiled
def close(account: Account, price: float, commission: float) -> tuple[Account, TradeTotals]:
    """Trade everything held, which completes the round trip. Nothing held is no round trip."""
    if account.units == 0.0:
        return account, NO_TRADES
    closed = _fill(account, -account.units, price, commission)
    trip = completed_trip(closed.trip_flow, closed.trip_value)
    return Account(closed.cash, 0.0, 0.0, 0.0), trip


@compiled
def completed_trip(profit: float, value: float) -> TradeTotals:
    """Return one round trip's share of the sums.

    Args:
        profit: Its cash flows, costs included, in currency.
        value: Sum of units added * fill price, in currency.
    """
    if abs(profit) <= ROUNDING * value:
        profit = 0.0
    return TradeTotals(
        1.0,
        1.0 if profit > 0.0 else 0.0,
        max(profit, 0.0),
        max(-profit, 0.0),
        profit / value if value > 0.0 else 0.0,
    )


@compiled
def _resize(
    account: Account, target: float, open_price: float, commission: float, slippage: float
) -> Account:
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
def _fill(account: Account, units: float, price: float, commission: float) -> Account:
    """Buy units, or sell them where negative."""
    value = abs(units) * price
    flow = -units * price - value * commission
    added = value if account.units * units >= 0.0 else 0.0
    return Account(
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
