"""Count and expand the axes that a config gives: sizes by arithmetic, exact values. Pure.

A range is counted before it is expanded, so a grid of 10^18 combinations costs nothing to refuse.
Numbers are kept in arrays, which take 8 bytes each and are sent to workers as they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import lcm
from typing import Any

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.config import DoubleRange, IntegerRange, ParameterValues

COUNTED_SIZE = 10**30
"""Sizes of grids from here on are not exact."""

_BLOCK = 10_000


def value_count(values: ParameterValues) -> int:
    """Return how many values an axis has, without making them. The ranges must be valid."""
    if isinstance(values, IntegerRange):
        return (values.stop - values.start) // values.step + 1
    if isinstance(values, DoubleRange):
        if values.step is None:
            return values.point_count or 0
        return (_exact(values.stop) - _exact(values.start)) // _exact(values.step) + 1
    return len(values)


def last_value(values: IntegerRange | DoubleRange) -> float:
    """Return the largest value of a range, without making the others."""
    last = value_count(values) - 1
    if isinstance(values, IntegerRange):
        return values.start + last * values.step
    return next(_double_range_values(values, [last]))


def combination_count(axes: Sequence[ParameterValues]) -> int:
    """Return how many combinations the axes have; 1 without axes. Not exact from 10^30 on."""
    size = 1
    for values in axes:
        if size < COUNTED_SIZE:
            size *= value_count(values)
    return size


def expand(values: ParameterValues) -> Sequence[ParameterValue]:
    """Return the values of an axis in order.

    A double range is computed exactly from the shortest decimal form of its numbers and rounded
    once, so that each point is the double nearest to the exact value: 0.1 to 0.5 by 0.1 is 0.1,
    0.2, 0.3, 0.4, 0.5, not 0.30000000000000004.
    """
    if isinstance(values, IntegerRange):
        return range(values.start, values.stop + 1, values.step)
    if isinstance(values, DoubleRange):
        return array("d", _double_range_values(values, range(value_count(values))))
    if isinstance(values, array) and values.typecode in ("q", "d"):
        return values
    types = {type(value) for value in values}
    if types <= {int, float}:
        return number_array("q" if types == {int} else "d", values)
    return tuple(values)


def number_array(type_code: str, values: Sequence[ParameterValue]) -> Sequence[ParameterValue]:
    """Copy whole numbers ("q") or doubles ("d") into an array; other threads get their turns."""
    numbers: Any = array(type_code)
    for start in range(0, len(values), _BLOCK):
        numbers.extend(values[start : start + _BLOCK])
    copied: Sequence[ParameterValue] = numbers
    return copied


def _double_range_values(values: DoubleRange, numbers: Iterable[int]) -> Iterator[float]:
    start = _exact(values.start)
    if values.step is not None:
        step = _exact(values.step)
    else:
        step = (_exact(values.stop) - start) / max(value_count(values) - 1, 1)
    unit = lcm(start.denominator, step.denominator)
    first, distance = int(start * unit), int(step * unit)
    for number in numbers:
        if number % _BLOCK == 0:
            checkpoint()
        # Python rounds the quotient of two integers correctly, however large they are.
        yield (first + number * distance) / unit


def _exact(value: float) -> Fraction:
    return Fraction(repr(float(value)))
