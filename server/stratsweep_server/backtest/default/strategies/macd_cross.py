"""Trade the crossing of the MACD line and its signal line."""

from typing import Annotated

from stratsweep_server.backtest.default.indicators import relative_macd_gap
from stratsweep_server.backtest.default.strategies.signals import (
    Positions,
    threshold_positions,
)
from stratsweep_server.backtest.indicators import Booleans, Integers
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def macd_cross(
    bars: Bars,
    fast: Annotated[
        Integers, Parameter("Span of the fast average.", minimum=2, maximum=10_000)
    ] = 12,
    slow: Annotated[
        Integers, Parameter("Span of the slow average.", minimum=2, maximum=10_000)
    ] = 26,
    signal: Annotated[
        Integers, Parameter("Span of the signal line.", minimum=1, maximum=10_000)
    ] = 9,
    allow_short: Annotated[Booleans, Parameter("Short where MACD is below its signal.")] = False,
) -> Positions:
    """Long while the MACD line is above its signal line.

    The MACD line is the fast minus the slow exponential moving average of closes, whichever span is
    the longer; the signal line is the exponential moving average of the MACD line (Appel). Both
    averages begin on the bar on which the longer one exists, each with the mean of as many closes
    as its span. Equal spans never give a signal. A tie, and the bars until both lines exist, are
    flat.
    """
    return threshold_positions(relative_macd_gap(bars, fast, slow, signal), 0.0, allow_short)
