"""The axes of a grid: exact values, sizes by arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.execution.grid import GridColumns, ParameterAxis
from stratsweep_server.optimization.axes import combination_count, expand, last_value, value_count
from stratsweep_server.optimization.config import DoubleRange, IntegerRange

decimals = st.integers(-(10**6), 10**6).map(lambda number: number / 1000)
steps = st.integers(1, 10**6).map(lambda number: number / 1000)
doubles = st.floats(allow_nan=False, allow_infinity=False)


def exact(number):
    return Fraction(repr(number))


def nearest_double(number):
    """The double nearest to a fraction, found by looking at the neighbours of a first guess."""
    guess = float(number)
    around = (math.nextafter(guess, -math.inf), guess, math.nextafter(guess, math.inf))
    return min(around, key=lambda double: abs(Fraction(double) - number))


def test_a_tenth_to_a_half_by_a_tenth_is_exactly_five_points():
    assert tuple(expand(DoubleRange(0.1, 0.5, step=0.1))) == (0.1, 0.2, 0.3, 0.4, 0.5)


@pytest.mark.parametrize(
    ("given_range", "expected"),
    [
        (IntegerRange(5, 20, 5), [5, 10, 15, 20]),
        (IntegerRange(5, 19, 5), [5, 10, 15]),
        (IntegerRange(7, 7), [7]),
        (IntegerRange(-3, 3, 2), [-3, -1, 1, 3]),
        (DoubleRange(0.0, 1.0, step=0.3), [0.0, 0.3, 0.6, 0.9]),
        (DoubleRange(1.0, 1.05, step=0.1), [1.0]),
        (DoubleRange(-0.2, 0.2, step=0.1), [-0.2, -0.1, 0.0, 0.1, 0.2]),
        (DoubleRange(1e-7, 3e-7, step=1e-7), [1e-7, 2e-7, 3e-7]),
        (DoubleRange(0.0, 1.0, point_count=5), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (DoubleRange(0.1, 0.3, point_count=3), [0.1, 0.2, 0.3]),
        (DoubleRange(2.5, 2.5, point_count=1), [2.5]),
        (DoubleRange(1, 2, step=1), [1.0, 2.0]),
    ],
)
def test_a_range_expands_to_its_points(given_range, expected):
    assert list(expand(given_range)) == expected
    assert value_count(given_range) == len(expected)
    assert last_value(given_range) == expected[-1]


def test_a_list_keeps_its_order():
    assert list(expand(["b", "a", "c"])) == ["b", "a", "c"]


@given(decimals, steps, st.integers(0, 40_000).map(lambda number: number / 1000))
def test_every_point_of_a_range_by_step_is_the_double_nearest_to_the_exact_one(start, step, width):
    stop = start + width * step
    points = tuple(expand(DoubleRange(start, stop, step=step)))
    assert points == tuple(
        nearest_double(exact(start) + number * exact(step)) for number in range(len(points))
    )
    assert points[-1] <= stop
    assert exact(stop) < exact(start) + len(points) * exact(step)


@given(decimals, steps, st.integers(0, 200))
def test_stop_is_a_point_where_a_step_lands_on_it(start, step, count):
    stop = float(exact(start) + count * exact(step))
    points = expand(DoubleRange(start, stop, step=step))
    assert points[-1] == stop
    assert len(points) == count + 1


@given(st.tuples(doubles, doubles).map(sorted), st.integers(2, 40))
def test_every_point_of_a_range_by_count_is_the_double_nearest_to_the_exact_one(ends, count):
    start, stop = ends
    width = (exact(stop) - exact(start)) / (count - 1)
    points = tuple(expand(DoubleRange(start, stop, point_count=count)))
    assert points == tuple(float(exact(start) + number * width) for number in range(count))
    assert (points[0], points[-1]) == (start, stop)


def test_points_stay_exact_where_large_numbers_cancel():
    third = expand(DoubleRange(-0.3333333333333333, 0.6666666666666667, point_count=4))[1]
    assert third == float(Fraction(1, 3) - Fraction("0.3333333333333333"))


def test_a_huge_grid_is_counted_without_being_expanded():
    million = DoubleRange(0.0, 0.999999, step=0.000001)
    assert combination_count([million, IntegerRange(1, 10**6), IntegerRange(1, 10**6)]) == 10**18
    assert combination_count([]) == 1
    assert value_count(IntegerRange(-(2**63), 2**63 - 1)) == 2**64
    widest = DoubleRange(0.0, 1.7976931348623157e308, step=5e-324)
    assert value_count(widest) > 10**600
    assert last_value(widest) == 1.7976931348623157e308


MOST, LEAST = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    "values",
    [
        IntegerRange(MOST - 4, MOST),
        IntegerRange(MOST - 4, MOST, 2),
        IntegerRange(MOST - 1, MOST, 5),
        IntegerRange(LEAST, LEAST + 4),
        IntegerRange(LEAST, MOST, MOST),
        IntegerRange(LEAST, MOST, 2**62),
        IntegerRange(0, MOST, 2**62 + 1),
        IntegerRange(2**53 - 1, 2**53 + 3),
        [MOST, LEAST, 0],
        [LEAST + 1],
        [MOST - 1, MOST],
    ],
)
def test_whole_numbers_are_exact_up_to_the_ends_of_64_bits(values):
    axis = ParameterAxis("n", expand(values))
    exact = list(axis.values)
    if isinstance(values, IntegerRange):
        assert exact == [
            values.start + number * values.step for number in range(value_count(values))
        ]
    column = GridColumns([axis]).at(np.arange(len(exact)))["n"]
    assert column.dtype == np.int64
    assert column.tolist() == exact
    assert {type(value) for value in exact} == {int}


def test_numbers_of_any_list_are_kept_in_arrays_and_come_out_as_they_went_in():
    for numbers in ([3, 1, 2], [0.5, 0.1], list(range(25_000))):
        assert expand(numbers).itemsize == 8
        assert list(expand(numbers)) == numbers
    assert [type(number) for number in expand([1, 0.5])] == [float, float]
    assert expand([True, False]) == (True, False)
    assert expand(["a"]) == ("a",)


def test_the_sizes_of_many_huge_axes_are_not_multiplied_out():
    widest = DoubleRange(5e-324, 1.7e308, step=5e-324)
    size = combination_count([widest] * 20_000)
    assert 10**600 < size < 10**700
    assert combination_count([widest] + [IntegerRange(1, 2)] * 20_000) == value_count(widest)


@pytest.mark.parametrize(
    "values",
    [
        DoubleRange(5e-324, 1.7e308, point_count=1_000),
        DoubleRange(-1.7976931348623157e308, 1.7976931348623157e308, point_count=1_001),
        DoubleRange(0.0, 5e-322, step=5e-324),
    ],
)
def test_the_widest_double_ranges_are_expanded_exactly(values):
    points = list(expand(values))
    assert (points[0], points[-1]) == (values.start, values.stop)
    assert points == sorted(set(points))
    assert last_value(values) == points[-1]
