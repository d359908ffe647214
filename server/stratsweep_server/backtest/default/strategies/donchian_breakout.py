"""Breakout from a Donchian channel."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.default.strategies.positions import held_positions
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def donchian_breakout(
    bars: Bars,
    entry_period: Annotated[
        int, Parameter("Bars of the channel to break out of.", minimum=2, maximum=10_000)
    ] = 20,
    exit_period: Annotated[
        int, Parameter("Bars of the channel that ends the position.", minimum=2, maximum=10_000)
    ] = 10,
    allow_short: Annotated[bool, Parameter("Short below the entry channel.")] = False,
) -> NDArray[np.float64]:
    """Long from a close above the highest high of the bars before until one below the lowest low.

    The entry channel spans the highs and lows of the `entry_period` bars before this one, the exit
    channel those of the `exit_period` bars before. Shorts, where allowed, mirror it. The bars until
    the channels exist are flat.
    """
    close = bars.close
    return held_positions(
        close > _before(talib.MAX(bars.high, timeperiod=entry_period)),
        close < _before(talib.MIN(bars.low, timeperiod=exit_period)),
        close < _before(talib.MIN(bars.low, timeperiod=entry_period)),
        close > _before(talib.MAX(bars.high, timeperiod=exit_period)),
        allow_short,
    )


def _before(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift by one bar: the value of the bar before."""
    shifted = np.empty_like(values)
    shifted[0] = np.nan
    shifted[1:] = values[:-1]
    return shifted
