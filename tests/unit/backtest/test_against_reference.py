"""The engine against a slow, obvious implementation that shares no code with it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest import Bars
from stratsweep_server.backtest.default.metrics import METRICS

from .markets import (
    ALL_IN,
    ALL_IN_BOTH_WAYS,
    PARTIAL,
    markets,
    random_bars,
    run_strategy,
    run_targets,
    target_paths,
)
from .reference import backtest

SPY = Path(__file__).parents[3].parent / "shared" / "data" / "SPY.csv"
LEVELS = st.sampled_from([ALL_IN, ALL_IN_BOTH_WAYS, PARTIAL])
COSTS = st.sampled_from([0.0, 0.0005, 0.02])


def approximately(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(st.data(), COSTS, COSTS)
def test_every_metric_equals_the_reference_on_random_walks(data, commission, slippage):
    bars = data.draw(markets())
    targets = data.draw(target_paths(len(bars), data.draw(LEVELS)))
    ours = run_targets((targets, bars), commission=commission, slippage=slippage)
    theirs = backtest([(targets, bars)], commission=commission, slippage=slippage)
    assert ours == approximately(theirs)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(2, 3), COSTS)
def test_a_portfolio_equals_the_reference_on_random_walks(data, sleeve_count, commission):
    sleeves = []
    for number in range(sleeve_count):
        bars = data.draw(markets(symbol=f"S{number}", max_count=60))
        sleeves.append((data.draw(target_paths(len(bars), data.draw(LEVELS))), bars))
    ours = run_targets(*sleeves, commission=commission)
    assert ours == approximately(backtest(sleeves, commission=commission))


def test_such_walks_reach_every_metric_and_ruin():
    seen, ruined = set(), False
    for seed in range(60):
        bars = random_bars(seed, 100, volatility=0.1)
        targets = np.random.default_rng(seed).choice(ALL_IN_BOTH_WAYS, 5).repeat(20)
        metrics = run_targets((targets, bars))
        seen.update(metrics)
        ruined |= metrics["final_equity"] == 0
    assert seen == {metric.name for metric in METRICS}
    assert ruined


@pytest.mark.skipif(not SPY.exists(), reason=f"needs {SPY}")
def test_an_sma_crossover_on_spy_is_plausible_and_equals_the_reference():
    table = pl.read_csv(SPY, try_parse_dates=True)
    time = table["Date"].cast(pl.Datetime("ns")).cast(pl.Int64).to_numpy()
    prices = [table[name].cast(float).to_numpy() for name in ("Open", "High", "Low", "Close")]
    bars = Bars("SPY", time, *prices, table["Volume"].cast(float).to_numpy())
    metrics = run_strategy(bars, "sma_cross", fast=10, slow=50)

    close = bars.close.tolist()
    fast, slow = ([mean_of(close, bar, count) for bar in range(len(close))] for count in (10, 50))
    targets = [float(f > s) for f, s in zip(fast, slow, strict=True)]
    assert metrics == approximately(backtest([(targets, bars)]))
    assert len(bars) == 5_849
    assert 50 < metrics["trade_count"] < 100
    assert 0 < metrics["cagr"] < 0.1
    assert 0.2 < metrics["sharpe_ratio"] < 0.8
    assert 0.5 < metrics["exposure_time"] < 0.8


def mean_of(close, bar, count):
    return sum(close[bar + 1 - count : bar + 1]) / count if bar + 1 >= count else np.nan
