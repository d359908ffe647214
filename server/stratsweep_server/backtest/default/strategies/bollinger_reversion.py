"""Trade the reversion from outside the Bollinger bands to their middle."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import simple_average, standard_deviation
from stratsweep_server.backtest.default.strategies.signals import TIE, Positions, held_positions
from stratsweep_server.backtest.indicators import Booleans, Doubles, Integers, indicator
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def bollinger_reversion(
    bars: Bars,
    period: Annotated[Integers, Parameter("Bars of the bands.", minimum=2, maximum=10_000)] = 20,
    deviations: Annotated[
        Doubles, Parameter("Standard deviations from middle to band.", minimum=0, maximum=100)
    ] = 2.0,
    allow_short: Annotated[Booleans, Parameter("Short above the upper band.")] = False,
) -> Positions:
    """Long from a close below the lower Bollinger band until one above the middle.

    Short, where allowed, from a close above the upper band until one below the middle. The middle
    is the simple moving average of closes, the bands lie population standard deviations (ddof = 0)
    around it. The bars until the bands exist are flat.
    """
    none = np.zeros_like(deviations)
    return held_positions(
        _below(bars, period, deviations),
        _above(bars, period, none),
        _above(bars, period, deviations),
        _below(bars, period, none),
        allow_short,
    )


@indicator
def _below(bars: Bars, period: int, deviations: float) -> NDArray[np.bool_]:
    """Return whether the close is below the band so many deviations below the middle."""
    below: NDArray[np.bool_] = _distance(bars, period) < -_width(bars, period, deviations)
    return below


@indicator
def _above(bars: Bars, period: int, deviations: float) -> NDArray[np.bool_]:
    """Return whether the close is above the band so many deviations above the middle."""
    above: NDArray[np.bool_] = _distance(bars, period) > _width(bars, period, deviations)
    return above


def _distance(bars: Bars, period: int) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = bars.close - simple_average.column(bars, period)
    return distance


def _width(bars: Bars, period: int, deviations: float) -> NDArray[np.float64]:
    """Return the distance from middle to band, plus what counts as a tie with the band."""
    width: NDArray[np.float64] = deviations * standard_deviation.column(bars, period)
    return width + TIE * bars.close
