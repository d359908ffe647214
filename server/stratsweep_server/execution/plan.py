"""What a worker needs to know of an optimization once, so that a chunk is nothing but indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import prod

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterColumn, ParameterValue


@dataclass(frozen=True, slots=True)
class ParameterAxis:
    """One parameter of the grid and its values in order."""

    name: str
    values: Sequence[ParameterValue]


@dataclass(frozen=True, slots=True)
class BacktestPlan:
    """Everything that the backtests of one optimization have in common.

    Attributes:
        strategy: The strategy's id.
        axes: The grid's axes; the last one varies fastest with the combination index.
        symbols: The instruments.
        start_date: First day, or None.
        end_date: Last day, or None.
        starting_cash: The account at the start.
        commission: Fraction of a fill's value per side.
        slippage: Fraction of the price per side.
        bars_paths: The shared file of each symbol's bars, or None when the engine loads its own.
    """

    strategy: str
    axes: tuple[ParameterAxis, ...]
    symbols: tuple[str, ...]
    start_date: date | None = None
    end_date: date | None = None
    starting_cash: float = 10_000.0
    commission: float = 0.0
    slippage: float = 0.0
    bars_paths: Mapping[str, str] | None = None

    @property
    def grid_size(self) -> int:
        """The number of combinations before constraints."""
        return prod(len(axis.values) for axis in self.axes)

    def combination(self, index: int) -> dict[str, ParameterValue]:
        """The parameter values at a 0-based index in grid order, without building the grid."""
        values: list[ParameterValue] = []
        for axis in reversed(self.axes):
            index, position = divmod(index, len(axis.values))
            values.append(axis.values[position])
        return {axis.name: value for axis, value in zip(self.axes, reversed(values), strict=True)}

    def columns(self, indices: NDArray[np.int64]) -> dict[str, ParameterColumn]:
        """The parameter values at combination indices, one column per axis, in the axes' order."""
        return grid_columns(self.axes, indices)


def grid_columns(
    axes: Sequence[ParameterAxis], indices: NDArray[np.int64]
) -> dict[str, ParameterColumn]:
    """The parameter values at combination indices, one column per axis, in the axes' order.

    Whole numbers and fractions in one axis make a float64 column.
    """
    columns: list[ParameterColumn] = []
    for axis in reversed(axes):
        indices, positions = np.divmod(indices, len(axis.values))
        columns.append(np.array(axis.values)[positions])
    return {axis.name: column for axis, column in zip(axes, reversed(columns), strict=True)}
