"""Keep the account of one symbol: cash, units, and the round trip under way, as trades change them.

The rules are those of `stratsweep_server.backtest.default.simulation`. Nothing here branches, so
that a kernel which trades lanes side by side gets vector instructions; `tests/scalar_kernel.py` has
the same rules the obvious way.
"""

from __future__ import annotations

from typing import NamedTuple

from stratsweep_server.backtest.default.compilation import inlined
from stratsweep_server.backtest.default.figures import ROUNDING


class Account(NamedTuple):
    """Hold cash, units, and the cash flows and the value bought or shorted of this round trip."""

    cash: float
    units: float
    trip_flow: float
    trip_value: float


class TradeTotals(NamedTuple):
    """Hold what a trade adds to the sums over completed round trips; zeros where it completes none.

    Attributes:
        trade_count: 1 where it completes a round trip.
        winning_count: 1 where that has a profit above 0.
        gross_profit: Its profit where positive, in currency.
        gross_loss: Its loss where there is one, without its sign, in currency.
        return_sum: Its trade return, as a fraction.
    """

    trade_count: float
    winning_count: float
    gross_profit: float
    gross_loss: float
    return_sum: float


@inlined
def rebalance(
    account: Account,
    is_trading: bool,
    target: float,
    price: float,
    commission: float,
    slippage: float,
) -> tuple[Account, TradeTotals]:
    """Trade an account to a target position: close, open, reverse or resize. Returns both results.

    Args:
        account: Before.
        is_trading: If not, the account stays as it is.
        target: Fraction of equity to hold, in [-1, 1].
        price: Before slippage, positive.
        commission: Fraction of each fill's value, in [0, 1).
        slippage: Fraction of the price, in [0, 1).
    """
    buy, sell = price * (1.0 + slippage), price * (1.0 - slippage)
    stays_on_side = account.units * target > 0.0
    is_closing = is_trading & (not stays_on_side) & (account.units != 0.0)
    closing_price = buy if account.units < 0.0 else sell
    account, trades = _close(account, is_closing, closing_price, commission)
    # Size and side follow from equity at the open, which is all cash where a position is opened.
    equity = account.cash + account.units * price
    side = equity * _units(target, price, commission) - account.units if stays_on_side else target
    opening_price = buy if side > 0.0 else sell
    units = equity * _units(target, opening_price, commission)
    is_filling = (
        is_trading & has_left(account.cash, equity) & ((units - account.units) * side > 0.0)
    )
    return _fill(account, units if is_filling else account.units, opening_price, commission), trades


@inlined
def has_left(cash: float, equity: float) -> bool:
    """Return whether equity is more than what rounding may leave of a short's cash at its ruin."""
    return equity > ROUNDING * cash


@inlined
def _close(
    account: Account, is_closing: bool, price: float, commission: float
) -> tuple[Account, TradeTotals]:
    """Trade everything held. What the account cannot pay, it does not: the broker bears it."""
    flow = account.units * _net_price(price, -account.units, commission)
    flow = flow if has_left(account.cash, account.cash + flow) else -account.cash
    profit, value = account.trip_flow + flow, account.trip_value
    is_something = is_closing & (abs(profit) > ROUNDING * value)
    profit = profit if is_something else 0.0
    trades = TradeTotals(
        1.0 if is_closing else 0.0,
        1.0 if profit > 0.0 else 0.0,
        profit if profit > 0.0 else 0.0,  # noqa: FURB136 - max() makes no vectors
        -profit if profit < 0.0 else 0.0,
        profit / value if value > 0.0 else 0.0,
    )
    closed = Account(
        account.cash + flow if is_closing else account.cash,
        0.0 if is_closing else account.units,
        0.0 if is_closing else account.trip_flow,
        0.0 if is_closing else account.trip_value,
    )
    return closed, trades


@inlined
def _fill(account: Account, units: float, price: float, commission: float) -> Account:
    """Buy or sell, so that so many units are held: exactly as many, however few are left."""
    change = units - account.units
    flow = -change * _net_price(price, change, commission)
    is_adding = (account.units == 0.0) | ((account.units > 0.0) == (change > 0.0))
    added = abs(change) * price if is_adding else 0.0
    return Account(
        account.cash + flow,
        units,
        account.trip_flow + flow,
        account.trip_value + added,
    )


@inlined
def _net_price(price: float, side: float, commission: float) -> float:
    """Return what a unit costs or brings, commission included: a buy where `side` is positive."""
    return price * (1.0 + commission if side > 0.0 else 1.0 - commission)


@inlined
def _units(target: float, price: float, commission: float) -> float:
    """Return the units to hold for each unit of currency in equity.

    Nothing of the account is in it, so that it is there before the account is known.
    """
    return target / (price * (1.0 + commission))
