"""Optimizations that a server keeps: where one stands, and its results by any metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stratsweep.events import OptimizationStarted, OptimizationState
from stratsweep.outcomes import ParameterResult
from stratsweep.strategies import counts_of
from stratsweep.tabular import Tabular

if TYPE_CHECKING:
    from stratsweep._tables import RankingTable


@dataclass(frozen=True, slots=True)
class Optimization:
    """Say where an optimization stands.

    Attributes:
        optimization_id: Names it.
        state: Where it stands.
        started: Its first event: its config, counts, bars, metrics and labels. In lists the config
            has no parameters.
        completed_count: The number of backtests that have completed, failed ones included.
        failed_count: The number of completed ones that failed.
        best: The best result so far; None until a result has the optimization target, and in lists.
        create_time: When it was asked for.
        start_time: When its first backtest could run; None before.
        end_time: When it ended; None before.
        running_duration: How long it has run, without its time in the queue and between servers.
        message: Why it is FAILED, CANCELLED or INTERRUPTED; empty otherwise.
        is_detached: Whether it goes on without a client.
        holder_address: Where the server listens that runs it; empty where nobody does.
        stored_bytes: What it takes on disk.
    """

    optimization_id: str
    state: OptimizationState
    started: OptimizationStarted
    completed_count: int
    failed_count: int
    best: ParameterResult | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    running_duration: timedelta
    message: str = ""
    is_detached: bool = False
    holder_address: str = ""
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ResultList(Tabular):
    """Give results of an optimization in the order that was asked for.

    Attributes:
        optimization: Where it stood when the results were asked for.
        results: The results, with ranks by this order. A row is decoded whenever it is looked at.
        total_count: The number of results there are; `results` has fewer where a limit cuts them.
    """

    optimization: Optimization
    results: Sequence[ParameterResult] = field(repr=False)
    total_count: int

    def _table(self) -> RankingTable:
        from stratsweep._tables import RankingTable  # noqa: PLC0415 - imports nanoarrow

        return RankingTable(self.results, counts_of(self.optimization.started.metrics))
