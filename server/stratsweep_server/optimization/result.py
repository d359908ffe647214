"""Describe the end of an optimization: state, ranking, failures, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.execution.outcomes import BacktestFailure
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.outcome_columns import OutcomeColumns
from stratsweep_server.optimization.states import OptimizationState

_BLOCK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class ParameterResult:
    """Hold a combination that gave metrics, and its place in the ranking.

    Attributes:
        parameters: The values of the grid's parameters, by name.
        metrics: Its figures, by name; one without a value is left out.
        rank: 1-based place in the ranking.
        combination_index: 0-based number in grid order.
        duration: Seconds that the backtest ran.
    """

    parameters: Mapping[str, ParameterValue]
    metrics: Mapping[str, float]
    rank: int
    combination_index: int
    duration: float


class RankedResults(Sequence[ParameterResult]):
    """View the log in the order of the ranking, best first; a row is made when it is looked at.

    Attributes:
        metric_names: The metrics that any place of the ranking has, by name.
    """

    def __init__(self, log: FollowedLog, plan: BacktestPlan, order: NDArray[np.intp]) -> None:
        self._log = log
        self._plan = plan
        self._order = order
        self.metric_names = log.metric_names(order)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, position: int) -> ParameterResult: ...

    @overload
    def __getitem__(self, position: slice) -> list[ParameterResult]: ...

    def __getitem__(self, position: int | slice) -> ParameterResult | list[ParameterResult]:
        if isinstance(position, slice):
            ranks = range(len(self))[position]
            return self._make(ranks)
        return self._make([range(len(self))[position]])[0]

    def __iter__(self) -> Iterator[ParameterResult]:
        for start in range(0, len(self), _BLOCK_ROWS):
            yield from self._make(range(start, min(start + _BLOCK_ROWS, len(self))))

    def __repr__(self) -> str:
        return f"<RankedResults of {len(self)}>"

    def columns(self, start: int, stop: int) -> OutcomeColumns:
        """Return a range of places in columns, with every metric of the ranking."""
        return self._log.columns(self._order[start:stop], self.metric_names)

    def _make(self, places: Sequence[int]) -> list[ParameterResult]:
        rows = self._log.rows(self._order[list(places)])
        return [
            ParameterResult(
                parameters=self._plan.combination(row.combination_index),
                metrics=row.metrics,
                rank=place + 1,
                combination_index=row.combination_index,
                duration=row.duration,
            )
            for place, row in zip(places, rows, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """Hold the end of an optimization.

    Attributes:
        state: How it ended.
        ranked_results: Best first; without the target's value last.
        best: The first of them; None when none has a value of the target.
        failures: The combinations that gave no metrics, by combination index.
        total_count: Combinations that were to run.
        succeeded_count: Those that gave metrics.
        failed_count: Those that failed.
        unqualified_count: Results that do not meet the requirements, and so are not ranked.
        without_target_count: Results that meet them, but have no value of the target.
        execution_time: Seconds from start to end.
        end_time: When it ended, in nanoseconds since the epoch.
        message: Why the state is FAILED; else empty.
    """

    state: OptimizationState
    ranked_results: RankedResults
    best: ParameterResult | None
    failures: Sequence[BacktestFailure]
    total_count: int
    succeeded_count: int
    failed_count: int
    unqualified_count: int
    without_target_count: int
    execution_time: float
    end_time: int
    message: str = ""
