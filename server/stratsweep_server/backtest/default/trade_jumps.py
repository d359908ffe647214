"""All-in or flat positions in one symbol: from trade to trade, not from bar to bar.

While a combination is all-in its equity moves as the close does, and while it is flat not at all.
So a holding period needs no walk:

- Its returns are the market's: sums of gains, losses and their squares are differences of prefix
  sums, held in twice the precision so that they are as exact as adding up the period's own bars
  (Knuth's two-sum; Dekker 1971).
- Its closes are looked at in blocks: highest and lowest close and inner drawdown of each are
  prepared, and found by vector instructions for the parts at either end. They say how the equity
  curve comes out of a block, and only where a part may have deepened the drawdown within itself,
  or a block ended the longest stretch under water, are its bars walked.

The figures are those of `lockstep` within 1e-9 of their size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.account import completed_trip
from stratsweep_server.backtest.default.compilation import compiled
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
    TRADE_COUNT,
    TRADE_RETURN_SUM,
    WINNING_COUNT,
)

WORD = 8
"""Positions are looked at in words of so many bars: their rows are as long as a multiple of it."""

_KEPT = 1.0 - ROUNDING
_BLOCK = 32
_EVERY_BYTE = np.uint64(0x0101010101010101)
# Times 2^(8 k), it has k in its highest byte.
_BYTE_NUMBERS = np.uint64(0x0001020304050607)
# Columns of the blocks.
_TOP, _BOTTOM, _INNER_KEPT = range(3)
# Columns of the prefix sums: each sum, and what its rounding lost.
_GAINS, _LOSSES, _SQUARES, _LOSS_SQUARES = range(0, 8, 2)


class Market(NamedTuple):
    """What is prepared of one symbol.

    Attributes:
        open_prices: float64 (bars).
        close_prices: float64 (bars).
        days: float64 (bars): time in days.
        prefix_sums: float64 (bars, 8): of the returns of closes up to and including each bar.
        blocks: float64 (blocks, 3): of the closes of each block the highest, the lowest, and 1 -
            the deepest drawdown among them.
    """

    open_prices: NDArray[np.float64]
    close_prices: NDArray[np.float64]
    days: NDArray[np.float64]
    prefix_sums: NDArray[np.float64]
    blocks: NDArray[np.float64]


@compiled
def prepare_market(
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
) -> Market:
    """Prepare the tables of one symbol."""
    return Market(
        open_prices, close_prices, days, _prefix_sums(close_prices), _blocks(close_prices)
    )


@compiled
def simulate_jumps(
    positions: NDArray[np.int8],
    market: Market,
    starting_cash: float,
    commission: float,
    slippage: float,
) -> NDArray[np.float64]:
    """Simulate positions by the model of `stratsweep_server.backtest.default.simulation`.

    Args:
        positions: int8 (combinations, bars rounded up to whole words): 1 all-in long, 0 flat.
        market: Of the symbol.
        starting_cash: Positive.
        commission: Fraction of each fill's value, in [0, 1).
        slippage: Fraction of the price, in [0, 1).

    Returns:
        float64 (figures, combinations), rows as in `Sums`.
    """
    # Taken apart once: each look into a tuple counts references, which costs more than a bar.
    open_prices, close_prices, days, prefix_sums, blocks = market
    words = positions.view(np.uint64)
    figures = np.zeros((EXPOSURE + 1, len(positions)))
    sums = np.empty(len(figures))
    changes = np.empty(positions.shape[1] + WORD, np.int64)
    for combination in range(len(positions)):
        count = _find_changes(words[combination], changes)
        while count > 0 and changes[count - 1] >= len(close_prices) - 1:
            count -= 1  # the target of the last bar is never traded
        _run(
            changes,
            count,
            open_prices,
            close_prices,
            days,
            prefix_sums,
            blocks,
            starting_cash,
            commission,
            slippage,
            sums,
        )
        for figure in range(len(sums)):
            figures[figure, combination] = sums[figure]
    return figures


@compiled
def _find_changes(words: NDArray[np.uint64], changes: NDArray[np.int64]) -> int:
    """List the bars whose position differs from the bar before; flat at first. Returns how many.

    A position is a byte of 0 or 1; the first of a word is its lowest (little-endian machines).
    """
    count = 0
    last = np.uint64(0)
    for place in range(len(words)):
        word = words[place]
        if word == last * _EVERY_BYTE:
            continue
        changed = word ^ ((word << np.uint64(8)) | last)
        last = word >> np.uint64(56)
        while changed != 0:
            lowest = changed & (~changed + np.uint64(1))
            changes[count] = WORD * place + int((lowest * _BYTE_NUMBERS) >> np.uint64(56))
            count += 1
            changed ^= lowest
    return count


class _Water(NamedTuple):
    """How far and since when the equity curve is below its peak.

    Attributes:
        peak: Highest equity so far.
        peak_day: When it was last there, or within rounding of it.
        is_under: Whether equity is below it now.
        kept: 1 - the deepest drawdown so far.
        longest: Days of the longest stretch under water that has ended.
    """

    peak: float
    peak_day: float
    is_under: bool
    kept: float
    longest: float


@compiled
def _run(
    changes: NDArray[np.int64],
    change_count: int,
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
    prefix_sums: NDArray[np.float64],
    blocks: NDArray[np.float64],
    starting_cash: float,
    commission: float,
    slippage: float,
    sums: NDArray[np.float64],
) -> None:
    """Walk the holding periods: bought at one change, sold at the next; the last may be open."""
    bar_count = len(close_prices)
    close_bits = close_prices.view(np.int64)
    extremes = np.empty(2)
    extreme_bits = extremes.view(np.int64)
    sums[:] = 0.0
    cash = equity = starting_cash
    water = _Water(cash, days[0], False, _KEPT, 0.0)
    held_count = 0
    for change in range(0, change_count, 2):
        if cash <= 0.0:
            break  # costs have eaten everything
        entry = changes[change] + 1
        is_closed = change + 1 < change_count
        end = changes[change + 1] + 1 if is_closed else bar_count
        price = open_prices[entry] * (1.0 + slippage)
        units = cash / (price * (1.0 + commission))
        if not water.is_under:
            water = _Water(water.peak, days[entry - 1], False, water.kept, water.longest)
        _add_return(sums, units * close_prices[entry] / cash - 1.0)
        _add_returns_between(sums, prefix_sums, entry, end - 1)
        water = _hold(
            water, close_prices, close_bits, extremes, extreme_bits, days, blocks, units, entry, end
        )
        equity = units * close_prices[end - 1]
        held_count += end - entry
        if is_closed:
            value = units * open_prices[end] * (1.0 - slippage)
            proceeds = value - value * commission
            _add_return(sums, proceeds / equity - 1.0 if equity > 0.0 else 0.0)
            trip = completed_trip(proceeds - cash, units * price)
            sums[TRADE_COUNT] += trip.trade_count
            sums[WINNING_COUNT] += trip.winning_count
            sums[GROSS_PROFIT] += trip.gross_profit
            sums[GROSS_LOSS] += trip.gross_loss
            sums[TRADE_RETURN_SUM] += trip.return_sum
            cash = equity = proceeds
            water = _mark(water, equity, days[end])
    if water.is_under:
        water = _surface(water, days[bar_count - 1])
    sums[FINAL_EQUITY] = equity
    sums[MAX_DRAWDOWN] = 1.0 - water.kept if water.kept < _KEPT else 0.0
    sums[MAX_DRAWDOWN_DAYS] = water.longest
    sums[EXPOSURE] = held_count / bar_count


@compiled
def _add_return(sums: NDArray[np.float64], change: float) -> None:
    """Add the return of one bar."""
    if abs(change) <= ROUNDING:
        return
    loss = max(-change, 0.0)
    sums[GAIN_SUM] += max(change, 0.0)
    sums[LOSS_SUM] += loss
    sums[SQUARE_SUM] += change * change
    sums[LOSS_SQUARE_SUM] += loss * loss


@compiled
def _add_returns_between(
    sums: NDArray[np.float64], prefix_sums: NDArray[np.float64], first: int, last: int
) -> None:
    """Add the market's returns of the bars after `first` up to and including `last`."""
    sums[GAIN_SUM] += _difference(prefix_sums, first, last, _GAINS)
    sums[LOSS_SUM] += _difference(prefix_sums, first, last, _LOSSES)
    sums[SQUARE_SUM] += _difference(prefix_sums, first, last, _SQUARES)
    sums[LOSS_SQUARE_SUM] += _difference(prefix_sums, first, last, _LOSS_SQUARES)


@compiled
def _difference(prefix_sums: NDArray[np.float64], first: int, last: int, column: int) -> float:
    total: float = prefix_sums[last, column] - prefix_sums[first, column]
    lost: float = prefix_sums[last, column + 1] - prefix_sums[first, column + 1]
    return total + lost


@compiled
def _mark(water: _Water, equity: float, day: float) -> _Water:
    """Go on to one bar's equity."""
    if equity < water.peak * _KEPT:
        kept = water.kept
        if equity < water.peak * kept:
            kept = equity / water.peak
        return _Water(water.peak, water.peak_day, True, kept, water.longest)
    water = _surface(water, day) if water.is_under else water
    return _Water(max(water.peak, equity), day, False, water.kept, water.longest)


@compiled
def _surface(water: _Water, day: float) -> _Water:
    """End a stretch under water."""
    longest = max(water.longest, day - water.peak_day)
    return _Water(water.peak, day, False, water.kept, longest)


@compiled
def _hold(
    water: _Water,
    close_prices: NDArray[np.float64],
    close_bits: NDArray[np.int64],
    extremes: NDArray[np.float64],
    extreme_bits: NDArray[np.int64],
    days: NDArray[np.float64],
    blocks: NDArray[np.float64],
    units: float,
    first: int,
    end: int,
) -> _Water:
    """Go on over the closes of a holding period, block by block; `extremes` is for scratch."""
    start = first
    while start < end:
        block = start // _BLOCK
        stop = min((block + 1) * _BLOCK, end)
        is_whole = stop - start == _BLOCK
        if is_whole:
            top, bottom = blocks[block, _TOP], blocks[block, _BOTTOM]
            inner_kept = blocks[block, _INNER_KEPT]
        else:
            _extremes(close_bits, start, stop, extreme_bits)
            top, bottom = extremes[0], extremes[1]
            inner_kept = bottom / top
        is_back = units * top >= water.peak * _KEPT
        may_be_longest = is_back and days[stop - 1] - water.peak_day > water.longest
        if may_be_longest or (not is_whole and inner_kept < water.kept):
            for bar in range(start, stop):
                water = _mark(water, units * close_prices[bar], days[bar])
        else:
            kept = min(water.kept, inner_kept)
            if units * bottom < water.peak * kept:
                kept = units * bottom / water.peak
            if is_back:
                bar = stop - 1
                while close_prices[bar] < top * _KEPT:
                    bar -= 1
                peak = max(water.peak, units * top)
                is_under = units * close_prices[stop - 1] < peak * _KEPT
                water = _Water(peak, days[bar], is_under, kept, water.longest)
            else:
                water = _Water(water.peak, water.peak_day, True, kept, water.longest)
        start = stop
    return water


@compiled
def _extremes(bits: NDArray[np.int64], start: int, stop: int, found: NDArray[np.int64]) -> None:
    """Find the highest and the lowest of the closes from `start` up to `stop`, not included.

    The bits of positive numbers, taken as integers, are in their order; and vector instructions
    find the largest integer, while a largest float would have to mind NaN.
    """
    part = bits[start:stop]
    top = bottom = part[0]
    for bar in range(len(part)):
        top = max(top, part[bar])
        bottom = min(bottom, part[bar])
    found[0] = top
    found[1] = bottom


@compiled
def _blocks(close_prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `blocks` of `Market`."""
    blocks = np.empty(((len(close_prices) + _BLOCK - 1) // _BLOCK, 3))
    for block in range(len(blocks)):
        part = close_prices[block * _BLOCK : (block + 1) * _BLOCK]
        top, kept = part[0], 1.0
        for price in part:
            top = max(top, price)
            kept = min(kept, price / top)
        blocks[block, _TOP] = top
        blocks[block, _BOTTOM] = part.min()
        blocks[block, _INNER_KEPT] = kept
    return blocks


@compiled
def _prefix_sums(close_prices: NDArray[np.float64]) -> NDArray[np.float64]:
    table = np.zeros((len(close_prices), 8))
    for bar in range(1, len(close_prices)):
        change = close_prices[bar] / close_prices[bar - 1] - 1.0
        change = change if abs(change) > ROUNDING else 0.0
        loss = max(-change, 0.0)
        _add_exactly(table, bar, _GAINS, max(change, 0.0))
        _add_exactly(table, bar, _LOSSES, loss)
        _add_exactly(table, bar, _SQUARES, change * change)
        _add_exactly(table, bar, _LOSS_SQUARES, loss * loss)
    return table


@compiled
def _add_exactly(table: NDArray[np.float64], bar: int, column: int, value: float) -> None:
    """Extend a prefix sum by one bar; the next column collects what its rounding loses."""
    before = table[bar - 1, column]
    total = before + value
    added = total - before
    table[bar, column] = total
    lost = (before - (total - added)) + (value - added)
    table[bar, column + 1] = table[bar - 1, column + 1] + lost
