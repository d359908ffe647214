"""What an engine answers: plain metrics and columns out of anything, or a refusal that says why."""

from __future__ import annotations

import math
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.backtest import BacktestResult, BatchResult
from stratsweep_server.execution.answers import (
    first_row,
    plain_columns,
    plain_metrics,
    tabulate,
)

# Metrics.


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (1.5, 1.5),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.float64(-2.0), -2.0),
        (np.int64(7), 7.0),
        (np.bool_(1), 1.0),
        (np.array(2.5), 2.5),
        (Decimal("1.25"), 1.25),
        (Fraction(1, 4), 0.25),
    ],
)
def test_every_kind_of_number_becomes_a_plain_float(value, number):
    plain = plain_metrics(BacktestResult({"score": value}))
    assert plain == {"score": number}
    assert type(plain["score"]) is float


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, np.nan, np.float32("inf")])
def test_a_metric_without_a_value_is_absent(value):
    assert plain_metrics(BacktestResult({"score": value, "other": 1.0})) == {"other": 1.0}


@pytest.mark.parametrize("value", ["1.5", b"1.5", np.str_("1.5"), [1.0], object(), 1j])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match=rf"metric 'score' of type {type(value).__name__}"):
        plain_metrics(BacktestResult({"score": value}))


def test_a_number_that_no_float_can_hold_is_refused_by_name():
    with pytest.raises(TypeError, match=r"metric 'score' of type int is .* too large"):
        plain_metrics(BacktestResult({"score": 10**400}))


@pytest.mark.parametrize("name", [1, None, ("a", "b"), b"score", "x" * 101])
def test_a_name_that_is_no_short_text_is_refused(name):
    with pytest.raises(TypeError):
        plain_metrics(BacktestResult({name: 1.0}))


def test_too_many_metrics_are_refused():
    assert len(plain_metrics(BacktestResult({str(n): 1.0 for n in range(1_000)}))) == 1_000
    with pytest.raises(ValueError, match="1001 metrics; 1000 are allowed"):
        plain_metrics(BacktestResult({str(n): 1.0 for n in range(1_001)}))


@pytest.mark.parametrize("result", [None, {"score": 1.0}, 1.0, SimpleNamespace(metrics=[1.0])])
def test_what_is_no_backtest_result_is_refused(result):
    with pytest.raises(TypeError, match=f"run_sync returned {type(result).__name__}, not a"):
        plain_metrics(result)


@pytest.mark.parametrize("metrics", [{}, OrderedDict(a=1.0), MappingProxyType({"a": 1.0})])
def test_any_mapping_will_do(metrics):
    assert plain_metrics(BacktestResult(metrics)) == dict(metrics)


def test_a_name_is_taken_as_plain_text():
    class Name(str):
        __slots__ = ()

    assert [type(name) for name in plain_metrics(BacktestResult({Name("a"): 1.0}))] == [str]


# Columns.

rows = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(allow_nan=False, allow_infinity=False)),
    max_size=20,
)


@given(rows)
def test_columns_have_each_rows_metrics_and_nothing_else(metrics):
    names, table = tabulate(metrics)
    assert table.shape == (len(metrics), len(names))
    assert table.dtype == np.float64
    assert [
        {name: value for name, value in zip(names, row, strict=True) if not math.isnan(value)}
        for row in table.tolist()
    ] == metrics


@given(rows)
def test_columns_come_in_the_order_of_their_first_row(metrics):
    names, _ = tabulate(metrics)
    assert names == list(dict.fromkeys(name for row in metrics for name in row))


# Batches.


def test_columns_of_any_kind_of_number_become_one_table_of_contiguous_columns():
    names, table = plain_columns(
        BatchResult(
            {
                "double": np.array([1.5, 2.5]),
                "integer": np.array([1, 2]),
                "flag": np.array([True, False]),
                "single": np.array([0.5, 0.25], dtype=np.float32),
                "list": [3, 4.0],
            }
        ),
        2,
    )
    assert names == ["double", "integer", "flag", "single", "list"]
    assert table.tolist() == [[1.5, 1.0, 1.0, 0.5, 3.0], [2.5, 2.0, 0.0, 0.25, 4.0]]
    assert table.dtype == np.float64
    assert table.flags.f_contiguous


def test_a_batchs_infinities_are_no_values():
    _, table = plain_columns(BatchResult({"score": np.array([np.inf, -np.inf, np.nan, 1.0])}), 4)
    np.testing.assert_array_equal(table[:, 0], [np.nan, np.nan, np.nan, 1.0])


def test_what_an_engine_does_to_its_columns_later_changes_nothing():
    column = np.array([1.0, np.inf])
    _, table = plain_columns(BatchResult({"score": column}), 2)
    column[0] = 7.0
    assert table[0, 0] == 1.0
    assert math.isinf(column[1])


@pytest.mark.parametrize(
    "column",
    [
        np.array(["1.5", "2.5"]),
        np.array([b"1.5", b"2.5"]),
        np.array([1.0, None]),
        np.array([1j, 2j]),
        np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
        [1.0, object()],
        "ab",
    ],
)
def test_a_column_of_anything_else_is_refused_by_name(column):
    with pytest.raises(TypeError, match="metric 'score' is no column of numbers but of type"):
        plain_columns(BatchResult({"score": column}), 2)


@pytest.mark.parametrize("column", [1.0, [], [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_column_without_a_value_for_each_backtest_is_refused_by_name(column):
    with pytest.raises(ValueError, match=r"metric 'score' has shape \(.*\) in a batch of 2"):
        plain_columns(BatchResult({"score": column}), 2)


@pytest.mark.parametrize("result", [None, {"score": [1.0]}, SimpleNamespace(metrics=[1.0])])
def test_what_is_no_batch_result_is_refused(result):
    with pytest.raises(TypeError, match=f"run_batch returned {type(result).__name__}, not a Batch"):
        plain_columns(result, 1)


def test_a_batch_has_no_more_metrics_than_a_backtest():
    metrics = {str(number): [1.0] for number in range(1_001)}
    with pytest.raises(ValueError, match="1001 metrics; 1000 are allowed"):
        plain_columns(BatchResult(metrics), 1)
    with pytest.raises(TypeError, match="metric name 7"):
        plain_columns(BatchResult({7: [1.0]}), 1)


def test_a_batch_without_metrics_has_rows_nevertheless():
    names, table = plain_columns(BatchResult({}), 3)
    assert (names, table.shape) == ([], (3, 0))


def test_the_row_of_a_batch_of_one_has_what_has_a_value():
    table = plain_columns(BatchResult({"score": [1.5], "none": [np.nan], "much": [np.inf]}), 1)
    assert first_row(table) == {"score": 1.5}
