"""Hold one position throughout, the benchmark of every strategy."""

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.registry import strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def buy_and_hold(bars: Bars) -> NDArray[np.float64]:
    """Long, all-in, from the open of the second bar to the end."""
    return np.ones(len(bars))
