"""The obvious kernel: one combination, one symbol, one bar after the other.

It is what `lockstep` computes for many combinations at once and `trade_jumps` from trade to trade:
the tests compare them with it, and the benchmark measures what they gain. Compiled, because the
benchmark compares with the fastest obvious way.
"""

import numba
import numpy as np
from stratsweep_server.backtest.default import figures
from stratsweep_server.backtest.default.account import Account, close, rebalance
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


@numba.njit(error_model="numpy")
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
        if equity <= 0.0:
            account, trades = close(account, closes[bar], 0.0)
            add_trades(sums, trades)
            account = Account(0.0, 0.0, 0.0, 0.0)
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


@numba.njit(error_model="numpy")
def add_trades(sums, trades):
    for figure, value in enumerate(trades):
        sums[TRADE_COUNT + figure] += value
