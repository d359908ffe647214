"""Prepare what clients ask for: bars and combinations, inputs, outcomes that are there already."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.inputs import (
    InputsChangedError,
    dates_text,
    grid_digest,
    inputs_key,
    require_same_inputs,
)
from stratsweep_server.optimization.labels import labels_text
from stratsweep_server.optimization.loading import load_log
from stratsweep_server.optimization.memory import MemoryAccount
from stratsweep_server.optimization.optimizer import GridSearchOptimizer
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.request import Messages, OptimizationRequest
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationRecord, UnknownOptimizationError
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.optimization.taking_over import results_of
from stratsweep_server.optimization.validation import (
    InvalidConfigError,
    Violation,
    expand_axes,
)
from stratsweep_server.texts import counted, listed

logger = logging.getLogger(__name__)

Fingerprint = Callable[[PreparedOptimization], Mapping[str, str]]

_RESUMABLE = {
    OptimizationState.CANCELLED,
    OptimizationState.FAILED,
    OptimizationState.INTERRUPTED,
}


class OptimizationRunningError(Exception):
    """Report that something cannot be done with an optimization while it is queued or runs."""


_NOT_RESUMABLE = (
    InputsChangedError,
    InvalidConfigError,
    OptimizationRunningError,
    UnknownOptimizationError,
)


class Preparer:
    """Prepare optimizations.

    Args:
        optimizer: Validates configs and loads bars.
        store: Has what there is already.
        messages: Writes and reads what the store keeps.
        fingerprint: Says what the outcomes of what was prepared depend on; takes a while.
    """

    def __init__(
        self,
        optimizer: GridSearchOptimizer,
        store: StoreCalls,
        messages: Messages,
        fingerprint: Fingerprint,
    ) -> None:
        self.optimizer = optimizer
        self._store = store
        self.messages = messages
        self._fingerprint = fingerprint

    async def prepare(
        self, request: OptimizationRequest, memory: MemoryAccount
    ) -> PreparedOptimization:
        """Prepare what is asked for; see `GridSearchOptimizer.prepare`."""
        return await self.optimizer.prepare(request.config, request.violations, memory=memory)

    async def prepare_again(
        self, request: OptimizationRequest, memory: MemoryAccount, record: OptimizationRecord
    ) -> PreparedOptimization:
        """Prepare what was prepared before.

        Raises:
            InputsChangedError: Its outcomes would come from other inputs than before.
        """
        prepared = await self.prepare(request, memory)
        fingerprint = await in_background(self._fingerprint, prepared)
        require_same_inputs(record.fingerprint, fingerprint)
        if prepared.total_count != record.total_count:
            raise InputsChangedError(["the constraints accept other combinations"])
        return prepared

    async def new_record(
        self, caller: str, request: OptimizationRequest, prepared: PreparedOptimization
    ) -> OptimizationRecord:
        """Return what the store is to have of a new optimization, but for its first event."""
        return await in_background(self._new_record, caller, request, prepared)

    async def started(
        self, record: OptimizationRecord, prepared: PreparedOptimization, reused_count: int
    ) -> bytes:
        """Return the first event of a new optimization."""
        logger.info(
            "optimization %s%s: %s on %s, %s (%d rejected by constraints)",
            record.optimization_id,
            labels_text(record.labels),
            listed([record.strategy]),
            listed(record.symbols),
            counted(record.total_count, "combination"),
            prepared.rejected_count,
        )
        return await in_background(
            self.messages.started,
            record.optimization_id,
            prepared,
            record.labels,
            record.state,
            reused_count,
        )

    async def load(self, record: OptimizationRecord) -> OutcomeLog | None:
        """Return the outcomes that an optimization has, to go on from; None: it has none."""
        if record.start_time is None:
            return None
        view = await self._store(self._store.store.log, *record.key)
        return await in_background(load_log, view, record.running_seconds)

    async def taken_over(
        self,
        caller: str,
        request: OptimizationRequest,
        prepared: PreparedOptimization,
        log: OutcomeLog | None = None,
        *,
        goes_on: bool = False,
    ) -> Sequence[OutcomeBatch]:
        """Return the outcomes of other optimizations that are this one's, too.

        Args:
            caller: Whose optimizations.
            request: What was asked for.
            prepared: What runs.
            log: What it has already.
            goes_on: The one to resume was looked at before, and is no obstacle any more: what it
                had runs again.

        Raises:
            InvalidConfigError: The one to resume has other inputs, or has succeeded.
            OptimizationRunningError: It is queued or runs.
            UnknownOptimizationError: There is none.
        """
        if not request.takes_results and not request.resume_from:
            return ()
        missing = prepared.indices
        if log is not None:
            missing = np.setdiff1d(missing, log.indices(), assume_unique=True)
        fingerprint = await in_background(self._fingerprint, prepared)
        key = inputs_key(prepared, fingerprint)
        records = []
        if request.resume_from:
            try:
                record = await self._store(self._store.store.find, caller, request.resume_from)
                _require_resumable(record, key, fingerprint)
                records.append(record)
            except _NOT_RESUMABLE:
                if not goes_on:
                    raise
        if request.takes_results:
            records += await self._store(self._store.store.matching, caller, key)
        return await in_background(lambda: list(self._results(records, prepared, missing)))

    def _new_record(
        self, caller: str, request: OptimizationRequest, prepared: PreparedOptimization
    ) -> OptimizationRecord:
        fingerprint = self._fingerprint(prepared)
        return OptimizationRecord(
            caller=caller,
            optimization_id=request.optimization_id,
            state=OptimizationState.QUEUED,
            strategy=request.config.strategy,
            symbols=tuple(request.config.symbols),
            labels=request.labels,
            request=self.messages.request(request),
            started=b"",
            fingerprint=fingerprint,
            inputs_key=inputs_key(prepared, fingerprint),
            is_detached=request.is_detached,
            total_count=prepared.total_count,
            create_time=time.time_ns(),
            dates=dates_text(prepared),
            grid_digest=grid_digest(prepared.plan.axes),
        )

    def _results(
        self,
        records: Sequence[OptimizationRecord],
        prepared: PreparedOptimization,
        missing: NDArray[np.int64],
    ) -> Iterator[OutcomeBatch]:
        for record in records:
            if record.start_time is None or len(missing) == 0:
                continue
            try:
                view = self._store.store.log(*record.key)
            except UnknownOptimizationError:  # deleted since: what it had runs again
                continue
            axes = expand_axes(self.messages.read_started(record.started))
            batches = list(results_of(view, axes, prepared.plan.axes, missing))
            yield from batches
            for batch in batches:
                missing = np.setdiff1d(missing, batch.indices, assume_unique=True)


def _require_resumable(
    record: OptimizationRecord, key: str, fingerprint: Mapping[str, str]
) -> None:
    name = f"optimization {record.optimization_id}"
    if record.state.is_under_way:
        raise OptimizationRunningError(f"{name} is {record.state.value}; cancel it first")
    if record.state not in _RESUMABLE:
        reason = f"{name} has succeeded; nothing of it is missing"
        raise InvalidConfigError([Violation("resume_from", reason)])
    if record.inputs_key != key:
        require_same_inputs(record.fingerprint, fingerprint)
        reason = f"{name} has another strategy, symbols, dates, costs, warm-up or seed"
        raise InvalidConfigError([Violation("resume_from", reason)])
