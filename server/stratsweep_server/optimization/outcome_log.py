"""Keep the log of an optimization: every outcome in the order of completion, in columns.

It is the one source of truth. The optimizer appends; each stream is a cursor into it, so a slow
client costs no memory and holds nobody up, and reattaching is reading on from a number. Outcomes
are held back until the store has them for good, so that nobody is told of any that can be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure, OutcomeBatch
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.metric_table import MetricTable
from stratsweep_server.optimization.outcome_columns import OutcomeColumns
from stratsweep_server.optimization.store import Rows, Run

MAX_METRICS = 1_000
"""Different metrics of one optimization; each is a column with a place per combination."""


class TooManyMetricsError(ValueError):
    """Report that an optimization has more different metrics than there is room for."""


class OutcomeLog(FollowedLog):
    """Keep outcomes in append-only columns, with a place for every combination.

    Args:
        total_count: How many outcomes there will be.
        start_time: When the optimization started, in nanoseconds since the epoch.

    Attributes:
        count: How many outcomes readers see.
        held_count: How many there are beyond those, which the store does not have for good yet.
        runs: By whom it was written, in order; the last one is being written.
    """

    def __init__(self, total_count: int, start_time: int = 0) -> None:
        self.total_count = total_count
        self.runs: list[Run] = [Run(0, start_time, 0.0)]
        self.count = 0
        self.held_count = 0
        self.failures: dict[int, BacktestFailure] = {}
        self.is_closed = False
        self._indices = np.empty(total_count, dtype=np.int64)
        self._durations = np.empty(total_count, dtype=np.float64)
        self._elapsed = np.empty(total_count, dtype=np.float64)
        self._is_failure = np.empty(total_count, dtype=np.bool_)
        self._metrics = MetricTable(total_count)
        self._awaited: dict[asyncio.Future[None], int] = {}

    @property
    def column_names(self) -> Collection[str]:
        """Return every metric that has a column."""
        return self._metrics.names

    def append(self, batch: OutcomeBatch, elapsed: float | NDArray[np.float64]) -> None:
        """Add outcomes and wake the streams that wait for them; see `hold`."""
        self.hold(batch, elapsed)
        self.reveal(self.count + self.held_count)

    def hold(self, batch: OutcomeBatch, elapsed: float | NDArray[np.float64]) -> None:
        """Add outcomes that nobody sees before they are revealed.

        Args:
            batch: The outcomes.
            elapsed: Seconds that the optimization has run, by a monotonic clock; one for all, or
                one for each.

        Raises:
            TooManyMetricsError: There are more than `MAX_METRICS` different metrics.
        """
        start = self.count + self.held_count
        rows = slice(start, start + len(batch))
        self._indices[rows] = batch.indices
        self._durations[rows] = batch.durations
        self._elapsed[rows] = elapsed
        self._append_metrics(batch, start)
        self._is_failure[rows] = False
        if batch.failures:
            failed = [failure.combination_index for failure in batch.failures]
            self._is_failure[rows] = np.isin(batch.indices, failed)
            self.failures.update(zip(failed, batch.failures, strict=True))
        self.held_count += len(batch)

    def reveal(self, count: int) -> None:
        """Let readers see the first `count` outcomes, and wake those that wait."""
        if count > self.count:
            self.held_count -= count - self.count
            self.count = count
            self._wake()

    def close(self) -> None:
        """Declare that nothing will follow."""
        self.is_closed = True
        self._wake()

    async def wait_beyond(self, position: int, patience: float | None = None) -> bool:
        """Wait until there is an outcome at `position` or the log is closed.

        Returns:
            False when `patience` seconds passed before that.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                if self.count <= position and not self.is_closed:
                    await self._arrival_of(position)
        return self.count > position or self.is_closed

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the combination indices of a range of outcomes (int64)."""
        return self._indices[start : self.count if stop is None else stop]

    def durations(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the seconds that each of a range of backtests ran (float64)."""
        return self._durations[start : self.count if stop is None else stop]

    def is_failure(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Return for each of a range of outcomes whether it is a failure (bool)."""
        return self._is_failure[start : self.count if stop is None else stop]

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return one metric of a range of outcomes (float64); NaN where it has no value."""
        stop = self.count if stop is None else stop
        if name not in self._metrics.names:
            return np.full(stop - start, np.nan)
        return self._metrics.column(name)[start:stop]

    def elapsed(self, row: int) -> float:
        """Return for how many seconds the optimization had run when an outcome arrived."""
        return self._elapsed.item(row)

    def elapsed_range(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the same of a range of outcomes (float64)."""
        return self._elapsed[start : self.count if stop is None else stop]

    def metric_names(self, rows: slice | NDArray[np.intp] | None = None) -> tuple[str, ...]:
        """Return by name the metrics that any of some outcomes has a value of; default: of all."""
        return self._metrics.names_with_values(slice(self.count) if rows is None else rows)

    def columns(self, rows: Rows, metric_names: Sequence[str] | None = None) -> OutcomeColumns:
        """Return outcomes by row number, in columns: views for a slice, copies for an array.

        Args:
            rows: Row numbers.
            metric_names: The metrics wanted; default: every one in the log.
        """
        names = self._metrics.names if metric_names is None else metric_names
        return OutcomeColumns(
            self._indices[rows], self._durations[rows], self._metrics.columns(rows, names)
        )

    def _append_metrics(self, batch: OutcomeBatch, start: int) -> None:
        new_names = self._metrics.new_names(batch.metric_names)
        if self.metric_count + len(new_names) > MAX_METRICS:
            raise TooManyMetricsError(f"there are more than {MAX_METRICS} different metrics")
        self._metrics.fill(start, batch.metric_names, batch.metrics)

    async def _arrival_of(self, position: int) -> None:
        arrival = asyncio.get_running_loop().create_future()
        self._awaited[arrival] = position
        try:
            await arrival
        finally:
            del self._awaited[arrival]

    def _wake(self) -> None:
        for arrival, position in self._awaited.items():
            if (self.count > position or self.is_closed) and not arrival.done():
                arrival.set_result(None)
