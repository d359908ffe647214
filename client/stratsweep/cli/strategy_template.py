"""A strategy that explains itself, and its test: what `stratsweep new strategy` writes. Pure."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
import sys

BUILT_IN_STRATEGIES = frozenset(
    {
        "bollinger_reversion",
        "buy_and_hold",
        "donchian_breakout",
        "ema_cross",
        "macd_cross",
        "momentum",
        "rsi_reversion",
        "sma_cross",
    }
)
"""Those that come with the server, which need not be installed here."""

EXAMPLE_PARAMETERS = "--param period=20:200:20 --param margin=0:0.04:0.01"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_USED = {"Annotated", "Bars", "DAY", "NDArray", "Parameter", "daily_bars", "np", "strategy"}
_PLACEHOLDER = "STRATEGY_NAME"

STRATEGY = '''\
"""A trading strategy for Stratsweep.

Run it, on a folder with price files such as prices/SPY.csv:

    stratsweep optimize STRATEGY_NAME --strategies STRATEGY_NAME.py \\
        --data prices --symbol SPY --param period=20:200:20 --param margin=0:0.04:0.01
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from stratsweep_server.backtest import Bars, Parameter, strategy


# The signature declares the parameters. Each has a type (int, float, bool, str, or
# Literal["a", "b"]); description, bounds and default are optional. A parameter without a default
# must be given. Values outside the bounds are refused before anything runs.
@strategy
def STRATEGY_NAME(
    bars: Bars,
    period: Annotated[int, Parameter("Bars of the mean.", minimum=2, maximum=1000)] = 100,
    margin: Annotated[float, Parameter("To exceed it by, as a fraction.", minimum=0)] = 0.01,
) -> NDArray[np.bool_]:
    """Long while the close is above its mean by a margin."""
    # bars.time, open, high, low, close and volume are numpy arrays with one value per bar.
    means = np.convolve(bars.close, np.full(period, 1 / period))[: len(bars)]
    means[: period - 1] = np.nan  # until there are as many bars
    # Return one position per bar: 1 or True is long with all the money, -1 short, 0 or False flat,
    # and a fraction is a part of the money. A position may use its bar and those before it, never
    # a later one: it is traded at the open of the next bar.
    return bars.close > means * (1 + margin)
'''

TEST = '''\
"""Tests of STRATEGY_NAME, without a server: the strategy is a function. Run pytest here."""

import numpy as np
from stratsweep_server.backtest import Bars

from STRATEGY_NAME import STRATEGY_NAME

DAY = 86_400_000_000_000  # in nanoseconds


def daily_bars(*closes: float) -> Bars:
    """Made-up bars, a day apart, that open and close at the same price."""
    prices = np.array(closes, dtype=float)
    time = np.arange(len(prices), dtype=np.int64) * DAY
    volume = np.full(len(prices), 1_000.0)
    return Bars("TEST", time, prices, prices, prices, prices, volume)


def test_it_is_flat_until_there_is_a_mean_and_long_above_it() -> None:
    positions = STRATEGY_NAME(daily_bars(10, 10, 10, 12, 8, 10), period=3, margin=0.05)
    assert positions.tolist() == [False, False, False, True, False, False]


def test_no_position_depends_on_a_later_bar() -> None:
    closes = 100 + np.random.default_rng(seed=1).normal(size=100).cumsum()
    positions = STRATEGY_NAME(daily_bars(*closes), period=10, margin=0.0)
    assert positions.any()
    for count in range(1, len(closes)):
        so_far = STRATEGY_NAME(daily_bars(*closes[:count]), period=10, margin=0.0)
        assert so_far.tolist() == positions[:count].tolist()
'''


def filled_in(template: str, name: str) -> str:
    """Return a template with a strategy's name."""
    return template.replace(_PLACEHOLDER, name)


def name_problem(name: str) -> str:
    """Say why no strategy, and no module, should have a name; empty where it may."""
    if not _NAME.fullmatch(name):
        return "is no name; use letters, digits and _, beginning with a letter"
    if keyword.iskeyword(name) or hasattr(builtins, name):
        return "is a word of Python; choose another name"
    if name in BUILT_IN_STRATEGIES:
        return "is a built-in strategy; choose another name"
    if name in _USED:
        return "is a name that the files use for something else; choose another name"
    for module in (name, f"test_{name}"):
        if module in sys.stdlib_module_names or importlib.util.find_spec(module):
            return f"would hide the module {module}, which is installed; choose another name"
    return ""
