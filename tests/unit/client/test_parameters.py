"""What callers may give as a parameter's values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep import DoubleRange, IntegerRange
from stratsweep.parameters import grid_values


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_a_python_range_keeps_exactly_its_values(start, stop, step):
    values = range(start, stop, step)
    if not values:
        with pytest.raises(ValueError, match="no values"):
            grid_values("fast", values)
        return
    grid = grid_values("fast", values)
    if isinstance(grid, IntegerRange):
        grid = tuple(range(grid.start, grid.stop + 1, grid.step))
    assert grid == tuple(values)


def test_an_ascending_python_range_travels_as_a_range():
    assert grid_values("fast", range(5, 55, 5)) == IntegerRange(5, 50, 5)
    assert grid_values("fast", range(10**12)) == IntegerRange(0, 10**12 - 1, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], (1, 2)),
        ((1, 2.5), (1.0, 2.5)),
        (["a", "b"], ("a", "b")),
        ([True, False], (True, False)),
        (np.arange(3), (0, 1, 2)),
        (np.linspace(0, 1, 3), (0.0, 0.5, 1.0)),
        (np.array([True, False]), (True, False)),
        (pd.Series(["a", "b"]), ("a", "b")),
        ([np.int64(3), np.float64(0.5)], (3.0, 0.5)),
        (7, (7,)),
        ("daily", ("daily",)),
        (True, (True,)),
        (np.int64(7), (7,)),
    ],
)
def test_values_become_a_list_of_one_type(values, expected):
    result = grid_values("fast", values)
    assert result == expected
    assert [type(value) for value in result] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([True, 1], "parameter 'fast': values must be all numbers, .* not a mix of bool, int"),
        (["a", 1], "parameter 'fast': .* mix of int, str"),
        ([None], "parameter 'fast': values must be numbers, texts or bools, not NoneType"),
        (np.zeros((2, 2)), "parameter 'fast': .* not list"),
        ({1, 2}, "parameter 'fast': expected a range, a list or an array .* one value, not set"),
        (None, "parameter 'fast': expected .* not NoneType"),
        (np.array(["2020"], "datetime64[ns]"), "parameter 'fast': expected .* not ndarray"),
        ([np.timedelta64(5, "ns")], "parameter 'fast': values must be numbers, .* not timedelta64"),
    ],
)
def test_values_of_a_wrong_type_are_refused_by_the_parameters_name(values, message):
    with pytest.raises(TypeError, match=message):
        grid_values("fast", values)


@pytest.mark.parametrize("values", [[], (), np.array([]), range(0)])
def test_a_parameter_without_values_is_refused(values):
    with pytest.raises(ValueError, match="parameter 'fast': no values"):
        grid_values("fast", values)


def test_a_number_beyond_64_bits_is_refused():
    with pytest.raises(ValueError, match=r"parameter 'fast': value .* 64 bits"):
        grid_values("fast", [2**63])
    with pytest.raises(ValueError, match=r"stop .* 64 bits"):
        IntegerRange(0, 2**63)


def test_an_integer_range_takes_whole_numbers_only():
    assert IntegerRange(np.int64(1), 5) == IntegerRange(1, 5, 1)
    for bad in (1.0, True, "1"):
        with pytest.raises(TypeError, match="start must be a whole number"):
            IntegerRange(bad, 5)


def test_a_double_range_has_either_a_step_or_a_point_count():
    assert DoubleRange(0, 1, step=0.5) == DoubleRange(0.0, 1.0, step=0.5)
    assert DoubleRange(0, 1, point_count=np.int64(3)).point_count == 3
    with pytest.raises(ValueError, match="either step or point_count"):
        DoubleRange(0, 1)
    with pytest.raises(ValueError, match="either step or point_count"):
        DoubleRange(0, 1, step=0.5, point_count=3)
    with pytest.raises(TypeError, match="stop must be a number"):
        DoubleRange(0, "1", step=0.5)
    with pytest.raises(TypeError, match="point_count must be a whole number"):
        DoubleRange(0, 1, point_count=2.5)
    with pytest.raises(ValueError, match="point_count must be at least 2"):
        DoubleRange(0, 1, point_count=-1)
