"""Run one optimization: submit it, log its outcomes, hold its memory, conclude."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypeAlias

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
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

_LOGGED_FAILURES = 100
_LOGGED_CHARACTERS = 500
"""Of a combination."""
_KEPT_TRACEBACKS = 1_000

ProgressCallback: TypeAlias = Callable[[int, int], None]


class RunningOptimization:
    """Run an optimization while the context is open, and log an outcome for every combination.

    Attributes:
        prepared: What runs.
        log: The outcomes so far.
        start_time: Monotonic seconds when it started.
    """

    def __init__(
        self,
        pool: BacktestPool,
        prepared: PreparedOptimization,
        progress_callback: ProgressCallback | None,
        name: str,
        labels: str,
        memory: MemoryAccount,
    ) -> None:
        self.prepared = prepared
        self.log = OutcomeLog(prepared.total_count, time.time_ns())
        self.start_time = time.monotonic()
        self._pool = pool
        self._progress_callback = progress_callback
        self._name = name
        self._labels = labels
        self._memory = memory
        self._failure_bytes = 0
        self._is_concluded = False
        self._workload: RunningWorkload | None = None
        self._bars: SharedBars | None = None

    async def __aenter__(self) -> RunningOptimization:
        try:
            plan = self.prepared.plan
            if self.prepared.bars:
                self._bars = await in_background(self._pool.share, self.prepared.bars)
                plan = replace(plan, bar_headers=self._bars.headers)
            self._workload = self._pool.submit(
                plan,
                self.prepared.indices,
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
                time.monotonic() - self.start_time,
            )

    def cancel(self) -> None:
        """Stop for good and free the workers at once; what has completed stays in the log."""
        if self._workload is not None:
            self._workload.cancel()

    async def result(self) -> OptimizationResult:
        """Wait for the end and rank. When workers stop starting, what has completed is ranked."""
        if self._workload is None:
            raise RuntimeError("the optimization was not started")
        failure = ""
        try:
            await self._workload.wait()
        except (WorkersUnavailableError, TooManyMetricsError, MemoryExhaustedError) as error:
            failure = str(error)
        finally:
            self.log.close()
        execution_time = time.monotonic() - self.start_time
        result = await asyncio.to_thread(conclude, self.prepared, self.log, execution_time, failure)
        self._is_concluded = True
        logger.info(
            "%s%s %s: %d of %s succeeded in %.3g s",
            self._name,
            self._labels,
            result.state.value.lower(),
            result.succeeded_count,
            counted(result.total_count, "backtest"),
            execution_time,
        )
        return result

    def _close_bars(self) -> None:
        if self._bars is not None:
            self._bars.close()

    def _append(self, batch: OutcomeBatch) -> None:
        first = self.log.count + 1
        for position, failure in enumerate(batch.failures):
            self._log_failure(failure, self.log.failed_count + position + 1)
        if self.log.failed_count + len(batch.failures) > _KEPT_TRACEBACKS:
            failures = tuple(replace(failure, traceback="") for failure in batch.failures)
            batch = replace(batch, failures=failures)
        self.log.append(batch, time.monotonic() - self.start_time)
        self._hold_more_memory(batch.failures)
        if self._progress_callback is not None:
            for completed in range(first, self.log.count + 1):
                self._progress_callback(completed, self.log.total_count)

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
