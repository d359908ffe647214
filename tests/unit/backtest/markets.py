"""Bars and target positions for tests, and a way to run given positions through the engine."""

from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st
from stratsweep_server.backtest import BacktestConfig, Bars, StrategyConfig, registry, strategy
from stratsweep_server.backtest.default import DefaultEngine

DAY = 86_400 * 10**9


def bars_of(opens, closes, days=None, symbol="TEST"):
    """Bars with no more range than the open and close need, one a day unless days are given."""
    opens, closes = np.array(opens, dtype=np.float64), np.array(closes, dtype=np.float64)
    time = np.array(range(len(opens)) if days is None else days, dtype=np.int64) * DAY
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return Bars(symbol, time, opens, high, low, closes, np.full(len(opens), np.nan))


def run_targets(*sleeves, cash=10_000.0, commission=0.0, slippage=0.0):
    """Run target positions, one (targets, bars) for each symbol, and return the metrics."""
    targets = {bars.symbol: targets for targets, bars in sleeves}
    bars = {bars.symbol: bars for _, bars in sleeves}
    with patch.dict(registry._registered):

        @strategy(name="scripted")
        def scripted(bars: Bars):
            return targets[bars.symbol]

        config = BacktestConfig(
            StrategyConfig("scripted", {}),
            tuple(bars),
            starting_cash=cash,
            commission=commission,
            slippage=slippage,
            bars=bars,
        )
        return DefaultEngine().run_sync(config).metrics


def run_strategy(bars, name, **parameters):
    config = BacktestConfig(
        StrategyConfig(name, parameters), (bars.symbol,), bars={bars.symbol: bars}
    )
    return DefaultEngine().run_sync(config).metrics


def random_bars(seed, count, volatility=0.02, tick=None, symbol="TEST", days=None):
    """A random walk with gaps between close and open; prices on a tick have ties."""
    random = np.random.default_rng(seed)
    gaps = random.normal(0, volatility / 2, count)
    moves = random.normal(0, volatility, count)
    opens = 100 * np.exp(np.cumsum(gaps + np.roll(moves, 1)))
    closes = opens * np.exp(moves)
    if tick:
        opens, closes = (np.maximum(np.round(x / tick), 1) * tick for x in (opens, closes))
    bars = bars_of(opens, closes, days, symbol)
    bars.high[:] *= np.exp(np.abs(random.normal(0, volatility / 2, count)))
    bars.low[:] /= np.exp(np.abs(random.normal(0, volatility / 2, count)))
    return bars


@st.composite
def markets(draw, min_count=2, max_count=150, symbol="TEST", days=None):
    seed = draw(st.integers(0, 2**32 - 1))
    count = draw(st.integers(min_count, max_count))
    volatility = draw(st.sampled_from([0.001, 0.02, 0.1, 0.3]))
    tick = draw(st.sampled_from([None, 0.01, 1.0]))
    gaps = np.random.default_rng(seed).integers(1, 5, count)
    days = np.cumsum(gaps) if draw(st.booleans()) else None
    return random_bars(seed, count, volatility, tick, symbol, days)


ALL_IN = (0.0, 1.0)
ALL_IN_BOTH_WAYS = (-1.0, 0.0, 1.0, np.nan)
PARTIAL = (-1.0, -0.55, -0.3, 0.0, 0.2, 0.35, 0.7, 0.71, 1.0, np.nan)


@st.composite
def target_paths(draw, count, levels):
    """Positions that stay for a while."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    change = random.random(count) < draw(st.sampled_from([0.02, 0.2, 0.8]))
    return random.choice(levels, count)[np.maximum.accumulate(np.arange(count) * change)]
