"""All-in or flat positions in one symbol: from trade to trade, not from bar to bar.

While a combination is all-in its equity moves as the close does, and while it is flat not at all.
So a whole holding period costs what one bar costs elsewhere, by what is prepared once per symbol:

- returns: prefix sums of gains, losses and their squares over all bars, held in twice the
  precision, so that their differences are as exact as adding up the period's own bars (Knuth's
  two-sum; Dekker 1971);
- extremes: a disjoint sparse table, over blocks of 16 bars, of highest close, its last bar, lowest
  close and deepest drawdown: those of any stretch are put together from four parts;
- recoveries: for each bar, the next one whose close is at or above its own.

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

_BLOCK = 16
_KEPT = 1.0 - ROUNDING
# Columns of the prefix sums: each sum, and what its rounding lost.
_GAINS, _LOSSES, _SQUARES, _LOSS_SQUARES = range(0, 8, 2)
# Columns of the extremes.
_TOP, _TOP_BAR, _BOTTOM, _DRAWDOWN = range(4)


class Extremes(NamedTuple):
    """Closes of a stretch: the highest, its last bar, the lowest, and the deepest drawdown."""

    top: float
    top_bar: float
    bottom: float
    drawdown: float


class Market(NamedTuple):
    """What is prepared of one symbol.

    Attributes:
        open_prices: float64 (bars).
        close_prices: float64 (bars).
        days: float64 (bars): time in days.
        prefix_sums: float64 (bars, 8): of the returns of closes up to and including each bar.
        extremes: float64 (rows, 4): for each bar, from the start of its block to the bar; then for
            each bar, from the bar to the end of its block; then, for each level k and each block,
            from or to the middle of its 2^(k + 1) blocks, on level 0 the block itself.
        next_peaks: int64 (bars): the next bar with a close at or above this one; the bar count
            where there is none.
    """

    open_prices: NDArray[np.float64]
    close_prices: NDArray[np.float64]
    days: NDArray[np.float64]
    prefix_sums: NDArray[np.float64]
    extremes: NDArray[np.float64]
    next_peaks: NDArray[np.int64]


@compiled
def prepare_market(
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
) -> Market:
    """Prepare the tables of one symbol: about 50 ns and 170 bytes per bar."""
    return Market(
        open_prices,
        close_prices,
        days,
        _prefix_sums(close_prices),
        _extremes(close_prices),
        _next_peaks(close_prices),
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
    open_prices, close_prices, days, prefix_sums, extremes, next_peaks = market
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
            extremes,
            next_peaks,
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
    """List the bars whose position differs from the bar before; flat at first. Returns how many."""
    count = 0
    last = np.uint64(0)
    for place in range(len(words)):
        word = words[place]
        changed = word ^ ((word << np.uint64(8)) | last)
        last = word >> np.uint64(56)
        if changed != 0:
            for byte in range(WORD):
                changes[count] = WORD * place + byte
                count += int((changed >> np.uint64(8 * byte)) & np.uint64(1))
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
    extremes: NDArray[np.float64],
    next_peaks: NDArray[np.int64],
    starting_cash: float,
    commission: float,
    slippage: float,
    sums: NDArray[np.float64],
) -> None:
    """Walk the holding periods: bought at one change, sold at the next; the last may be open."""
    bar_count = len(close_prices)
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
        water = _hold(water, close_prices, days, extremes, next_peaks, units, entry, end - 1)
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
        kept = min(water.kept, equity / water.peak)
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
    days: NDArray[np.float64],
    extremes: NDArray[np.float64],
    next_peaks: NDArray[np.int64],
    units: float,
    first: int,
    last: int,
) -> _Water:
    """Go on over the closes of a holding period."""
    period = _extremes_between(close_prices, extremes, first, last)
    kept = min(water.kept, 1.0 - period.drawdown)
    if units * period.bottom < water.peak * kept:
        kept = units * period.bottom / water.peak
    if units * period.top < water.peak * _KEPT:
        return _Water(water.peak, water.peak_day, True, kept, water.longest)
    top_bar = int(period.top_bar)
    longest = water.longest
    # Only a stretch of more than the longest so far is worth looking for.
    if days[last] - water.peak_day > longest:
        longest = _longest_stretch(water, close_prices, days, next_peaks, units, first, top_bar)
    peak = max(water.peak, units * period.top)
    is_under = units * close_prices[last] < peak * _KEPT
    return _Water(peak, days[top_bar], is_under, kept, longest)


@compiled
def _longest_stretch(
    water: _Water,
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
    next_peaks: NDArray[np.int64],
    units: float,
    first: int,
    top_bar: int,
) -> float:
    """Return the longest stretch under water that ends in a holding period, up to its last peak."""
    longest = water.longest
    level = water.peak * _KEPT / units
    bar = first
    while bar < top_bar and close_prices[bar] < level:
        bar = next_peaks[bar]
    if water.is_under or bar > first:
        longest = max(longest, days[bar] - water.peak_day)
    while bar < top_bar:
        following = next_peaks[bar]
        if following > bar + 1:
            longest = max(longest, days[following] - days[bar])
        bar = following
    return longest


@compiled
def _extremes_between(
    close_prices: NDArray[np.float64], extremes: NDArray[np.float64], first: int, last: int
) -> Extremes:
    """Put together the extremes of the closes from one bar to another, both included."""
    first_block, last_block = first // _BLOCK, last // _BLOCK
    if first_block == last_block:
        return _extremes_by_bar(close_prices, first, last)
    bar_count, block_count = len(close_prices), _block_count(len(close_prices))
    found = _stored(extremes, bar_count + first)
    left, right = first_block + 1, last_block - 1
    blocks = 2 * bar_count
    if left == right:
        found = _join(found, _stored(extremes, blocks + left))
    elif left < right:
        level = blocks + _highest_bit(left ^ right) * block_count
        middle = _join(_stored(extremes, level + left), _stored(extremes, level + right))
        found = _join(found, middle)
    return _join(found, _stored(extremes, last))


@compiled
def _block_count(bar_count: int) -> int:
    return (bar_count + _BLOCK - 1) // _BLOCK


@compiled
def _extremes_by_bar(close_prices: NDArray[np.float64], first: int, last: int) -> Extremes:
    """Look at each close of a short stretch; divides only where the drawdown gets deeper."""
    top = bottom = close_prices[first]
    top_bar, kept = first, 1.0
    for bar in range(first + 1, last + 1):
        price = close_prices[bar]
        if price >= top * _KEPT:
            top, top_bar = max(top, price), bar
        elif price < top * kept:
            kept = price / top
        bottom = min(bottom, price)
    return Extremes(top, float(top_bar), bottom, 1.0 - kept)


@compiled
def _highest_bit(number: int) -> int:
    bit = 0
    while number > 1:
        number >>= 1
        bit += 1
    return bit


@compiled
def _join(left: Extremes, right: Extremes) -> Extremes:
    """Join the extremes of two stretches, the left one right before the right one."""
    drawdown = max(left.drawdown, right.drawdown, 1.0 - right.bottom / left.top)
    is_back = right.top >= left.top * _KEPT
    return Extremes(
        max(left.top, right.top),
        right.top_bar if is_back else left.top_bar,
        min(left.bottom, right.bottom),
        drawdown,
    )


@compiled
def _of_bar(close_prices: NDArray[np.float64], bar: int) -> Extremes:
    return Extremes(close_prices[bar], float(bar), close_prices[bar], 0.0)


@compiled
def _stored(table: NDArray[np.float64], row: int) -> Extremes:
    return Extremes(
        table[row, _TOP], table[row, _TOP_BAR], table[row, _BOTTOM], table[row, _DRAWDOWN]
    )


@compiled
def _store(table: NDArray[np.float64], row: int, extremes: Extremes) -> None:
    table[row, _TOP] = extremes.top
    table[row, _TOP_BAR] = extremes.top_bar
    table[row, _BOTTOM] = extremes.bottom
    table[row, _DRAWDOWN] = extremes.drawdown


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


@compiled
def _extremes(close_prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `extremes` of `Market`."""
    bar_count = len(close_prices)
    block_count = _block_count(bar_count)
    level_count = _highest_bit(max(block_count - 1, 1)) + 1
    table = np.empty((2 * bar_count + level_count * block_count, 4))
    _store_within_blocks(table, close_prices)
    blocks = 2 * bar_count
    for block in range(block_count):
        _store(table, blocks + block, _stored(table, bar_count + block * _BLOCK))
    for level in range(1, level_count):
        _store_level(table, blocks, blocks + level * block_count, block_count, 1 << level)
    return table


@compiled
def _store_within_blocks(table: NDArray[np.float64], close_prices: NDArray[np.float64]) -> None:
    """Store the extremes from the start of each bar's block, and those to its end."""
    count = len(close_prices)
    for bar in range(count):
        found = _of_bar(close_prices, bar)
        if bar % _BLOCK != 0:
            found = _join(_stored(table, bar - 1), found)
        _store(table, bar, found)
    for bar in range(count - 1, -1, -1):
        found = _of_bar(close_prices, bar)
        if bar % _BLOCK != _BLOCK - 1 and bar != count - 1:
            found = _join(found, _stored(table, count + bar + 1))
        _store(table, count + bar, found)


@compiled
def _store_level(
    table: NDArray[np.float64], blocks: int, base: int, block_count: int, half: int
) -> None:
    """Store one level of the disjoint sparse table: to and from the middle of 2 * half blocks."""
    for middle in range(half, block_count, 2 * half):
        for block in range(middle - 1, middle - half - 1, -1):
            found = _stored(table, blocks + block)
            if block < middle - 1:
                found = _join(found, _stored(table, base + block + 1))
            _store(table, base + block, found)
        for block in range(middle, min(middle + half, block_count)):
            found = _stored(table, blocks + block)
            if block > middle:
                found = _join(_stored(table, base + block - 1), found)
            _store(table, base + block, found)


@compiled
def _next_peaks(close_prices: NDArray[np.float64]) -> NDArray[np.int64]:
    count = len(close_prices)
    following = np.empty(count, np.int64)
    for bar in range(count - 1, -1, -1):
        candidate = bar + 1
        while candidate < count and close_prices[candidate] < close_prices[bar] * _KEPT:
            candidate = following[candidate]
        following[bar] = candidate
    return following
