"""The parameter grid: combinations by index, one by one and in columns."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.execution.grid import GridColumns, ParameterAxis
from stratsweep_server.execution.plan import BacktestPlan

decimals = st.integers(-(10**6), 10**6).map(lambda number: number / 1000)
values = st.one_of(
    st.lists(st.integers(-100, 100), min_size=1, max_size=4, unique=True),
    st.lists(decimals, min_size=1, max_size=4, unique=True),
    st.lists(st.text("abc", max_size=2), min_size=1, max_size=4, unique=True),
    st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
)
grids = st.lists(values, max_size=4).map(
    lambda lists: tuple(
        ParameterAxis(f"p{number}", tuple(items)) for number, items in enumerate(lists)
    )
)


def all_combinations(axes):
    names = [axis.name for axis in axes]
    product = itertools.product(*(axis.values for axis in axes))
    return [dict(zip(names, combination, strict=True)) for combination in product]


def test_without_axes_there_is_one_combination():
    plan = BacktestPlan("any", (), ())
    assert plan.grid_size == 1
    assert plan.combination(0) == {}


@given(grids)
def test_indices_and_combinations_are_a_bijection_in_the_order_of_the_product(axes):
    plan = BacktestPlan("any", axes, ())
    expected = all_combinations(axes)
    assert [plan.combination(index) for index in range(plan.grid_size)] == expected
    assert plan.grid_size == len(expected)


@given(grids)
def test_a_combination_has_the_parameters_in_the_order_of_the_axes(axes):
    combination = BacktestPlan("any", axes, ()).combination(0)
    assert list(combination) == [axis.name for axis in axes]


def test_a_combination_far_inside_a_huge_grid_is_found_by_its_index():
    axes = tuple(ParameterAxis(name, range(10**6)) for name in "abc")
    plan = BacktestPlan("any", axes, ())
    assert plan.combination(123_456_000_789_654_321) == {"a": 123_456, "b": 789, "c": 654_321}


@given(grids, st.data())
def test_columns_have_what_combinations_have(axes, data):
    plan = BacktestPlan("any", axes, ())
    chosen = data.draw(st.lists(st.integers(0, plan.grid_size - 1), max_size=20))
    table = GridColumns(axes).at(np.array(chosen, dtype=np.int64))
    assert list(table) == [axis.name for axis in axes]
    for axis in axes:
        expected = [plan.combination(index)[axis.name] for index in chosen]
        assert list(table[axis.name]) == expected


def test_columns_keep_the_type_of_the_values():
    axes = (
        ParameterAxis("count", range(3)),
        ParameterAxis("share", (0.5, 1.0)),
        ParameterAxis("on", (True, False)),
        ParameterAxis("kind", ("simple", "exponential")),
        ParameterAxis("edge", (-(2**63), 2**63 - 1)),
    )
    table = GridColumns(axes).at(np.arange(4))
    assert table["kind"].dtype.kind == "U"
    assert table["count"].dtype == np.int64
    assert table["share"].dtype == np.float64
    assert table["on"].dtype == np.bool_
    assert set(table["kind"]) == {"simple", "exponential"}
    assert table["edge"].tolist() == [-(2**63), 2**63 - 1] * 2


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(1, 2**63 - 1),
    st.integers(0, 20),
)
def test_columns_of_any_range_of_whole_numbers_are_exact(start, step, count):
    values = range(start, min(start + count * step, 2**63 - 1) + 1, step)
    column = GridColumns([ParameterAxis("n", values)]).at(np.arange(len(values)))["n"]
    assert (column.dtype, column.tolist()) == (np.int64, list(values))


def test_rows_of_texts_refer_to_them_and_count_the_longest():
    texts = ["x" * 1_000, "é", ""]
    axes = (ParameterAxis("kind", texts), ParameterAxis("n", range(3)))
    grid = GridColumns(axes, object)
    assert grid.row_bytes == 1_008
    column = grid.at(np.arange(9))["kind"]
    assert all(text is texts[at // 3] for at, text in enumerate(column))
    assert GridColumns([ParameterAxis("kind", ["é", "日本"])]).row_bytes == 6
