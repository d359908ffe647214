"""Trade the breakout from a Donchian channel."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import highest_before, lowest_before
from stratsweep_server.backtest.default.strategies.signals import Positions, held_positions
from stratsweep_server.backtest.indicators import Booleans, Integers, indicator
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def donchian_breakout(
    bars: Bars,
    entry_period: Annotated[
        Integers, Parameter("Bars of the channel to break out of.", minimum=2, maximum=10_000)
    ] = 20,
    exit_period: Annotated[
        Integers,
        Parameter("Bars of the channel that ends the position.", minimum=2, maximum=10_000),
    ] = 10,
    allow_short: Annotated[Booleans, Parameter("Short below the entry channel.")] = False,
) -> Positions:
    """Long from a close above the highest high of the bars before until one below the lowest low.

    The entry channel spans the highs and lows of the `entry_period` bars before this one, the exit
    channel those of the `exit_period` bars before. Shorts, where allowed, mirror it. The bars until
    both channels exist are flat.
    """
    return held_positions(
        _above_highest(bars, entry_period),
        _below_lowest(bars, exit_period),
        _below_lowest(bars, entry_period),
        _above_highest(bars, exit_period),
        allow_short,
        np.maximum(entry_period, exit_period),
    )


@indicator
def _above_highest(bars: Bars, period: int) -> NDArray[np.bool_]:
    above: NDArray[np.bool_] = bars.close > highest_before.column(bars, period)
    return above


@indicator
def _below_lowest(bars: Bars, period: int) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = bars.close < lowest_before.column(bars, period)
    return below
