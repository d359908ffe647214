"""Crossing of two simple moving averages."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.default.strategies.positions import cross_positions
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def sma_cross(
    bars: Bars,
    fast: Annotated[int, Parameter("Bars of the fast average.", minimum=1, maximum=10_000)] = 10,
    slow: Annotated[int, Parameter("Bars of the slow average.", minimum=1, maximum=10_000)] = 30,
    allow_short: Annotated[bool, Parameter("Short where fast is below slow.")] = False,
) -> NDArray[np.float64]:
    """Long while the fast simple moving average of closes is above the slow one.

    A tie, and the bars until both averages exist, are flat.
    """
    return cross_positions(
        talib.SMA(bars.close, timeperiod=fast),
        talib.SMA(bars.close, timeperiod=slow),
        bars.close,
        allow_short,
    )
