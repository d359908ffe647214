"""Reversion from outside the Bollinger bands to their middle."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.default.strategies.positions import TIE, held_positions
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def bollinger_reversion(
    bars: Bars,
    period: Annotated[int, Parameter("Bars of the bands.", minimum=2, maximum=10_000)] = 20,
    deviations: Annotated[
        float, Parameter("Standard deviations from middle to band.", minimum=0, maximum=100)
    ] = 2.0,
    allow_short: Annotated[bool, Parameter("Short above the upper band.")] = False,
) -> NDArray[np.float64]:
    """Long from a close below the lower Bollinger band until one above the middle.

    Short, where allowed, from a close above the upper band until one below the middle. The middle
    is the simple moving average of closes, the bands lie population standard deviations (ddof = 0)
    around it. The bars until the bands exist are flat.
    """
    upper, middle, lower = talib.BBANDS(
        bars.close, timeperiod=period, nbdevup=deviations, nbdevdn=deviations
    )
    tie = TIE * bars.close
    return held_positions(
        lower - bars.close > tie,
        bars.close - middle > tie,
        bars.close - upper > tie,
        middle - bars.close > tie,
        allow_short,
    )
