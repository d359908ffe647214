"""The obvious kernel: one combination, one symbol, one bar after the other.

It is what `lockstep` computes for many combinations at once and `trade_jumps` from trade to trade:
the tests compare them with it, and the benchmark measures what they gain. It takes nothing of
theirs but the order of the figures, and is compiled, because the benchmark compares with the
fastest obvious way.
"""

from typing import NamedTuple

import numba
import numpy as np
from stratsweep_server.backtest.default import figures
from stratsweep_server.backtest.default.figures import ROUNDING

FIGURE_COUNT = len(figures.Sums._fields)
(FINAL_EQUITY, MAX_DRAWDOWN, EXPOSURE) = (
    figures.FINAL_EQUITY,
    figures.MAX_DRAWDOWN,
    figures.EXPOSURE,
)
(GAIN_SUM, LOSS_SUM, SQUARE_SUM, LOSS_SQUARE_SUM, LONGEST) = (
    figures.GAIN_SUM,
    figures.LOSS_SUM,
    figures.SQUARE_SUM,
    figures.LOSS_SQUARE_SUM,
    figures.MAX_DRAWDOWN_DAYS,
)
TRADE_COUNT = figures.TRADE_COUNT
NO_TRADES = (0.0, 0.0, 0.0, 0.0, 0.0)

obvious = numba.njit(error_model="numpy")


class Account(NamedTuple):
    """Cash and units held, and the cash flows and value bought or shorted of this round trip."""

    cash: float
    units: float
    trip_flow: float
    trip_value: float


@obvious
def simulate_one(targets, opens, closes, days, cash, commission, slippage):
    """Return the figures of one combination, in the order of `Sums`."""
    sums = np.zeros(FIGURE_COUNT)
    account = Account(cash, 0.0, 0.0, 0.0)
    before = peak = cash
    peak_day = days[0]
    kept = 1.0 - ROUNDING
    open_bars = 0
    for bar in range(1, len(closes)):
        target = targets[bar - 1]
        held = targets[bar - 2] if bar > 1 else 0.0
        if target != held:
            account, trades = rebalance(account, target, opens[bar], commission, slippage)
            add_trades(sums, trades)
        equity = account.cash + account.units * closes[bar]
        if not has_left(account.cash, equity):
            account, trades = close(account, closes[bar], 0.0)
            add_trades(sums, trades)
            equity = 0.0
        open_bars += account.units != 0.0
        change = equity / before - 1.0
        if abs(change) > ROUNDING:
            sums[GAIN_SUM] += max(change, 0.0)
            sums[LOSS_SUM] += max(-change, 0.0)
            sums[SQUARE_SUM] += change * change
            sums[LOSS_SQUARE_SUM] += max(-change, 0.0) ** 2
        before = equity
        if equity < peak * (1.0 - ROUNDING):
            sums[LONGEST] = max(sums[LONGEST], days[bar] - peak_day)
        else:
            if peak_day != days[bar - 1]:
                sums[LONGEST] = max(sums[LONGEST], days[bar] - peak_day)
            peak_day = days[bar]
        peak = max(peak, equity)
        kept = min(kept, equity / peak)
    sums[FINAL_EQUITY] = before
    sums[MAX_DRAWDOWN] = 1.0 - kept if kept < 1.0 - ROUNDING else 0.0
    sums[EXPOSURE] = open_bars / len(closes)
    return sums


@obvious
def add_trades(sums, trades):
    for figure, value in enumerate(trades):
        sums[TRADE_COUNT + figure] += value


@obvious
def rebalance(account, target, open_price, commission, slippage):
    """Close, open, reverse or resize at an open; returns the round trip that this completes."""
    trades = NO_TRADES
    if account.units * target > 0.0:
        return resize(account, target, open_price, commission, slippage), trades
    if account.units != 0.0:
        price = fill_price(open_price, -account.units, slippage)
        account, trades = close(account, price, commission)
    if target != 0.0 and account.cash > 0.0:
        price = fill_price(open_price, target, slippage)
        units = units_for(target, account.cash, price, commission)
        account = fill(account, units, price, commission)
    return account, trades


@obvious
def close(account, price, commission):
    """Trade everything held, which completes the round trip. Nothing held is no round trip."""
    if account.units == 0.0:
        return account, NO_TRADES
    flow = flow_of(-account.units, price, commission)
    if not has_left(account.cash, account.cash + flow):
        flow = -account.cash  # the broker bears the rest
    profit, value = account.trip_flow + flow, account.trip_value
    if abs(profit) <= ROUNDING * value:
        profit = 0.0
    rate = profit / value if value > 0.0 else 0.0
    trades = (1.0, 1.0 if profit > 0.0 else 0.0, max(profit, 0.0), max(-profit, 0.0), rate)
    return Account(account.cash + flow, 0.0, 0.0, 0.0), trades


@obvious
def resize(account, target, open_price, commission, slippage):
    equity = account.cash + account.units * open_price
    if not has_left(account.cash, equity):
        return account
    side = units_for(target, equity, open_price, commission) - account.units
    price = fill_price(open_price, side, slippage)
    units = units_for(target, equity, price, commission)
    if (units - account.units) * side <= 0.0:
        return account
    return fill(account, units, price, commission)


@obvious
def fill(account, units, price, commission):
    """Buy or sell what leaves so many units."""
    change = units - account.units
    flow = flow_of(change, price, commission)
    is_adding = account.units == 0.0 or (account.units > 0.0) == (change > 0.0)
    added = abs(change) * price if is_adding else 0.0
    return Account(
        account.cash + flow,
        units,
        account.trip_flow + flow,
        account.trip_value + added,
    )


@obvious
def has_left(cash, equity):
    """Whether equity is more than what rounding leaves of the cash."""
    return equity > ROUNDING * cash


@obvious
def flow_of(units, price, commission):
    """Return the cash that a fill brings, negative where it costs."""
    return -units * (price * (1.0 + commission if units > 0.0 else 1.0 - commission))


@obvious
def fill_price(open_price, side, slippage):
    """Return the price of a buy (side above 0) or a sell."""
    return open_price * (1.0 + slippage if side > 0.0 else 1.0 - slippage)


@obvious
def units_for(target, equity, price, commission):
    return equity * (target / (price * (1.0 + commission)))
