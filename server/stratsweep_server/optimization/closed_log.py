"""Read a log that is kept, as streams and rankings do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure
from stratsweep_server.optimization.outcome_log import OutcomeColumns, OutcomeRow
from stratsweep_server.optimization.store import LogView, Run


class ClosedLog:
    """Implement `FollowedLog` for what the store has of a log that nobody appends to.

    Args:
        view: What the store has.
        end_time: When the optimization ended that never ran, in nanoseconds since the epoch.
    """

    is_closed = True

    def __init__(self, view: LogView, end_time: int) -> None:
        self._view = view
        self.total_count = view.total_count
        self.count = view.count
        self.failures: Mapping[int, BacktestFailure] = view.failures
        self.runs: Sequence[Run] = view.runs or (Run(0, end_time, 0.0),)
        self._names = view.metric_names()
        self.indices = view.indices
        self.durations = view.durations
        self.is_failure = view.is_failure
        self.metric = view.metric
        self.metric_names = view.metric_names
        self.elapsed = view.elapsed

    @property
    def failed_count(self) -> int:
        """Return how many of the outcomes are failures."""
        return len(self.failures)

    @property
    def metric_count(self) -> int:
        """Return how many metrics there are."""
        return len(self._names)

    async def wait_beyond(self, position: int, patience: float | None = None) -> bool:  # noqa: ARG002
        """Return at once: nothing will follow."""
        return True

    def event_time(self, row: int) -> float:
        """Return when an outcome arrived, in seconds since the epoch."""
        run = next(run for run in reversed(self.runs) if run.first_row <= row)
        return run.time_at(self.elapsed(row))

    def columns(
        self, rows: slice | NDArray[np.intp], metric_names: Sequence[str] | None = None
    ) -> OutcomeColumns:
        """Return outcomes by row number, in columns; default: with every metric in the log."""
        names = self._names if metric_names is None else metric_names
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.count)
            rows = slice(None)
        elif len(rows):
            start, stop = int(rows.min()), int(rows.max()) + 1
            rows = rows - start
        else:
            start = stop = 0
        return OutcomeColumns(
            self.indices(start, stop)[rows],
            self.durations(start, stop)[rows],
            {name: self.metric(name, start, stop)[rows] for name in names},
        )

    def rows(self, numbers: Sequence[int] | NDArray[np.intp]) -> list[OutcomeRow]:
        """Return outcomes by row number, as objects."""
        columns = self.columns(np.asarray(numbers, dtype=np.intp))
        return [
            OutcomeRow(index, duration, metrics, self.failures.get(index))
            for index, duration, metrics in columns.rows()
        ]
