"""Trade the momentum of a symbol against its own past."""

from typing import Annotated

from stratsweep_server.backtest.default.indicators import rate_of_change
from stratsweep_server.backtest.default.strategies.signals import Positions, threshold_positions
from stratsweep_server.backtest.indicators import Booleans, Doubles, Integers
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars


@strategy
def momentum(
    bars: Bars,
    period: Annotated[Integers, Parameter("Bars to look back.", minimum=1, maximum=10_000)] = 100,
    threshold: Annotated[
        Doubles, Parameter("Change to exceed, as a fraction.", minimum=0, maximum=1_000)
    ] = 0.0,
    allow_short: Annotated[Booleans, Parameter("Short below minus the threshold.")] = False,
) -> Positions:
    """Long while the close is above the close some bars ago by more than a threshold.

    Short, where allowed, while it is below by more than the threshold (Moskowitz, Ooi and Pedersen
    2012, without their scaling by volatility). The bars until there is a close to compare with are
    flat.
    """
    return threshold_positions(rate_of_change(bars, period), threshold, allow_short)
