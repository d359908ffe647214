"""Trade the crossing of two exponential moving averages."""

from typing import Annotated

from stratsweep_server.backtest.default.indicators import exponential_average
from stratsweep_server.backtest.default.strategies.signals import Positions, cross_positions
from stratsweep_server.backtest.indicators import Booleans, Integers
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def ema_cross(
    bars: Bars,
    fast: Annotated[
        Integers, Parameter("Span of the fast average.", minimum=1, maximum=10_000)
    ] = 12,
    slow: Annotated[
        Integers, Parameter("Span of the slow average.", minimum=1, maximum=10_000)
    ] = 26,
    allow_short: Annotated[Booleans, Parameter("Short where fast is below slow.")] = False,
) -> Positions:
    """Long while the fast exponential moving average of closes is above the slow one.

    A span of n weights a new close by 2 / (n + 1); the first value is the mean of the first n
    closes. A tie, and the bars until both averages exist, are flat.
    """
    return cross_positions(
        exponential_average(bars, fast), exponential_average(bars, slow), bars, allow_short
    )
