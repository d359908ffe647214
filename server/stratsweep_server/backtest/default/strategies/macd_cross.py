"""Crossing of the MACD line and its signal line."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.default.strategies.positions import cross_positions
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def macd_cross(
    bars: Bars,
    fast: Annotated[int, Parameter("Span of the fast average.", minimum=2, maximum=10_000)] = 12,
    slow: Annotated[int, Parameter("Span of the slow average.", minimum=2, maximum=10_000)] = 26,
    signal: Annotated[int, Parameter("Span of the signal line.", minimum=1, maximum=10_000)] = 9,
    allow_short: Annotated[bool, Parameter("Short where MACD is below its signal.")] = False,
) -> NDArray[np.float64]:
    """Long while the MACD line is above its signal line.

    The MACD line is the fast minus the slow exponential moving average of closes, the signal line
    the exponential moving average of the MACD line (Appel). As in TA-Lib, the shorter of the two
    spans is the fast one. A tie, and the bars until both lines exist, are flat.
    """
    line, signal_line, _ = talib.MACD(
        bars.close, fastperiod=fast, slowperiod=slow, signalperiod=signal
    )
    return cross_positions(line, signal_line, bars.close, allow_short)
