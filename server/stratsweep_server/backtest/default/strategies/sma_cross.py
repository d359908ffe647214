"""Trade the crossing of two simple moving averages."""

from typing import Annotated

from stratsweep_server.backtest.default.indicators import simple_average
from stratsweep_server.backtest.default.strategies.signals import Positions, cross_positions
from stratsweep_server.backtest.indicators import Booleans, Integers
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def sma_cross(
    bars: Bars,
    fast: Annotated[
        Integers, Parameter("Bars of the fast average.", minimum=1, maximum=10_000)
    ] = 10,
    slow: Annotated[
        Integers, Parameter("Bars of the slow average.", minimum=1, maximum=10_000)
    ] = 30,
    allow_short: Annotated[Booleans, Parameter("Short where fast is below slow.")] = False,
) -> Positions:
    """Long while the fast simple moving average of closes is above the slow one.

    A tie, and the bars until both averages exist, are flat.
    """
    return cross_positions(
        simple_average(bars, fast), simple_average(bars, slow), bars, allow_short
    )
