"""Reversion from oversold and overbought levels of the relative strength index."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.default.strategies.positions import held_positions
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def rsi_reversion(
    bars: Bars,
    period: Annotated[int, Parameter("Bars of the RSI.", minimum=2, maximum=10_000)] = 14,
    oversold: Annotated[float, Parameter("Buy below this RSI.", minimum=0, maximum=100)] = 30.0,
    overbought: Annotated[float, Parameter("Short above this RSI.", minimum=0, maximum=100)] = 70.0,
    neutral: Annotated[float, Parameter("Leave beyond this RSI.", minimum=0, maximum=100)] = 50.0,
    allow_short: Annotated[bool, Parameter("Short above overbought.")] = False,
) -> NDArray[np.float64]:
    """Long from an oversold RSI until it is above neutral.

    Short, where allowed, from an overbought RSI until it is below neutral. The RSI is Wilder's, of
    closes; the bars until it exists, and until a first close differs, are flat.
    """
    rsi = talib.RSI(bars.close, timeperiod=period)
    # TA-Lib calls an RSI without any gain or loss 0, which would be oversold.
    rsi[: _unchanged_count(bars.close)] = np.nan
    return held_positions(
        rsi < oversold, rsi > neutral, rsi > overbought, rsi < neutral, allow_short
    )


def _unchanged_count(close: NDArray[np.float64]) -> int:
    """Count the bars before the first close that differs from the first one."""
    changed = close != close[0]
    return int(changed.argmax()) if changed.any() else len(close)
