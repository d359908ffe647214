"""A batch gives each combination what it gets alone, bit for bit."""

import random
from dataclasses import replace
from datetime import date
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest import (
    BacktestConfig,
    Bars,
    BatchConfig,
    Integers,
    StrategyConfig,
    registry,
    strategy,
)
from stratsweep_server.backtest.default import DefaultEngine, engine
from stratsweep_server.backtest.seeds import BacktestSeeds

from .markets import random_bars

BARS = random_bars(7, 400)
ENGINE = DefaultEngine()
GRIDS = {
    "sma_cross": {"fast": [3, 5, 9], "slow": [8, 20]},
    "ema_cross": {"fast": [3, 5], "slow": [8, 20, 21]},
    "macd_cross": {"fast": [3, 12], "slow": [6, 26], "signal": [4, 9]},
    "rsi_reversion": {"period": [3, 14], "oversold": [20.0, 30.0], "neutral": [50.0, 60.0]},
    "bollinger_reversion": {"period": [5, 20], "deviations": [0.0, 1.0, 2.5]},
    "donchian_breakout": {"entry_period": [5, 20], "exit_period": [3, 10]},
    "momentum": {"period": [1, 4], "threshold": [0.0, 0.01]},
}


def batch(name, parameters, bars=(BARS,), **options):
    columns = {each: np.asarray(values) for each, values in parameters.items()}
    count = len(next(iter(columns.values())))
    by_symbol = {one.symbol: one for one in bars}
    config = BatchConfig(name, count, columns, tuple(by_symbol), bars=by_symbol, **options)
    metrics = ENGINE.run_batch(config).metrics
    return [
        {key: values[row] for key, values in metrics.items() if not np.isnan(values[row])}
        for row in range(count)
    ]


def alone(name, parameters, bars=(BARS,), **options):
    by_symbol = {one.symbol: one for one in bars}
    config = BacktestConfig(
        StrategyConfig(name, parameters), tuple(by_symbol), bars=by_symbol, **options
    )
    return ENGINE.run_sync(config).metrics


def grid(name):
    axes = GRIDS[name] | {"allow_short": [False, True]}
    table = np.meshgrid(*(np.array(values) for values in axes.values()), indexing="ij")
    return {each: values.ravel() for each, values in zip(axes, table, strict=True)}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("symbols", [1, 2])
def test_a_combination_in_a_batch_has_the_bits_that_it_has_alone(name, symbols):
    bars = [BARS, random_bars(8, 300, symbol="OTHER")][:symbols]
    parameters = grid(name)
    together = batch(name, parameters, bars, commission=0.001)
    for row, metrics in enumerate(together):
        values = {each: column[row].item() for each, column in parameters.items()}
        assert metrics == alone(name, values, bars, commission=0.001)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=23, unique=True))
def test_splitting_a_batch_gives_the_same_rows(cuts):
    parameters = grid("sma_cross") | {"allow_short": np.arange(12) % 3 == 0}
    parameters = {each: np.tile(column, 2)[:24] for each, column in parameters.items()}
    edges = sorted({0, 24, *cuts})
    parts = [
        row
        for start, end in pairwise(edges)
        for row in batch("sma_cross", {each: c[start:end] for each, c in parameters.items()})
    ]
    assert parts == batch("sma_cross", parameters)


def test_a_batch_larger_than_a_block_is_one(monkeypatch):
    parameters = grid("sma_cross")
    expected = batch("sma_cross", parameters)
    monkeypatch.setattr(engine, "_BLOCK_BYTES", 5 * len(BARS))
    assert batch("sma_cross", parameters) == expected


def test_a_strategy_of_single_values_says_which_combination_it_works_on():
    with patch.dict(registry._registered):

        @strategy
        def above(bars: Bars, level: float):
            return bars.close > level

        began = []
        together = batch("above", {"level": [90, 100, 110]}, begin=began.append)
        assert began == [0, 1, 2, None]
        assert together[1] == alone("above", {"level": 100})


def test_a_vectorised_strategy_is_called_once_for_a_block():
    with patch.dict(registry._registered):
        calls = []

        @strategy
        def above(bars: Bars, level: Integers, extra: Integers = 3):
            calls.append((level.tolist(), extra.tolist()))
            return bars.close > np.reshape(level, (-1, 1))

        together = batch("above", {"level": [90, 100, 110]})
        assert calls == [([90, 100, 110], [3, 3, 3])]
        assert together[2] == alone("above", {"level": 110})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(3), r"one row per combination and one position per bar, \(2, 400\); it .*\(3,\)"),
        (np.full((2, 400), 2, dtype=np.int8), r"returned position 2\.0 for bar 0"),
        (np.full((2, 400), np.inf), "returned position inf for bar 0"),
        (np.full((2, 400), "x"), "must return an array of numbers"),
    ],
)
def test_what_a_vectorised_strategy_must_return_is_said(returned, message):
    with patch.dict(registry._registered):

        @strategy
        def odd(bars: Bars, level: Integers):
            return returned

        with pytest.raises(ValueError, match=message):
            batch("odd", {"level": [1, 2]})


def test_bars_before_the_first_day_warm_up_and_do_not_trade():
    first_day = date(1970, 7, 20)  # bar 200
    after = BARS.between(first_day, None)
    cold = alone("sma_cross", {"fast": 5, "slow": 90}, (after,))
    warmed = alone("sma_cross", {"fast": 5, "slow": 90}, (BARS.between(first_day, None, 200),))
    assert warmed != cold

    close = BARS.close
    fast, slow = (np.convolve(close, np.ones(n) / n)[: len(close)] for n in (5, 90))
    with patch.dict(registry._registered):

        @strategy
        def scripted(bars: Bars):
            return (fast > slow)[200:]

        assert warmed == alone("scripted", {}, (after,))


def test_a_strategy_that_draws_gives_a_combination_the_same_whatever_is_beside_it():
    with patch.dict(registry._registered):

        @strategy
        def coin(bars: Bars, run: int, is_random: bool = True):
            return np.random.rand(len(bars)) > random.random() if is_random else bars.close > 100

        def rows(runs, kinds):
            columns = {"run": np.array(runs), "is_random": np.array(kinds)}
            return batch("coin", columns, seed_of=BacktestSeeds(0, {}).of)

        seed_of = BacktestSeeds(0, {"is_random": True}).of
        by_itself = [alone("coin", {"run": run}, seed_of=seed_of) for run in range(4)]
        assert by_itself == rows([0, 1, 2, 3], [True] * 4) == rows([3, 2, 1, 0], [True] * 4)[::-1]
        assert rows([9, 0, 8, 1], [False, True, False, True])[1::2] == by_itself[:2]
        assert len({each["final_equity"] for each in by_itself}) == 4


def test_each_symbol_draws_its_own_numbers_whichever_are_beside_it():
    other = replace(random_bars(8, 400), symbol="OTHER")
    drawn = {}
    with patch.dict(registry._registered):

        @strategy
        def coin(bars: Bars, run: int):
            drawn.setdefault(bars.symbol, []).append(np.random.rand())
            return bars.close > 100

        for bars in ((BARS,), (BARS, other), (other, BARS)):
            alone("coin", {"run": 1}, bars, seed_of=BacktestSeeds(0, {}).of)
    mine, others = set(drawn[BARS.symbol]), set(drawn["OTHER"])
    assert len(drawn[BARS.symbol]) == 3
    assert len(mine) == len(others) == 1
    assert mine.isdisjoint(others)
