"""Describe how backtests end: outcomes in columns, and the failures among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class FailureKind(Enum):
    """Name why a backtest gave no metrics."""

    ERROR = "ERROR"
    TIMED_OUT = "TIMED_OUT"
    CRASHED = "CRASHED"


@dataclass(frozen=True, slots=True)
class BacktestFailure:
    """Describe a backtest that gave no metrics.

    Attributes:
        combination_index: The combination's 0-based number in grid order.
        kind: Raised, killed at its timeout, or died.
        message: One line for people.
        traceback: The Python traceback as text; for CRASHED what the interpreter said last.
        duration: Seconds that it ran.
    """

    combination_index: int
    kind: FailureKind
    message: str
    traceback: str = ""
    duration: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeBatch:
    """Hold outcomes that arrived together, one row each.

    Attributes:
        indices: int64, combination indices.
        durations: float64, seconds each backtest ran.
        metric_names: The columns of `metrics`.
        metrics: float64 of shape (rows, metric names), each column contiguous; NaN where the metric
            has no value, and in the whole row of a failure.
        failures: The rows that failed.
    """

    indices: NDArray[np.int64]
    durations: NDArray[np.float64]
    metric_names: tuple[str, ...]
    metrics: NDArray[np.float64]
    failures: tuple[BacktestFailure, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.indices)

    @staticmethod
    def of_failure(failure: BacktestFailure) -> OutcomeBatch:
        """Return a batch of one failed backtest."""
        return OutcomeBatch(
            indices=np.array([failure.combination_index], dtype=np.int64),
            durations=np.array([failure.duration]),
            metric_names=(),
            metrics=np.empty((1, 0)),
            failures=(failure,),
        )
