"""Describe an optimization to a worker once, so that a chunk is nothing but indices."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterColumn, ParameterValue
from stratsweep_server.backtest.settings import BacktestSettings
from stratsweep_server.market_data.bars import BarsHeader


@dataclass(frozen=True, slots=True)
class ParameterAxis:
    """Name one parameter of the grid and its values in order."""

    name: str
    values: Sequence[ParameterValue]


@dataclass(frozen=True, slots=True)
class BacktestPlan(BacktestSettings):
    """Hold everything that the backtests of one optimization have in common.

    Attributes, beside those of `BacktestSettings`:
        strategy: The strategy's id.
        axes: The grid's axes; the last one varies fastest with the combination index.
        symbols: The instruments.
        start_date: First day, or None.
        end_date: Last day, or None.
        timezone: IANA name of the zone of these days; empty where nobody has said one.
        bar_headers: Of each symbol's bars in the file that comes with the plan, in its order; None
            when the engine loads its own.
        seed: What the seeds of the backtests follow from, 0 … 2^64 - 1.
        defaults: The declared default of each parameter that is no axis; seeds follow from these,
            too.
    """

    strategy: str
    axes: tuple[ParameterAxis, ...]
    symbols: tuple[str, ...]
    start_date: date | None = None
    end_date: date | None = None
    timezone: str = ""
    bar_headers: Mapping[str, BarsHeader] | None = None
    seed: int = 0
    defaults: Mapping[str, ParameterValue] = field(default_factory=dict)

    @property
    def grid_size(self) -> int:
        """Return the number of combinations before constraints."""
        return prod(len(axis.values) for axis in self.axes)

    def combination(self, index: int) -> dict[str, ParameterValue]:
        """Return the parameter values at a 0-based index in grid order; the grid is not built."""
        values: list[ParameterValue] = []
        for axis in reversed(self.axes):
            index, position = divmod(index, len(axis.values))
            values.append(axis.values[position])
        return {axis.name: value for axis, value in zip(self.axes, reversed(values), strict=True)}


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
        positions: dict[str, NDArray[np.int64]] = {}
        for name in reversed(self._values):
            indices, positions[name] = np.divmod(indices, len(self._values[name]))
        return {name: values[positions[name]] for name, values in self._values.items()}


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
