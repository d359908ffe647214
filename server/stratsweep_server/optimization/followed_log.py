"""Read an outcome log by row, wherever it is: what streams and rankings know of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure
from stratsweep_server.optimization.outcome_columns import OutcomeColumns, OutcomeRow
from stratsweep_server.optimization.store import LogView, Rows, Run

_NEXT_ROWS = 1 << 12


class FollowedLog(LogView, Protocol):
    """Read a log in order of completion, while it grows or afterwards.

    A `LogView` that says whether more will come, and all that follows from its columns. Whoever
    keeps outcomes inherits from it.

    Attributes:
        is_closed: Whether nothing will follow.
    """

    total_count: int = 0
    count: int = 0
    failures: Mapping[int, BacktestFailure] = MappingProxyType({})
    runs: Sequence[Run] = ()
    is_closed: bool = False

    @property
    @abstractmethod
    def column_names(self) -> Collection[str]:
        """Return every metric that has a column."""

    @abstractmethod
    async def wait_beyond(self, position: int, patience: float | None = None) -> bool:
        """Wait until there is an outcome at `position` or the log is closed.

        Returns:
            False when `patience` seconds passed before that.
        """

    @property
    def failed_count(self) -> int:
        """Return how many of the outcomes are failures."""
        return len(self.failures)

    @property
    def metric_count(self) -> int:
        """Return how many metrics have a column."""
        return len(self.column_names)

    def event_time(self, row: int) -> float:
        """Return when an outcome arrived, in seconds since the epoch."""
        run = self.runs[-1]
        if row < run.first_row:
            run = next(run for run in reversed(self.runs) if run.first_row <= row)
        return run.time_at(self.elapsed(row))

    def rows(self, numbers: Sequence[int] | NDArray[np.intp]) -> list[OutcomeRow]:
        """Return outcomes by row number, as objects."""
        columns = self.columns(np.asarray(numbers, dtype=np.intp))
        return [
            OutcomeRow(index, duration, metrics, self.failures.get(index))
            for index, duration, metrics in columns.rows()
        ]


class ClosedLog(FollowedLog):
    """Read a log to which nobody appends any more.

    Args:
        view: What the store has of it.
    """

    is_closed = True

    def __init__(self, view: LogView) -> None:
        self.total_count = view.total_count
        self.count = view.count
        self.failures = view.failures
        self.runs = view.runs or (Run(0, 0, 0.0),)
        self._view = view
        self._column_names = view.metric_names()
        self._some_elapsed: NDArray[np.float64] = np.empty(0)
        self._some_start = 0

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return every metric that has a column."""
        return self._column_names

    async def wait_beyond(
        self,
        position: int,  # noqa: ARG002 - nothing will come
        patience: float | None = None,  # noqa: ARG002
    ) -> bool:
        """Return at once."""
        return True

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the combination indices of a range of outcomes (int64)."""
        return self._view.indices(start, stop)

    def durations(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the seconds that each of a range of backtests ran (float64)."""
        return self._view.durations(start, stop)

    def elapsed(self, row: int) -> float:
        """Return for how many seconds the optimization had run when an outcome arrived."""
        # A stream asks for one after the other: to find each in a file would take longest of all.
        if not 0 <= row - self._some_start < len(self._some_elapsed):
            self._some_start = row
            self._some_elapsed = self.elapsed_range(row, min(row + _NEXT_ROWS, self.count))
        return self._some_elapsed.item(row - self._some_start)

    def elapsed_range(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the same of a range of outcomes (float64)."""
        return self._view.elapsed_range(start, stop)

    def is_failure(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Return for each of a range of outcomes whether it is a failure (bool)."""
        return self._view.is_failure(start, stop)

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return one metric of a range of outcomes (float64); NaN where it has no value."""
        return self._view.metric(name, start, stop)

    def metric_names(self, rows: Rows | None = None) -> tuple[str, ...]:
        """Return by name the metrics that any of some outcomes has a value of; default: of all."""
        return self._column_names if rows is None else self._view.metric_names(rows)

    def columns(self, rows: Rows, metric_names: Sequence[str] | None = None) -> OutcomeColumns:
        """Return outcomes by row number, in columns; default: with every metric in the log."""
        return self._view.columns(rows, metric_names)
