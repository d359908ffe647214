"""The log of an optimization: every outcome in the order of completion, in columns.

It is the one source of truth. The optimizer appends; each stream is a cursor into it, so a slow
client costs no memory and holds nobody up, and reattaching is reading on from a number.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure, OutcomeBatch

MAX_METRICS = 1_000
"""Different metrics of one optimization; each is a column with a place per combination."""


class TooManyMetricsError(ValueError):
    """The backtests of one optimization report more different metrics than there is room for."""


class OutcomeLog:
    """Append-only columns of outcomes with a place for every combination.

    Args:
        total_count: How many outcomes there will be.
    """

    def __init__(self, total_count: int) -> None:
        self.total_count = total_count
        self.count = 0
        self.failures: dict[int, BacktestFailure] = {}
        self.is_closed = False
        self._indices = np.empty(total_count, dtype=np.int64)
        self._durations = np.empty(total_count, dtype=np.float64)
        self._times = np.empty(total_count, dtype=np.float64)
        self._metrics: dict[str, NDArray[np.float64]] = {}
        self._changed = asyncio.Event()

    @property
    def failed_count(self) -> int:
        """How many of the outcomes are failures."""
        return len(self.failures)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics that any outcome has a value of, by name."""
        columns = self._metrics.items()
        return tuple(sorted(name for name, values in columns if not np.isnan(values).all()))

    def append(self, batch: OutcomeBatch, event_time: float) -> None:
        """Add outcomes.

        Args:
            batch: The outcomes.
            event_time: Seconds since the epoch when they arrived.
        """
        rows = slice(self.count, self.count + len(batch))
        self._indices[rows] = batch.indices
        self._durations[rows] = batch.durations
        self._times[rows] = event_time
        for position, name in enumerate(batch.metric_names):
            self._column(name)[rows] = batch.metrics[:, position]
        for failure in batch.failures:
            self.failures[failure.combination_index] = failure
        self.count += len(batch)
        self._wake()

    def close(self) -> None:
        """Say that nothing will follow."""
        self.is_closed = True
        self._wake()

    async def wait_beyond(self, position: int, patience: float | None = None) -> bool:
        """Wait until there is an outcome at `position` or the log is closed.

        Returns:
            False when `patience` seconds passed before that.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.count <= position and not self.is_closed:
                    await self._changed.wait()
        return self.count > position or self.is_closed

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Combination indices of a range of outcomes."""
        return self._indices[start : self.count if stop is None else stop]

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """One metric of a range of outcomes; NaN where it has no value."""
        stop = self.count if stop is None else stop
        if name not in self._metrics:
            return np.full(stop - start, np.nan)
        return self._metrics[name][start:stop]

    def event_time(self, row: int) -> float:
        """When an outcome arrived, in seconds since the epoch."""
        return float(self._times[row])

    def rows(self, numbers: Sequence[int] | NDArray[np.intp]) -> list[OutcomeRow]:
        """Outcomes by row number, as objects."""
        selected = np.asarray(numbers, dtype=np.intp)
        names = tuple(self._metrics)
        table = np.empty((len(selected), len(names)))
        for position, name in enumerate(names):
            table[:, position] = self._metrics[name][selected]
        present = ~np.isnan(table)
        return [
            OutcomeRow(index, duration, _present(names, values, has), self.failures.get(index))
            for index, duration, values, has in zip(
                self._indices[selected].tolist(),
                self._durations[selected].tolist(),
                table.tolist(),
                present.tolist(),
                strict=True,
            )
        ]

    def _column(self, name: str) -> NDArray[np.float64]:
        if name not in self._metrics:
            if len(self._metrics) == MAX_METRICS:
                raise TooManyMetricsError(f"there are more than {MAX_METRICS} different metrics")
            self._metrics[name] = np.full(self.total_count, np.nan)
        return self._metrics[name]

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


def _present(
    names: Sequence[str], values: Sequence[float], has: Sequence[bool]
) -> dict[str, float]:
    if all(has):
        return dict(zip(names, values, strict=True))
    return {name: value for name, value, there in zip(names, values, has, strict=True) if there}


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One outcome of the log.

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
