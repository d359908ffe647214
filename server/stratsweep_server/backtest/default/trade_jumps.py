"""Simulate positions in one symbol that stay for a while: from trade to trade, not bar to bar.

Between two trades an account is cash and a number of units, so its equity at a close is a straight
line of the close. What a holding period adds to the figures is found mostly without walking it:

- Its closes are looked at in blocks: highest and lowest close and inner drawdown of each are
  prepared, and found by vector instructions for the parts at either end. They say how the equity
  curve comes out of a block, and only where a part may have deepened the drawdown within itself,
  or a block ended the longest stretch under water, are its bars walked.
- All-in, its returns are the market's: sums of gains, losses and their squares are differences of
  prefix sums, held in twice the precision so that they are as exact as adding up the period's own
  bars (Knuth's two-sum; Dekker 1971). With a fraction in cash, or short, the returns of several
  bars at a time are computed by vector instructions and added up side by side.

The figures are those of `lockstep` within 1e-9 of their size. What is rare or not worth it is left
to that kernel: positions that change often, and accounts that are ruined.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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

WORD = 8
"""Whole positions are looked at in words of so many bars: their rows are as long as a multiple."""

# With fewer bars for each change of position, lockstep is faster: whole positions, others.
_FEW_BARS = 12, 24
_KEPT = 1.0 - ROUNDING
_BLOCK = 32
_EVERY_BYTE = np.uint64(0x0101010101010101)
# Multiplied by 2^(8 k), it has k in its highest byte.
_BYTE_NUMBERS = np.uint64(0x0001020304050607)
# Multiplied by 2^k, its highest six bits differ for each k (a de Bruijn sequence).
_BIT_SEQUENCE = np.uint64(0x03F79D71B4CB0A89)
_BIT_NUMBERS = np.array(
    sorted(range(64), key=lambda bit: ((0x03F79D71B4CB0A89 << bit) & (2**64 - 1)) >> 58)
)
# Columns of the blocks.
_TOP, _BOTTOM, _INNER_KEPT = range(3)
# Columns of the prefix sums: each sum, and what its rounding lost.
_GAINS, _LOSSES, _SQUARES, _LOSS_SQUARES = range(0, 8, 2)
# Rows of returns that are added up side by side.
_STRIP = 32
_SIDE_GAINS, _SIDE_LOSSES, _SIDE_SQUARES, _SIDE_LOSS_SQUARES = range(0, 4 * _STRIP, _STRIP)


class Market(NamedTuple):
    """Hold what is prepared of one symbol.

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
    """Compute the tables of one symbol that `simulate_jumps` needs.

    Args:
        open_prices: float64 (bars), positive.
        close_prices: float64 (bars), positive.
        days: float64 (bars): time in days.
    """
    return Market(
        open_prices, close_prices, days, _prefix_sums(close_prices), _blocks(close_prices)
    )


@compiled
def simulate_jumps(
    positions: NDArray[Any],
    market: Market,
    starting_cash: float,
    commission: float,
    slippage: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Simulate positions by the model of `stratsweep_server.backtest.default.simulation`.

    Args:
        positions: In [-1, 1]: float64 (combinations, bars), or int8 (combinations, bars rounded up
            to whole words).
        market: Of the symbol.
        starting_cash: Positive.
        commission: Fraction of each fill's value, in [0, 1).
        slippage: Fraction of the price, in [0, 1).

    Returns:
        float64 (figures, combinations), rows as in `Sums`; and of each combination whether this
        has simulated it, or left it to lockstep.
    """
    # Unpacked once: each look into a tuple counts references, which costs more than a bar. So does
    # each array that is handed to another function, which is why those are inlined.
    open_prices, close_prices, days, prefix_sums, blocks = market
    bar_count = len(close_prices)
    figures = np.zeros((SUM_COUNT, len(positions)))
    is_done = np.zeros(len(positions), np.bool_)
    sums = np.empty(len(figures))
    side_by_side = np.empty(4 * _STRIP)
    few_bars = _FEW_BARS[0] if positions.itemsize == 1 else _FEW_BARS[1]
    most = bar_count // few_bars + 1
    changes = np.empty(most + 64, np.int64)
    targets = np.empty(most + 64)
    for combination in range(len(positions)):
        path = positions[combination]
        count = _list_changes(path, changes, most)
        while count > 0 and changes[count - 1] >= bar_count - 1:
            count -= 1  # the target of the last bar is never traded
        if count > most:
            continue
        for change in range(count):
            targets[change] = path[changes[change]]
        changes[count] = bar_count - 1
        is_done[combination] = _run(
            changes,
            targets,
            count,
            open_prices,
            close_prices,
            days,
            prefix_sums,
            blocks,
            Account(starting_cash, 0.0, 0.0, 0.0),
            (commission, slippage),
            side_by_side,
            sums,
        )
        for figure in range(len(sums)):
            figures[figure, combination] = sums[figure]
    return figures, is_done


@compiled
def _list_changes(path: NDArray[Any], changes: NDArray[np.int64], most: int) -> int:
    """List the bars whose position differs from the bar before; flat at first. Returns how many.

    Gives up when it has found more than `most`, and has listed up to 64 more by then.
    """
    if path.itemsize == 1:
        return _list_whole(path.view(np.uint64), changes, most)
    return _list_fractional(path, changes, most)


@compiled
def _list_whole(words: NDArray[np.uint64], changes: NDArray[np.int64], most: int) -> int:
    """List the changes of byte positions; the first of a word is its lowest (little-endian)."""
    count = 0
    last = np.uint64(0)
    for place in range(len(words)):
        word = words[place]
        if word == last * _EVERY_BYTE:
            continue
        differs = word ^ ((word << np.uint64(8)) | last)
        last = word >> np.uint64(56)
        # Two different bytes of 0, 1 and -1 differ in one of the lowest two bits.
        differs = (differs | (differs >> np.uint64(1))) & _EVERY_BYTE
        while differs != 0:
            lowest = differs & (~differs + np.uint64(1))
            changes[count] = WORD * place + int((lowest * _BYTE_NUMBERS) >> np.uint64(56))
            count += 1
            differs ^= lowest
        if count > most:
            break
    return count


@compiled
def _list_fractional(path: NDArray[np.float64], changes: NDArray[np.int64], most: int) -> int:
    """List the changes of float64 positions; compares 64 at a time with those before them."""
    count = 0
    if path[0] != 0.0:
        changes[0] = 0
        count = 1
    for start in range(1, len(path), 64):
        later = path[start : start + 64]
        earlier = path[start - 1 : start - 1 + len(later)]
        differs = np.uint64(0)
        for bar in range(len(later)):
            differs |= np.uint64(later[bar] != earlier[bar]) << np.uint64(bar)
        while differs != 0:
            lowest = differs & (~differs + np.uint64(1))
            changes[count] = start + _BIT_NUMBERS[(lowest * _BIT_SEQUENCE) >> np.uint64(58)]
            count += 1
            differs ^= lowest
        if count > most:
            break
    return count


class _Water(NamedTuple):
    """Say how far and since when the equity curve is below its peak.

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


@inlined
def _run(
    changes: NDArray[np.int64],
    targets: NDArray[np.float64],
    change_count: int,
    open_prices: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
    prefix_sums: NDArray[np.float64],
    blocks: NDArray[np.float64],
    account: Account,
    costs: tuple[float, float],
    side_by_side: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> bool:
    """Go from trade to trade; `changes` ends with the last bar. Returns whether it could."""
    close_bits = close_prices.view(np.int64)
    extremes = np.empty(2)
    extreme_bits = extremes.view(np.int64)
    sums[:] = 0.0
    side_by_side[:] = 0.0
    equity = account.cash
    water = _Water(equity, days[0], False, _KEPT, 0.0)
    for change in range(change_count):
        first, end = changes[change] + 1, changes[change + 1] + 1
        if not water.is_under:
            water = _Water(water.peak, days[first - 1], False, water.kept, water.longest)
        account, trades = rebalance(account, True, targets[change], open_prices[first], *costs)
        _add_trades(sums, trades)
        cash, units = account.cash, account.units
        marked = cash + units * close_prices[first]
        if not has_left(cash, marked):
            return False
        _add_return(sums, marked / equity - 1.0)
        if units == 0.0:
            equity = marked
            water = _mark(water, equity, days[first])
            continue
        peak = water.peak
        water = _hold(
            water,
            close_prices,
            close_bits,
            extremes,
            extreme_bits,
            days,
            blocks,
            account,
            first,
            end,
        )
        if not has_left(2.0 * max(cash, 0.0), water.kept * peak):  # may be ruined
            return False
        if units > 0.0 and abs(cash) <= ROUNDING * marked:
            _add_returns_between(sums, prefix_sums, first, end - 1)
        else:
            _add_side_by_side(side_by_side, close_prices, cash, units, first, end - 1)
        equity = cash + units * close_prices[end - 1]
        sums[EXPOSURE] += end - first
    _conclude(sums, side_by_side, water, equity, days)
    return True


@inlined
def _add_trades(sums: NDArray[np.float64], trades: TradeTotals) -> None:
    sums[TRADE_COUNT] += trades.trade_count
    sums[WINNING_COUNT] += trades.winning_count
    sums[GROSS_PROFIT] += trades.gross_profit
    sums[GROSS_LOSS] += trades.gross_loss
    sums[TRADE_RETURN_SUM] += trades.return_sum


@inlined
def _add_return(sums: NDArray[np.float64], change: float) -> None:
    """Add the return of one bar."""
    if abs(change) <= ROUNDING:
        return
    loss = max(-change, 0.0)
    sums[GAIN_SUM] += max(change, 0.0)
    sums[LOSS_SUM] += loss
    sums[SQUARE_SUM] += change * change
    sums[LOSS_SQUARE_SUM] += loss * loss


@inlined
def _add_returns_between(
    sums: NDArray[np.float64], prefix_sums: NDArray[np.float64], first: int, last: int
) -> None:
    """Add the market's returns of the bars after `first` up to and including `last`."""
    sums[GAIN_SUM] += _difference(prefix_sums, first, last, _GAINS)
    sums[LOSS_SUM] += _difference(prefix_sums, first, last, _LOSSES)
    sums[SQUARE_SUM] += _difference(prefix_sums, first, last, _SQUARES)
    sums[LOSS_SQUARE_SUM] += _difference(prefix_sums, first, last, _LOSS_SQUARES)


@inlined
def _difference(prefix_sums: NDArray[np.float64], first: int, last: int, column: int) -> float:
    total: float = prefix_sums[last, column] - prefix_sums[first, column]
    lost: float = prefix_sums[last, column + 1] - prefix_sums[first, column + 1]
    return total + lost


@inlined
def _add_side_by_side(
    sums: NDArray[np.float64],
    close_prices: NDArray[np.float64],
    cash: float,
    units: float,
    first: int,
    last: int,
) -> None:
    """Add the account's returns of the bars after `first` up to and including `last`.

    Each of `_STRIP` bars that follow each other is added to a sum of its own: so there are vector
    instructions, and the order of additions is the same whatever their width.
    """
    for start in range(first, last, _STRIP):
        before = close_prices[start : min(start + _STRIP, last)]
        after = close_prices[start + 1 : start + 1 + len(before)]
        for place in range(len(before)):
            change = (cash + units * after[place]) / (cash + units * before[place]) - 1.0
            change = change if abs(change) > ROUNDING else 0.0
            loss = -change if change < 0.0 else 0.0
            gain = change if change > 0.0 else 0.0  # noqa: FURB136 - max() makes no vectors
            sums[_SIDE_GAINS + place] += gain
            sums[_SIDE_LOSSES + place] += loss
            sums[_SIDE_SQUARES + place] += change * change
            sums[_SIDE_LOSS_SQUARES + place] += loss * loss


@inlined
def _conclude(
    sums: NDArray[np.float64],
    side_by_side: NDArray[np.float64],
    water: _Water,
    equity: float,
    days: NDArray[np.float64],
) -> None:
    """Write what the last bar decides; exposure was a count of bars so far."""
    for place in range(_STRIP):
        sums[GAIN_SUM] += side_by_side[_SIDE_GAINS + place]
        sums[LOSS_SUM] += side_by_side[_SIDE_LOSSES + place]
        sums[SQUARE_SUM] += side_by_side[_SIDE_SQUARES + place]
        sums[LOSS_SQUARE_SUM] += side_by_side[_SIDE_LOSS_SQUARES + place]
    if water.is_under:
        water = _surface(water, days[-1])
    sums[FINAL_EQUITY] = equity
    sums[MAX_DRAWDOWN] = 1.0 - water.kept if water.kept < _KEPT else 0.0
    sums[MAX_DRAWDOWN_DAYS] = water.longest
    sums[EXPOSURE] /= len(days)


@inlined
def _mark(water: _Water, equity: float, day: float) -> _Water:
    """Go on to one bar's equity."""
    if equity < water.peak * _KEPT:
        kept = water.kept
        if equity < water.peak * kept:
            kept = equity / water.peak
        return _Water(water.peak, water.peak_day, True, kept, water.longest)
    water = _surface(water, day) if water.is_under else water
    return _Water(max(water.peak, equity), day, False, water.kept, water.longest)


@inlined
def _surface(water: _Water, day: float) -> _Water:
    """End a stretch under water."""
    longest = max(water.longest, day - water.peak_day)
    return _Water(water.peak, day, False, water.kept, longest)


@inlined
def _hold(
    water: _Water,
    close_prices: NDArray[np.float64],
    close_bits: NDArray[np.int64],
    extremes: NDArray[np.float64],
    extreme_bits: NDArray[np.int64],
    days: NDArray[np.float64],
    blocks: NDArray[np.float64],
    account: Account,
    first: int,
    end: int,
) -> _Water:
    """Go on over the closes of a holding period, block by block; `extremes` is for scratch."""
    start = first
    while start < end:
        block = start // _BLOCK
        stop = min((block + 1) * _BLOCK, end)
        high, low = _equity_range(account, blocks[block, _TOP], blocks[block, _BOTTOM])
        if high < water.peak * _KEPT and low >= water.peak * water.kept:
            water = _Water(water.peak, water.peak_day, True, water.kept, water.longest)
        else:
            # Cash makes drawdowns smaller than the market's; those of a short are unrelated to it.
            inner_kept = blocks[block, _INNER_KEPT] if account.units > 0.0 else 0.0
            if stop - start < _BLOCK:
                _extremes(close_bits, start, stop, extreme_bits)
                high, low = _equity_range(account, extremes[0], extremes[1])
            inner_kept = max(inner_kept, low / high)
            water = _look_closer(
                water, account, close_prices, days, (high, low, inner_kept), start, stop
            )
        start = stop
    return water


@inlined
def _equity_range(account: Account, top: float, bottom: float) -> tuple[float, float]:
    """Return the highest and the lowest equity between two closes."""
    at_top, at_bottom = account.cash + account.units * top, account.cash + account.units * bottom
    return max(at_top, at_bottom), min(at_top, at_bottom)


@inlined
def _look_closer(
    water: _Water,
    account: Account,
    close_prices: NDArray[np.float64],
    days: NDArray[np.float64],
    equities: tuple[float, float, float],
    start: int,
    stop: int,
) -> _Water:
    """Go on over a part of a block, walking its bars only where it takes that.

    `equities` has their highest, their lowest, and 1 - a bound of the drawdowns among them.
    """
    high, low, inner_kept = equities
    kept = min(water.kept, low / water.peak)
    if high < water.peak * _KEPT:
        return _Water(water.peak, water.peak_day, True, kept, water.longest)
    if inner_kept < water.kept or days[stop - 1] - water.peak_day > water.longest:
        for bar in range(start, stop):
            water = _mark(water, account.cash + account.units * close_prices[bar], days[bar])
        return water
    bar = stop - 1
    while account.cash + account.units * close_prices[bar] < high * _KEPT:
        bar -= 1
    peak = max(water.peak, high)
    last = account.cash + account.units * close_prices[stop - 1]
    return _Water(peak, days[bar], last < peak * _KEPT, kept, water.longest)


@inlined
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
