"""The parameter grid: axes of exact values, sizes by arithmetic. Pure.

A range is counted before it is expanded, so a grid of 10^18 combinations costs nothing to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import lcm, prod

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.optimization.config import DoubleRange, IntegerRange, ParameterValues


def value_count(values: ParameterValues) -> int:
    """How many values an axis has, without making them. The ranges must be valid."""
    if isinstance(values, IntegerRange):
        return (values.stop - values.start) // values.step + 1
    if isinstance(values, DoubleRange):
        if values.step is None:
            return values.point_count or 0
        return (_exact(values.stop) - _exact(values.start)) // _exact(values.step) + 1
    return len(values)


def last_value(values: IntegerRange | DoubleRange) -> float:
    """The largest value of a range, without making the others; `stop` where a step lands on it."""
    last = value_count(values) - 1
    if isinstance(values, IntegerRange):
        return values.start + last * values.step
    return _double_range_values(values, [last])[0]


def grid_size(axes: Sequence[ParameterValues]) -> int:
    """How many combinations the axes have; 1 without axes."""
    return prod(value_count(values) for values in axes)


def expand(values: ParameterValues) -> Sequence[ParameterValue]:
    """The values of an axis.

    A double range is computed exactly from the shortest decimal form of its numbers and rounded
    once, so that each point is the double nearest to the exact value: 0.1 to 0.5 by 0.1 is 0.1,
    0.2, 0.3, 0.4, 0.5, not 0.30000000000000004.
    """
    if isinstance(values, IntegerRange):
        return range(values.start, values.stop + 1, values.step)
    if isinstance(values, DoubleRange):
        return _double_range_values(values, range(value_count(values)))
    return tuple(values)


def _double_range_values(values: DoubleRange, numbers: Iterable[int]) -> tuple[float, ...]:
    start = _exact(values.start)
    if values.step is not None:
        step = _exact(values.step)
    else:
        step = (_exact(values.stop) - start) / max(value_count(values) - 1, 1)
    unit = lcm(start.denominator, step.denominator)
    first, distance = int(start * unit), int(step * unit)
    # Python rounds the quotient of two integers correctly, however large they are.
    return tuple((first + number * distance) / unit for number in numbers)


def _exact(value: float) -> Fraction:
    return Fraction(repr(float(value)))
