"""Trade the reversion from oversold and overbought levels of the relative strength index (RSI)."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.default.indicators import average_move, relative_strength
from stratsweep_server.backtest.default.strategies.signals import TIE, Positions, held_positions
from stratsweep_server.backtest.indicators import Booleans, Doubles, Integers, indicator
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def rsi_reversion(
    bars: Bars,
    period: Annotated[Integers, Parameter("Bars of the RSI.", minimum=2, maximum=10_000)] = 14,
    oversold: Annotated[Doubles, Parameter("Buy below this RSI.", minimum=0, maximum=100)] = 30.0,
    overbought: Annotated[
        Doubles, Parameter("Short above this RSI.", minimum=0, maximum=100)
    ] = 70.0,
    neutral: Annotated[Doubles, Parameter("Leave beyond this RSI.", minimum=0, maximum=100)] = 50.0,
    allow_short: Annotated[Booleans, Parameter("Short above overbought.")] = False,
) -> Positions:
    """Long from an oversold RSI until it is above neutral.

    Short, where allowed, from an overbought RSI until it is below neutral. The RSI is Wilder's, of
    closes; the bars until it exists, and until a first close differs, are flat.
    """
    return held_positions(
        _below(bars, period, oversold),
        _above(bars, period, neutral),
        _above(bars, period, overbought),
        _below(bars, period, neutral),
        allow_short,
    )


@indicator
def _below(bars: Bars, period: int, level: float) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = relative_strength.column(bars, period) < level - _tie(bars, period)
    return below


@indicator
def _above(bars: Bars, period: int, level: float) -> NDArray[np.bool_]:
    above: NDArray[np.bool_] = relative_strength.column(bars, period) > level + _tie(bars, period)
    return above


def _tie(bars: Bars, period: int) -> NDArray[np.float64]:
    """Return a tie of prices in points of RSI: 100 * gain / move is only as exact as its prices."""
    with np.errstate(divide="ignore"):  # no move yet, no RSI
        tie: NDArray[np.float64] = 100.0 * TIE * bars.close / average_move.column(bars, period)
    return tie
