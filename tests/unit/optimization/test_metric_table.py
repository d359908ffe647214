"""Metrics stand in tables by row, whenever they first came, and are read by column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.optimization.metric_table import MetricTable

NAMES = st.lists(st.sampled_from("abcdef"), unique=True).map(tuple)


@given(batches=st.lists(st.tuples(st.integers(1, 4), NAMES), max_size=8), seed=st.integers(0, 9))
def test_columns_have_what_was_filled_in_and_nan_elsewhere(batches, seed):
    random = np.random.default_rng(seed)
    row_count = sum(count for count, _ in batches)
    table, start = MetricTable(row_count), 0
    expected: dict[str, np.ndarray] = {}
    for count, names in batches:
        metrics = np.asfortranarray(random.choice([1.5, -2.0, np.nan], (count, len(names))))
        table.fill(start, names, metrics)
        for position, name in enumerate(names):
            column = expected.setdefault(name, np.full(row_count, np.nan))
            column[start : start + count] = metrics[:, position]
        start += count
    assert list(table.names) == list(expected)
    chosen = random.permutation(row_count)[: row_count // 2]
    for rows in (slice(row_count // 3, row_count), slice(0, 0), chosen):
        columns = table.columns(rows, list(expected))
        for name, column in expected.items():
            np.testing.assert_array_equal(columns[name], column[rows])
        present = {name for name, column in expected.items() if (~np.isnan(column[rows])).any()}
        assert table.names_with_values(rows) == tuple(sorted(present))
    for name, column in expected.items():
        np.testing.assert_array_equal(table.column(name), column)


def test_a_range_of_rows_is_a_view_and_chosen_rows_are_a_copy():
    table = MetricTable(3)
    table.fill(0, ("a", "b"), np.arange(6.0).reshape(3, 2))
    assert np.shares_memory(table.columns(slice(1, 3), ["b"])["b"], table.column("b"))
    assert not np.shares_memory(table.columns(np.array([1]), ["b"])["b"], table.column("b"))


def test_metrics_of_an_outcome_lie_side_by_side():
    table = MetricTable(3)
    table.fill(0, ("a", "b"), np.zeros((3, 2)))
    assert table.column("a").strides == (16,)
    assert table.column("b").ctypes.data - table.column("a").ctypes.data == 8


def test_a_metric_that_never_came_has_no_column():
    with pytest.raises(KeyError):
        MetricTable(3).column("a")
