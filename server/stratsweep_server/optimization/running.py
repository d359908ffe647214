"""Run one optimization: submit it, log its outcomes, hold its memory, conclude."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure, OutcomeBatch
from stratsweep_server.execution.pool import (
    BacktestPool,
    RunningWorkload,
    WorkersUnavailableError,
)
from stratsweep_server.execution.shared_bars import SharedBars
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.conclusion import conclude
from stratsweep_server.optimization.memory import (
    MemoryAccount,
    MemoryExhaustedError,
    failure_bytes,
    metric_bytes,
)
from stratsweep_server.optimization.outcome_log import OutcomeLog, TooManyMetricsError
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.store import (
    LogView,
    OnDurable,
    OnFailure,
    OutcomeJournal,
    Run,
    StoreUnavailableError,
)
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

_LOGGED_FAILURES = 100
_LOGGED_CHARACTERS = 500
"""Of a combination."""
_KEPT_TRACEBACKS = 1_000

ProgressCallback: TypeAlias = Callable[[int, int], None]


OpenJournal: TypeAlias = Callable[[Run, LogView, OnDurable, OnFailure], OutcomeJournal]


class RunningOptimization:
    """Run an optimization while the context is open, and log an outcome for every combination.

    Args:
        pool: Runs its backtests.
        prepared: What to run.
        name: What the server's log calls it.
        labels: What its client calls it, as text.
        memory: What it holds.
        open_journal: Begins the run in the store that keeps its outcomes.
        log: What it has already; only what is missing runs. Its last run is the one that begins.
        taken_over: Outcomes of other optimizations that are its own, too.
        progress_callback: Called with (completed, total) once for each backtest that completes.

    Attributes:
        prepared: What runs.
        log: The outcomes so far.
    """

    def __init__(
        self,
        pool: BacktestPool,
        prepared: PreparedOptimization,
        *,
        name: str,
        labels: str,
        memory: MemoryAccount,
        open_journal: OpenJournal,
        log: OutcomeLog | None = None,
        taken_over: Sequence[OutcomeBatch] = (),
        progress_callback: ProgressCallback | None = None,
    ) -> None:
        self.prepared = prepared
        self.log = log or OutcomeLog(prepared.total_count, time.time_ns())
        self._start_time = time.monotonic()
        self._pool = pool
        self._progress_callback = progress_callback
        self._name = name
        self._labels = labels
        self._memory = memory
        self._open_journal = open_journal
        self._taken_over = taken_over
        self._failure_bytes = 0
        self._is_concluded = False
        self._journal: OutcomeJournal | None = None
        self._store_error: StoreUnavailableError | None = None
        self._workload: RunningWorkload | None = None
        self._bars: SharedBars | None = None
        self._failure = ""
        self._execution_time = 0.0

    async def __aenter__(self) -> RunningOptimization:
        try:
            plan = self.prepared.plan
            if self.prepared.bars:
                self._bars = await in_background(self._pool.share, self.prepared.bars)
                plan = replace(plan, bar_headers=self._bars.headers)
            await self._begin_log()
            self._workload = self._pool.submit(
                plan,
                self._missing_indices(),
                backtest_timeout=self.prepared.config.backtest_timeout,
                on_outcomes=self._append,
                generation=self.prepared.generation,
                bars=self._bars,
            )
        except BaseException:
            self._close_bars()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
        self.log.close()
        self._close_bars()
        if not self._is_concluded:
            logger.info(
                "%s%s given up: %d of %d backtests completed in %.3g s",
                self._name,
                self._labels,
                self.log.count,
                self.log.total_count,
                self.elapsed,
            )

    @property
    def elapsed(self) -> float:
        """Return for how many seconds it has run, in earlier runs, too."""
        return self.log.runs[-1].start_elapsed + time.monotonic() - self._start_time

    def cancel(self) -> None:
        """Stop for good and free the workers at once; what has completed stays in the log."""
        if self._workload is not None:
            self._workload.cancel()

    async def result(self) -> OptimizationResult:
        """Wait for the end and rank. When workers stop starting, what has completed is ranked.

        Raises:
            StoreUnavailableError: Its outcomes could not be kept.
        """
        await self.completed()
        return await self.concluded()

    async def completed(self) -> None:
        """Wait until nothing runs any more, and all outcomes are kept for good.

        Raises:
            StoreUnavailableError: They could not be.
        """
        if self._workload is None or self._journal is None:
            raise RuntimeError("the optimization was not started")
        try:
            await self._workload.wait()
        except (WorkersUnavailableError, TooManyMetricsError, MemoryExhaustedError) as error:
            self._failure = str(error)
        self._execution_time = self.elapsed
        await self._journal.flush()
        if self._store_error is not None:
            raise self._store_error
        self.log.close()

    async def concluded(self) -> OptimizationResult:
        """Rank what has completed; once nothing runs any more."""
        result = await asyncio.to_thread(
            conclude, self.prepared, self.log, self._execution_time, self._failure
        )
        self._is_concluded = True
        logger.info(
            "%s%s %s: %d of %s succeeded in %.3g s",
            self._name,
            self._labels,
            result.state.value.lower(),
            result.succeeded_count,
            counted(result.total_count, "backtest"),
            self._execution_time,
        )
        return result

    async def _begin_log(self) -> None:
        log = self.log
        self._journal = self._open_journal(log.runs[-1], log, log.reveal, self._stop_keeping)
        for batch in self._taken_over:
            self._append(batch)
            await asyncio.sleep(0)  # there may be millions
        self._taken_over = ()

    def _missing_indices(self) -> NDArray[np.int64]:
        there = self.log.indices(0, self.log.count + self.log.held_count)
        if len(there) == 0:
            return self.prepared.indices
        return np.setdiff1d(self.prepared.indices, there, assume_unique=True)

    def _close_bars(self) -> None:
        if self._bars is not None:
            self._bars.close()

    def _stop_keeping(self, error: StoreUnavailableError) -> None:
        self._store_error = error
        self.cancel()

    def _append(self, batch: OutcomeBatch) -> None:
        if self._journal is None or self._store_error is not None:
            return  # what cannot be kept, nobody is told of
        log = self.log
        first = log.count + log.held_count + 1
        for position, failure in enumerate(batch.failures):
            self._log_failure(failure, log.failed_count + position + 1)
        if log.failed_count + len(batch.failures) > _KEPT_TRACEBACKS:
            failures = tuple(replace(failure, traceback="") for failure in batch.failures)
            batch = replace(batch, failures=failures)
        elapsed = self.elapsed
        log.hold(batch, elapsed)
        self._journal.append(batch, elapsed)
        self._hold_more_memory(batch.failures)
        if self._progress_callback is not None:
            for completed in range(first, first + len(batch)):
                self._progress_callback(completed, log.total_count)

    def _hold_more_memory(self, failures: Sequence[BacktestFailure]) -> None:
        """Count what nobody could foresee: failures, and metrics that were not declared."""
        prepared = self.prepared
        self._failure_bytes += sum(map(failure_bytes, failures))
        metric_count = max(self.log.metric_count - prepared.metric_count, 0)
        more = metric_bytes(prepared.total_count, metric_count) + self._failure_bytes
        if more:
            self._memory.resize(prepared.memory_bytes + more)

    def _log_failure(self, failure: BacktestFailure, number: int) -> None:
        if number <= _LOGGED_FAILURES:
            logger.warning(
                "%s: combination %d %s after %.3g s with %s: %s",
                self._name,
                failure.combination_index,
                failure.kind.value,
                failure.duration,
                str(self.prepared.plan.combination(failure.combination_index))[:_LOGGED_CHARACTERS],
                failure.message,
            )
        if number == _LOGGED_FAILURES:
            logger.warning("%s: further failures are reported, not logged", self._name)
