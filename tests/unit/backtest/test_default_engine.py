"""What the default engine refuses, shares and compiles."""

import math
import subprocess
import sys
import tempfile
from decimal import Decimal
from unittest.mock import patch

import numpy as np
import pandas as pd
import polars as pl
import pytest
from stratsweep_server.backtest import BacktestConfig, Bars, StrategyConfig, registry, strategy
from stratsweep_server.backtest.default import (
    DefaultEngine,
    lockstep,
    positions,
    trade_jumps,
    warm_up,
    windows,
)
from stratsweep_server.backtest.default.compilation import compiled
from stratsweep_server.backtest.default.portfolio import build_portfolio
from stratsweep_server.backtest.default.strategies import BUILT_IN, signals
from stratsweep_server.market_data.bars import BarsHeader, map_bars, write_bars

from .markets import bars_of, random_bars, run_targets

BARS = bars_of([100, 100, 110], [100, 105, 115])


def run(name="buy_and_hold", symbols=("TEST",), bars=None, **parameters):
    config = BacktestConfig(StrategyConfig(name, parameters), symbols, bars=bars)
    return DefaultEngine().run_sync(config)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1], "'scripted' must return one position per bar, 3; it returned 2$"),
        (1.0, r"it returned float of shape \(\)"),
        (None, "must return an array of numbers; it returned NoneType"),
        ([[0, 1, 1]], r"it returned list of shape \(1, 3\)"),
        ([[0, 1], [0]], "must return an array of numbers; it returned list that is no table"),
        (["a", "b", "c"], r"it returned list with 'a' \(str\) for bar 0 \(1970-01-01T.*\) of TEST"),
        ([0, None, "long"], r"it returned list with 'long' \(str\) for bar 2 \(1970-01-03T.*\) of"),
        ([None, Decimal(1), 0], r"with '1' \(Decimal\) for bar 1"),
        ([0j, 0j, 1j], r"with '0j' \(complex\) for bar 0"),
        ([None, 10**400, 0], "with a number that no double holds"),
        ([None, 2, 0], r"returned position 2\.0 for bar 1 \(1970-01-02T.*\) of TEST"),
        (np.zeros(3, dtype="datetime64[ns]"), r"it returned ndarray of datetime64\[ns\]"),
        ([0, 1.5, 0], r"returned position 1\.5 for bar 1 \(1970-01-02T.*\) of TEST"),
        ([0, 0, -1.01], r"returned position -1\.01 for bar 2"),
        ([0, np.inf, 0], "returned position inf for bar 1"),
    ],
)
def test_what_is_not_one_position_per_bar_is_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        run_targets((targets, BARS))


@pytest.mark.parametrize(
    "targets",
    [
        [True, False, False],
        (1, 0, 0),
        np.array([1, 0, 0], dtype=np.float32),
        np.array([1, 5, 0, 5, 0, 5], dtype=np.float64)[::2],
        np.broadcast_to(np.float64(0.5), 3),
    ],
    ids=["bools", "integers", "float32", "strided", "read-only"],
)
def test_positions_may_be_anything_that_converts_to_numbers(targets):
    expected = run_targets((np.array(targets, dtype=np.float64), BARS))
    assert run_targets((targets, BARS)) == expected


@pytest.mark.parametrize(
    "targets",
    [
        pd.Series([True, True, False]).shift(1),
        pd.Series([None, True, None], dtype="boolean"),
        pd.Series([0, 1, None], dtype="Int64"),
        pd.Series([None, 1, None], dtype="Float64"),
        pd.Series([math.nan, True, None], dtype=object),
        pl.Series([None, True, False]),
        pl.Series([True, True, False]).shift(1),
        pl.Series([None, 1, 0]),
        [None, np.True_, np.float64("nan")],
        [None, np.int64(1), 0.0],
        np.ma.masked_array([True, True, True], [True, False, True]),
        np.ma.masked_array([9.0, 1.0, 9.0], [True, False, True]),
    ],
    ids=lambda targets: f"{type(targets).__module__}-{getattr(targets, 'dtype', 'list')}",
)
def test_no_value_is_flat_and_true_is_long(targets):
    assert run_targets((targets, BARS)) == run_targets((np.array([0.0, 1.0, 0.0]), BARS))


def test_no_value_is_flat_in_a_table_of_positions_too():
    table = positions.Positions(build_portfolio((BARS,)), 2)
    table.put("any", 0, pd.DataFrame([[True, None, False], [pd.NA, 0.5, True]], dtype=object))
    expected = [[1.0, 0.0, 0.0], [0.0, 0.5, 1.0]]
    assert table.targets(np.array([0, 1])).tolist() == expected


def test_a_position_that_is_none_is_found_by_its_bar_in_a_table():
    table = positions.Positions(build_portfolio((BARS,)), 2)
    with pytest.raises(positions.PositionError, match=r"'up' \(str\) for bar 2"):
        table.put("any", 0, [[1, 0, None], [0, 1, "up"]])


def test_the_strategys_own_array_stays_writable():
    targets = np.zeros(3)
    run_targets((targets, BARS))
    assert targets.flags.writeable


def test_an_unknown_strategy_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no strategy 'sma'; there are .*sma_cross"):
        run("sma", bars={"TEST": BARS})


@pytest.mark.parametrize(
    ("symbols", "bars", "message"),
    [
        (("TEST",), None, "no bars of symbol 'TEST'"),
        (("TEST", "OTHER"), {"TEST": BARS}, "no bars of symbol 'OTHER'"),
        (("TEST",), {"TEST": bars_of([], [])}, "no bars of symbol 'TEST'"),
        ((), {}, "names no symbol"),
    ],
)
def test_missing_bars_are_named(symbols, bars, message):
    with pytest.raises(ValueError, match=message):
        run(symbols=symbols, bars=bars)


def test_whatever_a_strategy_raises_is_passed_on():
    with patch.dict(registry._registered):

        @strategy
        def failing(bars: Bars):
            raise ZeroDivisionError("not today")

        with pytest.raises(ZeroDivisionError, match="not today"):
            run("failing", bars={"TEST": BARS})


def mapped_bars() -> Bars:
    """As a worker has them."""
    with tempfile.TemporaryFile(buffering=0) as file:
        write_bars(file, [random_bars(1, 50)])
        return map_bars(file.fileno(), {"TEST": BarsHeader(50)})["TEST"]


def test_bars_mapped_from_a_file_are_used_in_place_and_stay_read_only():
    bars = mapped_bars()
    (sleeve,) = build_portfolio((bars,)).sleeves
    for column in ("time", "open", "high", "low", "close", "volume"):
        array = getattr(sleeve, column)
        assert np.shares_memory(array, getattr(bars, column))
        assert type(array) is np.ndarray
        assert not array.flags.writeable


def test_kernels_are_not_compiled_again_after_the_warm_up():
    warm_up()
    kernels = (
        lockstep.simulate_lockstep,
        trade_jumps.prepare_market,
        positions.first_invalid_position,
        positions.store_whole,
        signals._cross,
        signals._beyond,
        signals._hold,
        windows.window_mean,
        windows.window_deviation,
    )
    assert {len(kernel.signatures) for kernel in kernels} == {1}
    assert len(trade_jumps.simulate_jumps.signatures) == 2  # whole positions and others
    run("sma_cross", bars={"TEST": mapped_bars()}, fast=2, slow=5)
    run_targets((np.ones(3), BARS), cash=10_000, commission=0, slippage=0)
    run_targets((np.array([True, False, True]), BARS))
    run_targets((np.array([0.5, 7, 1, 7, 0, 7])[::2], BARS))
    run_targets((np.full(3, 0.5), BARS))
    two = {"A": random_bars(1, 50, symbol="A"), "B": random_bars(2, 30, symbol="B")}
    for name in BUILT_IN:
        run(name, ("A", "B"), two)
    assert {len(kernel.signatures) for kernel in kernels} == {1}
    assert len(trade_jumps.simulate_jumps.signatures) == 2


def test_a_kernel_is_compiled_without_a_cache_where_none_can_be_written():
    def refuse(self):
        raise RuntimeError("cannot cache function: no locator available")

    with patch("numba.core.dispatcher.Dispatcher.enable_caching", refuse):
        double = compiled(lambda value: 2.0 * value)
    assert double(2.0) == 4.0


def test_a_portfolio_is_put_on_its_calendar_once():
    assert build_portfolio((BARS,)) is build_portfolio((BARS,))


def run_python(code):
    environment = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


def test_importing_the_package_loads_neither_numba_nor_ta_lib():
    loaded = run_python(
        "import sys, stratsweep_server.backtest.loading\n"
        "print({'numba', 'talib'} & set(sys.modules))"
    )
    assert loaded == "set()"


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_preloading_warms_the_kernels_and_starts_no_thread():
    output = run_python(
        "import os, stratsweep_server.backtest.default.preload\n"
        "from stratsweep_server.backtest.default.lockstep import simulate_lockstep\n"
        "print(len(simulate_lockstep.signatures), len(os.listdir('/proc/self/task')))"
    )
    assert output.splitlines()[-1] == "1 1"  # the first line may be a note that it compiles
