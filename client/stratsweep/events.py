"""What a server tells of an optimization: its events, of which the final result is the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from stratsweep.config import OptimizationConfig
from stratsweep.errors import StratsweepError
from stratsweep.outcomes import BacktestFailure, Outcome, ParameterResult
from stratsweep.strategies import Metric, Symbol, counts_of
from stratsweep.tabular import Tabular

if TYPE_CHECKING:
    from stratsweep._tables import RankingTable


class OptimizationState(StrEnum):
    """Say where an optimization stands."""

    QUEUED = "QUEUED"
    """It waits until others have ended."""
    RUNNING = "RUNNING"
    """Its backtests run."""
    INTERRUPTED = "INTERRUPTED"
    """Its server failed it; what has completed is kept, and it can go on."""
    SUCCEEDED = "SUCCEEDED"
    """Every combination ran and at least one result has the target."""
    FAILED = "FAILED"
    """No result can be ranked; `OptimizationResult.message` says why."""
    CANCELLED = "CANCELLED"
    """It was stopped; what had completed is ranked."""
    UNSPECIFIED = "UNSPECIFIED"
    """Where only a newer server knows."""

    @property
    def is_ended(self) -> bool:
        """Return whether it has ended: what has never changes."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


@dataclass(frozen=True, slots=True)
class MarketDataSummary:
    """Describe the bars that every backtest of the optimization sees.

    Attributes:
        bar_count: The number of distinct bar times over all symbols.
        first_bar_time: Time of the first bar, in `timezone` (in UTC on a machine that does not know
            that zone); midnight where bars are of whole days.
        last_bar_time: Time of the last bar, likewise.
        periods_per_year: Bars in a year of 365.25 days: what ratios are annualized with.
        timezone: IANA name of the zone whose days the bars are of; UTC where all are of whole days.
        symbols: The same bars by symbol, in the order of the config; empty where the server does
            not say.
    """

    bar_count: int
    first_bar_time: datetime
    last_bar_time: datetime
    periods_per_year: float
    timezone: str = "UTC"
    symbols: tuple[Symbol, ...] = ()


@dataclass(frozen=True, slots=True)
class OptimizationStarted:
    """Say what is about to run: the first event of a stream.

    Attributes:
        optimization_id: Names the optimization, in the server's log and in later calls.
        total_count: The number of combinations that will run.
        rejected_count: The number of grid points that a constraint rejected.
        worker_count: The number of worker processes of the server.
        config: The effective config.
        market_data: The bars; None where the engine loads its own.
        labels: What the caller calls it, by key.
        metrics: The figures that every backtest reports; empty where the engine declares none.
        state: RUNNING, or QUEUED where it waits until others have ended.
        reused_count: The number of combinations whose outcomes come from earlier optimizations;
            they are the first to follow.
    """

    optimization_id: str
    total_count: int
    rejected_count: int
    worker_count: int
    config: OptimizationConfig
    market_data: MarketDataSummary | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = field(default=(), repr=False)
    state: OptimizationState = OptimizationState.RUNNING
    reused_count: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Say which backtests have completed, and how far the optimization has come.

    Attributes:
        completed_count: The number of backtests that have completed, failed ones included.
        total_count: The number that will.
        failed_count: The number of completed ones that failed.
        outcomes: Those new since the event before: exactly one unless `progress_interval` groups
            them.
        best: The best result so far; None until a result has the optimization target.
        elapsed_duration: Time since the optimization started.
        estimated_remaining_duration: What is left at the rate so far; None when unknown.
        optimization_id: Names the optimization in the server's log.
    """

    completed_count: int
    total_count: int
    failed_count: int
    outcomes: Sequence[Outcome]
    best: ParameterResult | None
    elapsed_duration: timedelta
    estimated_remaining_duration: timedelta | None = None
    optimization_id: str = ""


@dataclass(frozen=True, slots=True)
class OptimizationResult(Tabular):
    """Give the ranking, the failures and the counts of an optimization: a stream's last event.

    Attributes:
        optimization_id: Names the optimization in the server's log.
        state: How it ended.
        config: The effective config.
        ranked: The results by rank: by the target, then by combination index; results without the
            target are last. A row is decoded whenever it is looked at.
        failures: The combinations that gave none, by combination index.
        total_count: The number of combinations that were to run.
        succeeded_count: The number that gave metrics; `ranked` has fewer where
            `max_ranked_results` limits it.
        failed_count: The number that failed.
        execution_duration: Time from start to end.
        message: Why `state` is FAILED or CANCELLED; empty otherwise.
        labels: What the caller calls it, by key.
        market_data: The bars, as in `OptimizationStarted`.
        metrics: The figures that every backtest reports, as in `OptimizationStarted`.
        unqualified_count: The number of results that do not meet the requirements, and so are not
            ranked.
        without_target_count: The number of results that do meet them, but have no value of the
            target.
    """

    optimization_id: str
    state: OptimizationState
    config: OptimizationConfig
    ranked: Sequence[ParameterResult] = field(repr=False)
    failures: Sequence[BacktestFailure] = field(repr=False)
    total_count: int
    succeeded_count: int
    failed_count: int
    execution_duration: timedelta
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    market_data: MarketDataSummary | None = None
    metrics: tuple[Metric, ...] = field(default=(), repr=False)
    unqualified_count: int = 0
    without_target_count: int = 0

    @property
    def best(self) -> ParameterResult | None:
        """Return the result of rank 1; None where no result has the optimization target."""
        if self.ranked and self.config.optimization_target in self.ranked[0].metrics:
            return self.ranked[0]
        return None

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the best 20 rows."""
        from stratsweep._notebook import result_html  # noqa: PLC0415 - for notebooks only

        return result_html(self)

    def _table(self) -> RankingTable:
        from stratsweep._tables import RankingTable  # noqa: PLC0415 - imports nanoarrow

        return RankingTable(self.ranked, counts_of(self.metrics))


@dataclass(frozen=True, slots=True)
class SymbolResult:
    """Say how the optimization of one symbol of several ended.

    Attributes:
        symbol: The symbol.
        result: Its result, in whatever state; None where there is an error.
        error: Why there is none, such as a refusal.
    """

    symbol: str
    result: OptimizationResult | None = None
    error: StratsweepError | None = None


OptimizationEvent: TypeAlias = OptimizationStarted | Progress | OptimizationResult
