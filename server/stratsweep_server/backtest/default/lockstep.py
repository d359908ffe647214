"""Simulate any target positions in any number of symbols, walking the bars for many combinations.

The state of the combinations, or lanes, lies in arrays, so that each step is a few vector
instructions for all of them; lanes trade in groups, where any of a group has a new target. The
scalar version, a bar and a combination at a time, is `tests/scalar_kernel.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.account import Account, TradeTotals, has_left, rebalance
from stratsweep_server.backtest.default.compilation import compiled, inlined
from stratsweep_server.backtest.default.figures import (
    EXPOSURE,
    FINAL_EQUITY,
    GAIN_SUM,
    GROSS_LOSS,
    GROSS_PROFIT,
    LOSS_SQUARE_SUM,
    LOSS_SUM,
    MAX_DRAWDOWN,
    MAX_DRAWDOWN_DAYS,
    ROUNDING,
    SQUARE_SUM,
    SUM_COUNT,
    TRADE_COUNT,
    TRADE_RETURN_SUM,
    WINNING_COUNT,
)

LANES = 32
"""Combinations in lockstep: one bit each in a word. Results do not depend on it."""

# Lanes that trade together. The larger a group, the more of its lanes wait for one that trades.
_GROUP = 8
_GROUP_BITS = np.uint32((1 << _GROUP) - 1)

# Rows of the calendar that are walked sleeve by sleeve before the curve goes on over them, and
# those whose targets are compared beforehand: they are still in the cache when they are traded.
_TILE = 64
_SPAN = 8 * _TILE

# State is one-dimensional, lanes within rows, and rows begin at constants: only then does the
# compiler know that rows do not overlap, and makes vector instructions. The loops run over as many
# lanes as there are, a number that it must not know, or it unrolls them instead.
# Rows of a sleeve's state: the account, then what is counted.
_SLEEVE_SIZE = 12 * LANES
(
    _CASH,
    _UNITS,
    _TRIP_FLOW,
    _TRIP_VALUE,
    _TARGET,
    _EQUITY,
    _OPEN_BARS,
    _TRADES,
    _WINS,
    _PROFITS,
    _TRADE_LOSSES,
    _TRADE_RETURNS,
) = range(0, _SLEEVE_SIZE, LANES)
# Rows of the equity curve's state; KEPT is 1 - the deepest drawdown so far.
_CURVE_SIZE = 9 * LANES
(
    _TOTAL,
    _GAINS,
    _LOSSES,
    _SQUARES,
    _LOSS_SQUARES,
    _PEAK,
    _PEAK_DAY,
    _LONGEST,
    _KEPT,
) = range(0, _CURVE_SIZE, LANES)


@compiled
def simulate_lockstep(
    targets: NDArray[np.float64],
    offsets: NDArray[np.int64],
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
    latest_bar: NDArray[np.int64],
    sleeve_cash: float,
    commission: float,
    slippage: float,
) -> NDArray[np.float64]:
    """Simulate target positions by the model of `stratsweep_server.backtest.default.simulation`.

    Args:
        targets: float64 (combinations, bars of all sleeves one after the other), in [-1, 1].
        offsets: int64 (sleeves + 1): where each sleeve's bars begin, and the end.
        open_prices: float64 (bars of all sleeves), positive.
        close_prices: The same of closes.
        days: float64 (bars of the union): time in days.
        latest_bar: int64 (sleeves, bars of the union): each sleeve's latest bar then; -1 before.
        sleeve_cash: What each sleeve starts with, positive.
        commission: Fraction of each fill's value, in [0, 1).
        slippage: Fraction of the price, in [0, 1).

    Returns:
        float64 (figures, combinations), rows as in `Sums`.
    """
    sleeve_count = len(offsets) - 1
    figures = np.zeros((SUM_COUNT, len(targets)))
    trading = np.empty(targets.shape[1], np.uint32)
    tile = np.empty((_TILE, LANES))
    for first in range(0, len(targets), LANES):
        lanes = targets[first : first + LANES]
        lane_figures = figures[:, first : first + LANES]
        sleeves, curve = _start(sleeve_count, sleeve_cash, days[0])
        for start in range(1, len(days), _TILE):
            end = min(start + _TILE, len(days))
            if (start - 1) % _SPAN == 0:
                last = min(start - 1 + _SPAN, len(days) - 1)
                for sleeve in range(sleeve_count):
                    offset = offsets[sleeve]
                    bars = latest_bar[sleeve, start - 1] + 1, latest_bar[sleeve, last] + 1
                    _find_trades(lanes, offset, offset + bars[0], offset + bars[1], trading)
            tile[:] = 0.0
            for sleeve in range(sleeve_count):
                _walk(
                    sleeves[sleeve],
                    tile,
                    lanes,
                    trading,
                    offsets[sleeve],
                    latest_bar[sleeve, start - 1 : end],
                    open_prices,
                    close_prices,
                    (commission, slippage),
                )
            _advance(curve, tile, days[start - 1 : end], len(lanes))
        _conclude(lane_figures, sleeves, offsets, curve)
    return figures


@inlined
def _start(
    sleeve_count: int, sleeve_cash: float, first_day: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the state of each sleeve and of the equity curve: all in cash."""
    sleeves = np.zeros((sleeve_count, _SLEEVE_SIZE))
    curve = np.zeros(_CURVE_SIZE)
    for sleeve in range(sleeve_count):
        for lane in range(LANES):
            sleeves[sleeve, _CASH + lane] = sleeve_cash
            sleeves[sleeve, _EQUITY + lane] = sleeve_cash
            curve[_TOTAL + lane] += sleeve_cash
    for lane in range(LANES):
        curve[_PEAK + lane] = curve[_TOTAL + lane]
        curve[_PEAK_DAY + lane] = first_day
        curve[_KEPT + lane] = 1.0 - ROUNDING
    return sleeves, curve


@inlined
def _find_trades(
    lanes: NDArray[np.float64], offset: int, start: int, end: int, trading: NDArray[np.uint32]
) -> None:
    """Note which lanes trade at the opens from `start` up to `end` of a sleeve, one bit each.

    At the open of bar t the target of t - 1 is traded, if it is not that of t - 2; all are flat
    before the first, at `offset`.
    """
    trading[start:end] = 0
    for lane in range(len(lanes)):
        if start <= offset + 1 < end and lanes[lane, offset] != 0.0:
            trading[offset + 1] |= np.uint32(1) << np.uint32(lane)
        first = max(start, offset + 2)
        targets = lanes[lane, first - 2 : end - 1]
        later = trading[first:end]
        for bar in range(len(later)):
            later[bar] |= np.uint32(targets[bar + 1] != targets[bar]) << np.uint32(lane)


@inlined
def _walk(
    sleeve: NDArray[np.float64],
    tile: NDArray[np.float64],
    lanes: NDArray[np.float64],
    trading: NDArray[np.uint32],
    offset: int,
    latest_bar: NDArray[np.int64],
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    costs: tuple[float, float],
) -> None:
    """Trade and mark one sleeve over the rows of a tile, and add its equity to them.

    The first of `latest_bar` belongs to the row before the tile.
    """
    for row in range(len(latest_bar) - 1):
        bar = latest_bar[row + 1]
        if bar > 0 and bar != latest_bar[row]:
            place = offset + bar
            if trading[place]:
                _trade(sleeve, lanes, place, trading[place], open_prices[place], costs)
            _mark(sleeve, close_prices[place], len(lanes))
        for lane in range(len(lanes)):
            tile[row, lane] += sleeve[_EQUITY + lane]


@inlined
def _trade(
    sleeve: NDArray[np.float64],
    lanes: NDArray[np.float64],
    place: int,
    trading: int,
    open_price: float,
    costs: tuple[float, float],
) -> None:
    """Trade the lanes whose bit is set to the target of the bar before."""
    for first in range(0, len(lanes), _GROUP):
        bits = (trading >> np.uint32(first)) & _GROUP_BITS
        if bits:
            end = min(first + _GROUP, len(lanes))
            for lane in range(first, end):
                sleeve[_TARGET + lane] = lanes[lane, place - 1]
            _trade_group(sleeve[first:], bits, open_price, costs)


@inlined
def _trade_group(
    group: NDArray[np.float64],
    bits: np.uint32,
    open_price: float,
    costs: tuple[float, float],
) -> None:
    """Trade the lanes of a group whose bit is set; the others go through the same steps in vain."""
    for lane in range(_GROUP):
        is_trading = (bits >> np.uint32(lane)) & np.uint32(1) != 0
        traded = rebalance(
            _account(group, lane), is_trading, group[_TARGET + lane], open_price, *costs
        )
        _settle(group, lane, traded)


@inlined
def _mark(sleeve: NDArray[np.float64], close_price: float, count: int) -> None:
    """Mark the sleeve at a close; what is ruined there is closed, and stays at nothing."""
    is_ruined = 0
    for lane in range(count):
        cash, units = sleeve[_CASH + lane], sleeve[_UNITS + lane]
        equity = cash + units * close_price
        sleeve[_EQUITY + lane] = equity
        sleeve[_OPEN_BARS + lane] += 1.0 if units != 0.0 else 0.0
        is_ruined |= not has_left(cash, equity)
    if is_ruined:
        for lane in range(count):
            if not has_left(sleeve[_CASH + lane], sleeve[_EQUITY + lane]):
                if sleeve[_UNITS + lane] != 0.0:
                    sleeve[_OPEN_BARS + lane] -= 1.0
                account = _account(sleeve, lane)
                _settle(sleeve, lane, rebalance(account, True, 0.0, close_price, 0.0, 0.0))
                sleeve[_EQUITY + lane] = 0.0


@inlined
def _account(sleeve: NDArray[np.float64], lane: int) -> Account:
    return Account(
        sleeve[_CASH + lane],
        sleeve[_UNITS + lane],
        sleeve[_TRIP_FLOW + lane],
        sleeve[_TRIP_VALUE + lane],
    )


@inlined
def _settle(sleeve: NDArray[np.float64], lane: int, traded: tuple[Account, TradeTotals]) -> None:
    """Store what a trade has made of a lane."""
    account, trades = traded
    sleeve[_CASH + lane] = account.cash
    sleeve[_UNITS + lane] = account.units
    sleeve[_TRIP_FLOW + lane] = account.trip_flow
    sleeve[_TRIP_VALUE + lane] = account.trip_value
    sleeve[_TRADES + lane] += trades.trade_count
    sleeve[_WINS + lane] += trades.winning_count
    sleeve[_PROFITS + lane] += trades.gross_profit
    sleeve[_TRADE_LOSSES + lane] += trades.gross_loss
    sleeve[_TRADE_RETURNS + lane] += trades.return_sum


@inlined
def _advance(
    curve: NDArray[np.float64], tile: NDArray[np.float64], days: NDArray[np.float64], count: int
) -> None:
    """Take the equity curve on over the rows of a tile; the first day is that before them."""
    for row in range(len(days) - 1):
        step = days[row + 1] - days[row]
        if _advance_row(curve, tile, row, days[row + 1], step, count):
            for lane in range(count):
                kept = curve[_TOTAL + lane] / curve[_PEAK + lane]
                curve[_KEPT + lane] = min(curve[_KEPT + lane], kept)


@inlined
def _advance_row(
    curve: NDArray[np.float64],
    tile: NDArray[np.float64],
    row: int,
    day: float,
    step: float,
    count: int,
) -> int:
    """Take the curve on by a bar, `step` days after the last; returns whether any sank deeper.

    max() and min() would not become vector instructions.
    """
    is_deeper = 0
    for lane in range(count):
        total = tile[row, lane]
        change = total / curve[_TOTAL + lane] - 1.0
        change = change if abs(change) > ROUNDING else 0.0  # NaN, after ruin, is 0, too
        loss = -change if change < 0.0 else 0.0
        curve[_TOTAL + lane] = total
        curve[_GAINS + lane] += change if change > 0.0 else 0.0  # noqa: FURB136 - max() makes no vectors
        curve[_LOSSES + lane] += loss
        curve[_SQUARES + lane] += change * change
        curve[_LOSS_SQUARES + lane] += loss * loss
        peak = curve[_PEAK + lane]
        is_under_water = total < peak * (1.0 - ROUNDING)
        # A stretch under water ends with the bar that is back at the peak; between two peaks in a
        # row there is none.
        stretch = day - curve[_PEAK_DAY + lane]
        stretch = stretch if is_under_water | (stretch != step) else 0.0
        longest = curve[_LONGEST + lane]
        curve[_LONGEST + lane] = stretch if stretch > longest else longest  # noqa: FURB136 - same
        curve[_PEAK_DAY + lane] = curve[_PEAK_DAY + lane] if is_under_water else day
        peak = total if total > peak else peak  # noqa: FURB136 - same
        curve[_PEAK + lane] = peak
        is_deeper |= total < peak * curve[_KEPT + lane]
    return is_deeper


@inlined
def _conclude(
    figures: NDArray[np.float64],
    sleeves: NDArray[np.float64],
    offsets: NDArray[np.int64],
    curve: NDArray[np.float64],
) -> None:
    """Write the figures of the lanes."""
    for lane in range(figures.shape[1]):
        figures[FINAL_EQUITY, lane] = curve[_TOTAL + lane]
        figures[GAIN_SUM, lane] = curve[_GAINS + lane]
        figures[LOSS_SUM, lane] = curve[_LOSSES + lane]
        figures[SQUARE_SUM, lane] = curve[_SQUARES + lane]
        figures[LOSS_SQUARE_SUM, lane] = curve[_LOSS_SQUARES + lane]
        kept = curve[_KEPT + lane]
        figures[MAX_DRAWDOWN, lane] = 1.0 - kept if kept < 1.0 - ROUNDING else 0.0
        figures[MAX_DRAWDOWN_DAYS, lane] = curve[_LONGEST + lane]
        for number in range(len(sleeves)):
            sleeve = sleeves[number]
            figures[TRADE_COUNT, lane] += sleeve[_TRADES + lane]
            figures[WINNING_COUNT, lane] += sleeve[_WINS + lane]
            figures[GROSS_PROFIT, lane] += sleeve[_PROFITS + lane]
            figures[GROSS_LOSS, lane] += sleeve[_TRADE_LOSSES + lane]
            figures[TRADE_RETURN_SUM, lane] += sleeve[_TRADE_RETURNS + lane]
            exposure = sleeve[_OPEN_BARS + lane] / (offsets[number + 1] - offsets[number])
            figures[EXPOSURE, lane] += exposure
        figures[EXPOSURE, lane] /= len(sleeves)
