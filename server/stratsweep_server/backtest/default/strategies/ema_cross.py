"""Crossing of two exponential moving averages."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.default.strategies.positions import cross_positions
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def ema_cross(
    bars: Bars,
    fast: Annotated[int, Parameter("Span of the fast average.", minimum=1, maximum=10_000)] = 12,
    slow: Annotated[int, Parameter("Span of the slow average.", minimum=1, maximum=10_000)] = 26,
    allow_short: Annotated[bool, Parameter("Short where fast is below slow.")] = False,
) -> NDArray[np.float64]:
    """Long while the fast exponential moving average of closes is above the slow one.

    A span of n weights a new close by 2 / (n + 1); the first value is the mean of the first n
    closes. A tie, and the bars until both averages exist, are flat.
    """
    return cross_positions(
        talib.EMA(bars.close, timeperiod=fast),
        talib.EMA(bars.close, timeperiod=slow),
        bars.close,
        allow_short,
    )
