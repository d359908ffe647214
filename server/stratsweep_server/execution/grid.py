"""Compute the combinations of a parameter grid from their indices; the grid is never built."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterColumn, ParameterValue


@dataclass(frozen=True, slots=True)
class ParameterAxis:
    """Name one parameter of the grid and its values in order."""

    name: str
    values: Sequence[ParameterValue]


def grid_size(axes: Sequence[ParameterAxis]) -> int:
    """Return the number of combinations of the axes; 1 without axes."""
    return prod(len(axis.values) for axis in axes)


def combination_at(axes: Sequence[ParameterAxis], index: int) -> dict[str, ParameterValue]:
    """Return the parameter values at a 0-based index in grid order.

    Args:
        axes: The grid's axes; the last one varies fastest with the index.
        index: In [0, grid_size(axes)).
    """
    values: list[ParameterValue] = []
    for axis in reversed(axes):
        index, position = divmod(index, len(axis.values))
        values.append(axis.values[position])
    return {axis.name: value for axis, value in zip(axes, reversed(values), strict=True)}


class GridColumns:
    """Hold the grid's values as one column per axis.

    Whole numbers and fractions in one axis make a float64 column.

    Args:
        axes: The grid's axes; the last one varies fastest with the combination index.
        text_type: numpy's type of texts: `np.str_` pads each to the longest of its axis, `object`
            refers to it.
    """

    def __init__(self, axes: Sequence[ParameterAxis], text_type: type = np.str_) -> None:
        self._values = {axis.name: axis_column(axis.values, text_type) for axis in axes}

    @cached_property
    def row_bytes(self) -> int:
        """Return how many bytes the values of one combination take at most, texts in UTF-8."""
        return sum(_value_bytes(values) for values in self._values.values())

    def at(self, indices: NDArray[np.int64]) -> dict[str, ParameterColumn]:
        """Return the parameter values at combination indices, one column per axis."""
        columns: dict[str, ParameterColumn] = {}
        for name, values in reversed(self._values.items()):
            rest = indices // len(values)  # and not np.divmod, which takes three times as long
            columns[name] = values.take(indices - rest * len(values))
            indices = rest
        return {name: columns[name] for name in self._values}


def axis_column(values: Sequence[ParameterValue], text_type: type = np.str_) -> ParameterColumn:
    """Return the values of an axis as a column: exact int64, float64, bool, or texts of a type."""
    if isinstance(values, range):
        # An overflow on the way cancels out. `np.arange` would give doubles where the range ends
        # within a step of the largest integer.
        steps = np.arange(len(values), dtype=np.int64) * np.int64(values.step)
        return steps + np.int64(values.start)
    if isinstance(values, array):
        return np.asarray(values)
    return np.array(values, dtype=text_type if isinstance(values[0], str) else None)


def _value_bytes(values: ParameterColumn) -> int:
    if values.dtype.kind in "OU":
        return max(len(text.encode()) for text in values.tolist())
    return values.itemsize
