"""Which combinations run again, how, and what counts as another result."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from stratsweep._encoding import optimization_config
from stratsweep.cli.repeat_report import repeat_report
from stratsweep.config import OptimizationConfig, OptimizationDirection
from stratsweep.events import OptimizationResult, OptimizationState
from stratsweep.outcomes import BacktestFailure, FailureKind, ParameterResult
from stratsweep.parameters import IntegerRange
from stratsweep.repeats import (
    RepeatCheck,
    RepeatDifference,
    difference,
    repeat_check,
    repeat_options,
    rows_to_repeat,
)

CONFIG = OptimizationConfig(
    strategy="mine",
    symbols=("SPY", "AAPL"),
    start_date=date(2020, 1, 1),
    end_date=date(2020, 12, 31),
    parameters={"fast": IntegerRange(5, 10), "mode": ("a", "b")},
    constraints=("fast < avg(fast)",),
    optimization_target="max_drawdown",
    direction=OptimizationDirection.MINIMIZE,
    backtest_timeout=timedelta(seconds=7),
    starting_cash=500.0,
    commission=0.001,
    slippage=0.0005,
    max_ranked_results=3,
    warm_up_bar_count=20,
    seed=9,
)


def row(index: int = 0, **metrics: float) -> ParameterResult:
    return ParameterResult(index, {"fast": 5 + index, "mode": "a"}, metrics, index + 1)


def result(*ranked: ParameterResult, failures=(), message="") -> OptimizationResult:
    state = OptimizationState.SUCCEEDED if ranked else OptimizationState.FAILED
    counts = (len(ranked) + len(failures), len(ranked), len(failures))
    return OptimizationResult(
        "opt-1", state, CONFIG, ranked, failures, *counts, timedelta(), message
    )


@pytest.mark.parametrize(
    ("length", "count", "places"),
    [
        (10, 1, [0]),
        (10, 2, [9, 0]),
        (10, 4, [9, 6, 3, 0]),
        (10, 3, [9, 4, 0]),
        (3, 10, [2, 1, 0]),
        (1, 10, [0]),
        (0, 10, []),
        (1_000_000, 3, [999_999, 499_999, 0]),
    ],
)
def test_rows_are_spread_evenly_and_the_last_comes_first(length, count, places):
    assert rows_to_repeat(range(length), count) == places


def test_no_row_is_no_check():
    with pytest.raises(ValueError, match="count is 0; at least one"):
        rows_to_repeat([row()], 0)


def test_a_combination_runs_alone_with_all_that_it_ran_with():
    message = optimization_config("mine", **repeat_options(CONFIG, row(2)))
    whole = optimization_config(
        "mine",
        symbols=["SPY", "AAPL"],
        parameters={"fast": [7], "mode": ["a"]},
        start_date="2020-01-01",
        end_date="2020-12-31",
        optimization_target="max_drawdown",
        minimize=True,
        backtest_timeout=7,
        starting_cash=500.0,
        commission=0.001,
        slippage=0.0005,
        warm_up_bar_count=20,
        seed=9,
    )
    assert message == whole
    assert list(message.constraints) == []


@pytest.mark.parametrize(
    ("before", "after", "metrics"),
    [
        ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}, None),
        ({"a": 0.1}, {"a": 0.1 + 2**-56}, {"a": (0.1, 0.1 + 2**-56)}),
        ({"a": 0.0}, {"a": -0.0}, {"a": (0.0, -0.0)}),
        ({"a": 1.0, "b": 2.0}, {"a": 1.0}, {"b": (2.0, None)}),
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}, {"b": (None, 2.0)}),
        ({}, {}, None),
    ],
)
def test_one_bit_of_one_metric_is_another_result(before, after, metrics):
    found = difference(row(**before), result(row(**after)))
    assert (found and found.metrics) == metrics


def test_a_combination_that_fails_when_it_runs_again_gave_something_else():
    failure = BacktestFailure(0, {}, FailureKind.ERROR, "ValueError: bad day")
    found = difference(row(a=1.0), result(failures=[failure], message="all failed"))
    assert (found.message, found.metrics) == ("ValueError: bad day", {"a": (1.0, None)})
    assert difference(row(), result(message="no worker")).message == "no worker"


def test_differences_come_in_the_order_of_the_ranking():
    rows = [row(2, a=3.0), row(1, a=2.0), row(0, a=1.0)]
    results = [result(row(a=0.0)), result(row(a=2.0)), result(row(a=0.0))]
    check = repeat_check(rows, results)
    assert check.checked_count == 3
    assert [each.combination_index for each in check.differences] == [0, 2]


def test_a_report_names_combinations_and_both_values_the_target_first():
    metrics = {"cagr": (0.3, 0.1 + 0.2), "calmar_ratio": (1.0, None), "sharpe_ratio": (0.5, 1.25)}
    found = RepeatDifference(3, {"n": 5}, metrics)
    failed = replace(found, parameters={}, message="ValueError: bad day")
    lines = repeat_report(RepeatCheck(10, (found, failed)), "sharpe_ratio").splitlines()
    assert lines[0].startswith("2 of 10 combinations gave other results")
    assert lines[1] == (
        "  n=5: sharpe_ratio 0.5000, then 1.2500; cagr 0.3, then 0.30000000000000004; and 1 more"
    )
    assert lines[2] == "  defaults: ValueError: bad day"
    assert lines[-1].endswith('See "Nothing is kept" in docs/strategies.md.')
    many = repeat_report(RepeatCheck(10, (found,) * 7), "sharpe_ratio").splitlines()
    assert many[-2] == "  and 2 more"


def test_a_report_without_differences_is_one_line():
    report = repeat_report(RepeatCheck(1, ()), "sharpe_ratio")
    assert report == "1 combination ran again, one by one and in another order: the same results"
