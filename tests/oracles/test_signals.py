"""What decides a position: the definitions against vectorbt's own indicators, and ties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from stratsweep_server.backtest.default.strategies import BUILT_IN

from .definitions import disagreements
from .grids import STRATEGIES, Variant, combinations, every_variant
from .markets import MARKETS, Market, market_named, random_walk
from .signals import TIE, Decisions, positions_of
from .vectorbt_portfolio import portfolio_of, vectorbt

# What numba says while it compiles vectorbt's averages.
pytestmark = pytest.mark.filterwarnings("ignore:\\s*Encountered the use of a type")

TIES = {
    "SPY": {"momentum": 74, "bollinger_reversion": 14},
    "AAPL": {"momentum": 101, "bollinger_reversion": 14},
    "BTCUSD": {"momentum": 5},
    "SPY_1h": {"sma_cross": 9, "momentum": 1_730, "bollinger_reversion": 463},
}
"""Comparisons of the grids on real bars that are equal within 1e-12 of the price."""

TICKS = random_walk("ticks of 0.1", seed=3, count=3_000, volatility=0.005, tick=0.1)
"""Prices that are often equal, on a tick which binary numbers do not have."""


def test_every_built_in_strategy_is_judged():
    assert set(STRATEGIES) == set(BUILT_IN)


def test_each_strategy_has_at_least_fifty_combinations():
    counts = {name: len(combinations(name)) for name in STRATEGIES}
    assert counts.pop("buy_and_hold") == 1, "it has no parameters"
    assert min(counts.values()) >= 50


@pytest.mark.parametrize("market_name", MARKETS)
def test_moving_averages_and_bands_are_those_of_vectorbt(market_name):
    market = market_named(market_name)
    close = market.prices["Close"]
    for each in combinations("sma_cross"):
        expected = _gap_of_vectorbts_averages(market, **each) > TIE
        assert np.array_equal(positions_of("sma_cross", market, each, False), expected)
    for each in combinations("bollinger_reversion"):
        bands = vectorbt.BBANDS.run(close, window=each["period"], alpha=each["deviations"])
        is_entry = ((bands.lower - close) / close > TIE).to_numpy()
        is_exit = ((close - bands.middle) / close > TIE).to_numpy()
        changes = pd.Series(np.where(is_entry, 1.0, np.where(is_exit, 0.0, np.nan)))
        expected = changes.ffill().fillna(0.0)
        assert np.array_equal(positions_of("bollinger_reversion", market, each, False), expected)


@pytest.mark.parametrize("market_name", TIES)
def test_the_real_bars_have_this_many_ties(market_name):
    market = market_named(market_name)
    counts = {}
    for strategy in STRATEGIES:
        decisions = Decisions()
        for each in combinations(strategy):
            positions_of(strategy, market, each, False, decisions)
        if decisions.tie_count:
            counts[strategy] = decisions.tie_count
    assert counts == TIES[market_name]


def test_a_tie_is_flat_where_vectorbt_lets_rounding_take_a_side():
    sided = 0
    for each in combinations("sma_cross"):
        gap = _gap_of_vectorbts_averages(TICKS, **each)
        is_sided = (gap > 0) & (gap <= TIE)
        sided += int(is_sided.sum())
        ours = Variant("sma_cross", each, False, 0.0, 0.0)
        portfolio = portfolio_of(TICKS, [ours], ((gap > 0) & ~is_sided)[:, None].astype(float))
        assert ours.metrics_on(TICKS)["final_equity"] == pytest.approx(
            portfolio.final_value().iloc[0], rel=1e-9
        )
    assert sided > 10


@pytest.mark.parametrize("strategy", ["sma_cross", "momentum", "bollinger_reversion"])
def test_ties_are_no_signal(strategy):
    decisions = Decisions()
    variants = every_variant(strategy)
    positions = np.column_stack(
        [positions_of(strategy, TICKS, v.parameters, v.allow_short, decisions) for v in variants]
    )
    portfolio = portfolio_of(TICKS, variants, positions)
    counts, values = portfolio.trades.closed.count(), portfolio.final_value()
    differing = []
    for variant, count, value in zip(variants, counts, values, strict=True):
        metrics = variant.metrics_on(TICKS)
        ours = {name: metrics[name] for name in ("trade_count", "final_equity")}
        differing += disagreements(ours, {"trade_count": count, "final_equity": value}, variant)
    assert decisions.tie_count > 100
    assert differing == []


def test_an_rsi_at_its_level_is_no_signal():
    for base in (10.0, 20.0, 20.1, 50.3, 99.9, 100.0):
        # One tick up and four down are an RSI of 100 * 1 / (1 + 4).
        market = _market_of([base, base + 0.1, base - 0.3, base - 0.3, base - 0.3])
        parameters = {"period": 2, "oversold": 20.0, "overbought": 90.0, "neutral": 50.0}
        assert not positions_of("rsi_reversion", market, parameters, False).any()
        variant = Variant("rsi_reversion", parameters, False, 0.0, 0.0)
        assert variant.metrics_on(market)["exposure_time"] == 0, base


def _market_of(closes: list[float]) -> Market:
    """Bars without range, one a day, on prices of one decimal."""
    prices = TICKS.prices.iloc[: len(closes)].copy()
    for name in ("Open", "High", "Low", "Close"):
        prices[name] = np.round(closes, 1)
    return Market("closes", prices, "1D")


def _gap_of_vectorbts_averages(market: Market, fast: int, slow: int) -> np.ndarray:
    close = market.prices["Close"]
    averages = (vectorbt.MA.run(close, window).ma for window in (fast, slow))
    return ((next(averages) - next(averages)) / close).to_numpy()
