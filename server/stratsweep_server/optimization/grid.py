"""The parameter grid: axes of exact values, sizes by arithmetic, columns by index. Pure.

A range is counted before it is expanded, so a grid of 10^18 combinations costs nothing to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from math import prod

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.execution.plan import ParameterAxis
from stratsweep_server.optimization.config import DoubleRange, IntegerRange, ParameterValues


def value_count(values: ParameterValues) -> int:
    """How many values an axis has, without making them. The ranges must be valid."""
    if isinstance(values, IntegerRange):
        return (values.stop - values.start) // values.step + 1
    if isinstance(values, DoubleRange):
        return values.point_count or _step_count(values) + 1
    return len(values)


def grid_size(axes: Sequence[ParameterValues]) -> int:
    """How many combinations the axes have; 1 without axes."""
    return prod(value_count(values) for values in axes)


def expand(values: ParameterValues) -> Sequence[ParameterValue]:
    """The values of an axis.

    A double range is computed in decimal from the shortest decimal form of its numbers and rounded
    once, so that each point is the double nearest to the exact value: 0.1 to 0.5 by 0.1 is 0.1,
    0.2, 0.3, 0.4, 0.5, not 0.30000000000000004.
    """
    if isinstance(values, IntegerRange):
        return range(values.start, values.stop + 1, values.step)
    if isinstance(values, DoubleRange):
        return _expand_double_range(values)
    return tuple(values)


def columns(
    axes: Sequence[ParameterAxis], indices: NDArray[np.int64]
) -> dict[str, NDArray[np.generic] | list[str]]:
    """The parameter values at combination indices, one column per axis, in the axes' order."""
    table: dict[str, NDArray[np.generic] | list[str]] = {}
    for axis in reversed(axes):
        indices, positions = np.divmod(indices, len(axis.values))
        values = np.array(axis.values)
        column = values[positions]
        table[axis.name] = column.tolist() if values.dtype.kind == "U" else column
    return {axis.name: table[axis.name] for axis in axes}


def _expand_double_range(values: DoubleRange) -> tuple[float, ...]:
    start, stop = Decimal(repr(values.start)), Decimal(repr(values.stop))
    if values.step is not None:
        step = Decimal(repr(values.step))
        return tuple(float(start + step * number) for number in range(_step_count(values) + 1))
    intervals = (values.point_count or 1) - 1
    if intervals == 0:
        return (values.start,)
    width = stop - start
    return tuple(float(start + width * number / intervals) for number in range(intervals + 1))


def _step_count(values: DoubleRange) -> int:
    width = Decimal(repr(values.stop)) - Decimal(repr(values.start))
    steps = width / Decimal(repr(values.step))
    return int(steps.to_integral_value(ROUND_FLOOR))
