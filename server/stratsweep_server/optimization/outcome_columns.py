"""Hold outcomes of a log that were read together: in columns, or as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure, OutcomeBatch


@dataclass(frozen=True, slots=True)
class OutcomeColumns:
    """Hold outcomes in columns of equal length.

    Attributes:
        indices: Combination indices.
        durations: Seconds that each backtest ran.
        metrics: By name; NaN where a metric has no value.
    """

    indices: NDArray[np.int64]
    durations: NDArray[np.float64]
    metrics: Mapping[str, NDArray[np.float64]]

    def part(self, start: int, stop: int) -> OutcomeColumns:
        """Return a range of them, as views."""
        return OutcomeColumns(
            self.indices[start:stop],
            self.durations[start:stop],
            {name: values[start:stop] for name, values in self.metrics.items()},
        )

    def batch(self, failures: Sequence[BacktestFailure] = ()) -> OutcomeBatch:
        """Return them as outcomes of another log; `failures` are those among them."""
        table = self._table("F")
        return OutcomeBatch(
            self.indices, self.durations, tuple(self.metrics), table, tuple(failures)
        )

    def rows(self) -> list[tuple[int, float, dict[str, float]]]:
        """Return index, seconds, and the metrics that have a value, for each outcome."""
        names, table = tuple(self.metrics), self._table("C")
        has_values = ~np.isnan(table)
        return [
            (index, duration, _present(names, values, has))
            for index, duration, values, has in zip(
                self.indices.tolist(),
                self.durations.tolist(),
                table.tolist(),
                has_values.tolist(),
                strict=True,
            )
        ]

    def _table(self, order: Literal["C", "F"]) -> NDArray[np.float64]:
        """Return the metrics, of shape (outcomes, names), by row or by column in memory."""
        table = np.empty((len(self.indices), len(self.metrics)), order=order)
        for position, values in enumerate(self.metrics.values()):
            table[:, position] = values
        return table


def _present(
    names: Sequence[str], values: Sequence[float], has: Sequence[bool]
) -> dict[str, float]:
    if all(has):
        return dict(zip(names, values, strict=True))
    return {name: value for name, value, there in zip(names, values, has, strict=True) if there}


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """Hold one outcome of the log.

    Attributes:
        combination_index: 0-based number in grid order.
        duration: Seconds that the backtest ran.
        metrics: Its figures; without the ones that have no value.
        failure: Why it failed; None for a success.
    """

    combination_index: int
    duration: float
    metrics: dict[str, float]
    failure: BacktestFailure | None
