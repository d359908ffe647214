"""Say what streams and rankings read of an outcome log, wherever the log is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure
from stratsweep_server.optimization.outcome_log import OutcomeColumns, OutcomeRow
from stratsweep_server.optimization.store import Run


class FollowedLog(Protocol):
    """Read the outcomes of an optimization by row, in order of completion; `OutcomeLog` is one."""

    @property
    def total_count(self) -> int:
        """Return how many outcomes there will be."""

    @property
    def count(self) -> int:
        """Return how many outcomes there are."""

    @property
    def is_closed(self) -> bool:
        """Return whether nothing will follow."""

    @property
    def runs(self) -> Sequence[Run]:
        """Return the stretches of time in which it was written, at least one, in order."""

    @property
    def failures(self) -> Mapping[int, BacktestFailure]:
        """Return the failures, by combination index."""

    @property
    def metric_count(self) -> int:
        """Return how many metrics have a column."""

    async def wait_beyond(self, position: int, patience: float | None = None) -> bool:
        """Wait until there is an outcome at `position` or the log is closed.

        Returns:
            False when `patience` seconds passed before that.
        """

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the combination indices of a range of outcomes (int64)."""

    def is_failure(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Return for each of a range of outcomes whether it is a failure (bool)."""

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return one metric of a range of outcomes (float64); NaN where it has no value."""

    def metric_names(self, rows: slice | NDArray[np.intp] | None = None) -> tuple[str, ...]:
        """Return by name the metrics that any of some outcomes has a value of; default: of all."""

    def columns(
        self, rows: slice | NDArray[np.intp], metric_names: Sequence[str] | None = None
    ) -> OutcomeColumns:
        """Return outcomes by row number, in columns; default: with every metric in the log."""

    def rows(self, numbers: Sequence[int] | NDArray[np.intp]) -> list[OutcomeRow]:
        """Return outcomes by row number, as objects."""

    def elapsed(self, row: int) -> float:
        """Return for how many seconds the optimization had run when an outcome arrived."""

    def event_time(self, row: int) -> float:
        """Return when an outcome arrived, in seconds since the epoch."""
