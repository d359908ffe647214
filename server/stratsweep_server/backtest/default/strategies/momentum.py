"""Time-series momentum."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import talib
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def momentum(
    bars: Bars,
    period: Annotated[int, Parameter("Bars to look back.", minimum=1, maximum=10_000)] = 100,
    threshold: Annotated[
        float, Parameter("Change to exceed, as a fraction.", minimum=0, maximum=1_000)
    ] = 0.0,
    allow_short: Annotated[bool, Parameter("Short below minus the threshold.")] = False,
) -> NDArray[np.float64]:
    """Long while the close is above the close some bars ago by more than a threshold.

    Short, where allowed, while it is below by more than the threshold (Moskowitz, Ooi and Pedersen
    2012, without their scaling by volatility). The bars until there is a close to compare with are
    flat.
    """
    change = talib.ROCP(bars.close, timeperiod=period)
    positions = (change > threshold).astype(np.float64)
    if allow_short:
        positions -= change < -threshold
    return positions
