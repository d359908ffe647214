"""Lead one optimization from when this process holds it until it ends or stands still."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.conclusion import conclude
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.kept import (
    OptimizationInterruptedError,
    interruption,
    read,
    what_ran,
)
from stratsweep_server.optimization.memory import MemoryAccount
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.places import Place, Places
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.preparer import Preparer
from stratsweep_server.optimization.request import OptimizationRequest
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.running import RunningOptimization
from stratsweep_server.optimization.states import ForbiddenTransitionError, OptimizationState
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationRecord,
    Run,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.optimization.store_calls import StoreCalls

logger = logging.getLogger(__name__)

_CANCELLED = OptimizationState.CANCELLED
_NOTED_EVERY_SECONDS = 5.0
"""How often the catalogue is told how far a running optimization has come."""
_OVERTAKEN = (ForbiddenTransitionError, HeldElsewhereError, UnknownOptimizationError)
"""What a store says of an optimization of which it knows more than this process."""


@dataclass(frozen=True, slots=True)
class Means:
    """Hold what all optimizations of a server are run with.

    Attributes:
        preparer: Prepares them.
        places: Admits them.
        store: Keeps them.
    """

    preparer: Preparer
    places: Places
    store: StoreCalls


@dataclass(frozen=True, slots=True)
class ReadyOptimization:
    """Hold what need not wait.

    Attributes:
        place: Where it runs.
        prepared: What runs.
        taken_over: Outcomes of other optimizations that are its own, too; None: look for them.
    """

    place: Place
    prepared: PreparedOptimization
    taken_over: Sequence[OutcomeBatch] | None = None


class OptimizationLife:
    """Let an optimization wait for its turn, run, and end; say in the store where it stands.

    Args:
        record: What the store has of it, or is to have.
        request: What was asked for.
        means: What it is run with.
        ready: With what it runs at once; None: it waits for its turn.
        is_new: Whether the store does not have it yet.

    Attributes:
        record: What the store has of it.
        place: Where it runs; None before.
        prepared: What runs; None before it has begun.
        log: The outcomes so far; None before it has begun.
        begun: Set once it has begun, or will not.
        kept: Set once the store has it, and it waits or runs, or will not.
        is_written: Whether the store has `record`, which it may not take while it fails.
    """

    def __init__(
        self,
        record: OptimizationRecord,
        request: OptimizationRequest,
        means: Means,
        *,
        ready: ReadyOptimization | None,
        is_new: bool,
    ) -> None:
        self.record = record
        self.place = ready.place if ready is not None else None
        self.prepared: PreparedOptimization | None = None
        self.log: FollowedLog | None = None
        self.begun = asyncio.Event()
        self.kept = asyncio.Event()
        self.is_written = True
        self._request = request
        self._means = means
        self._store = means.store
        self._ready = ready
        self._is_new = is_new
        self._is_held = False
        self._cancel_reason: str | None = None
        self._is_left = False
        self._turn: asyncio.Future[tuple[Place, PreparedOptimization]] | None = None
        self._running: RunningOptimization | None = None

    @property
    def current_record(self) -> OptimizationRecord:
        """Return where it stands now."""
        if self._running is None or self.record.state is not OptimizationState.RUNNING:
            return self.record
        log = self._running.log
        count = log.count  # outcomes may come while a thread reads this
        return replace(
            self.record,
            completed_count=count,
            failed_count=int(log.is_failure(0, count).sum()),
            running_seconds=self._running.elapsed,
        )

    def cancel(self, reason: str) -> None:
        """Stop it: what has completed is ranked."""
        if self._cancel_reason is None:
            self._cancel_reason = reason
            self._stop()

    def leave(self) -> None:
        """Stop it so that it can be carried on: what has completed is kept."""
        self._is_left = True
        self._stop()

    async def lead(self) -> OptimizationResult:
        """Bring it to its end and return the result.

        Raises:
            OptimizationInterruptedError: It was left.
            Exception: Whatever interrupts it; the store says so as far as it can.
        """
        try:
            return await self._live()
        except Exception as error:
            await self._stand_still(error)
            raise
        finally:
            if self.place is not None:
                self.place.leave()

    async def settle(self) -> None:
        """Write what the store could not take when it failed.

        Raises:
            StoreUnavailableError: It still fails.
        """
        # It may have written, while it failed, that the optimization has ended.
        with contextlib.suppress(*_OVERTAKEN):
            await self._move(self.record)
        self.is_written = True

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        elif self._turn is not None:
            self._turn.cancel()

    @property
    def _is_stopped(self) -> bool:
        return self._is_left or self._cancel_reason is not None

    async def _live(self) -> OptimizationResult:
        await self._hold()
        if self.record.state.is_ended:
            return await self._ended_elsewhere()
        ready = self._ready or await self._its_turn()
        if ready is None:
            return await self._end_without_running()
        self._ready = None
        self.place = ready.place
        return await self._go(ready)

    async def _hold(self) -> None:
        store, record = self._store.store, self.record
        if self._is_new:
            await self._store(store.create, record)
        else:
            self.record = await self._store(store.claim, *record.key)
        self._is_held = True

    async def _its_turn(self) -> ReadyOptimization | None:
        """Wait until others have ended; None: stopped before."""
        if self._is_stopped:
            return None  # it is over in a moment: who waits is told how it has ended
        await self._queue()
        self.kept.set()
        if self._is_stopped:
            return None
        record = self.record
        prepare = partial(self._prepare_again, record)
        with self._means.places.waiting():
            self._turn = asyncio.ensure_future(self._means.places.turn(prepare))
            try:
                place, prepared = await self._turn
            except asyncio.CancelledError:
                if self._is_stopped:
                    return None
                raise
            finally:
                self._turn = None
        return ReadyOptimization(place, prepared)

    async def _prepare_again(
        self, record: OptimizationRecord, memory: MemoryAccount
    ) -> PreparedOptimization:
        return await self._means.preparer.prepare_again(self._request, memory, record)

    async def _queue(self) -> None:
        if self.record.state is not OptimizationState.QUEUED:
            await self._move(replace(self.record, state=OptimizationState.QUEUED))

    async def _go(self, ready: ReadyOptimization) -> OptimizationResult:
        prepared, preparer = ready.prepared, self._means.preparer
        log = None if self._is_new else await preparer.load(self.record)
        if log is not None and log.count == log.total_count:
            return await self._end_without_running()
        taken_over = ready.taken_over
        if taken_over is None:
            taken_over = await preparer.taken_over(
                self.record.caller, self._request, prepared, log, goes_on=True
            )
        if self.record.state is not OptimizationState.RUNNING:
            await self._move(_running_now(self.record))
        record, store = self.record, self._store.store
        running = preparer.optimizer.start(
            prepared,
            optimization_id=record.optimization_id,
            labels=record.labels,
            memory=ready.place.memory,
            open_journal=partial(store.journal, *record.key),
            log=log or OutcomeLog(prepared.total_count, _now(record)),
            taken_over=taken_over,
        )
        async with running:
            self._running, self.prepared, self.log = running, prepared, running.log
            self.begun.set()
            self.kept.set()
            if self._is_stopped:
                running.cancel()
            await self._completed(running)
            if self._is_left:
                raise await self._left()
            result, _ = await asyncio.gather(
                running.concluded(),
                self._store(store.conclude, *record.key),
            )
        await self._end(result)
        return result

    async def _completed(self, running: RunningOptimization) -> None:
        """Wait until nothing runs any more; the catalogue tells others meanwhile how far it is."""
        completion = asyncio.ensure_future(running.completed())
        try:
            while not completion.done():
                await asyncio.wait([completion], timeout=_NOTED_EVERY_SECONDS)
                if not (completion.done() or self._is_stopped):
                    with contextlib.suppress(StoreUnavailableError):  # outcomes tell of that
                        await self._move(self.current_record)
            await completion
        finally:
            completion.cancel()

    async def _ended_elsewhere(self) -> OptimizationResult:
        """Return the result of what another process has ended just before it was held here."""
        kept = await read(self.record, self._store, self._means.preparer.messages)
        result = await kept.result()
        self.prepared, self.log = kept.prepared, kept.log
        self.begun.set()
        return result

    async def _end_without_running(self) -> OptimizationResult:
        """End what was cancelled before it ran, or of which nothing is missing."""
        if self._is_left:
            raise await self._left()
        record, preparer = self.record, self._means.preparer
        log = await preparer.load(record)
        running_seconds = 0.0
        if log is None:
            log = OutcomeLog(record.total_count)
            log.runs.clear()
        else:
            running_seconds = log.runs.pop().start_elapsed
        log.runs = log.runs or [Run(0, _now(record), 0.0)]
        log.close()
        prepared = await what_ran(record, preparer.messages)
        self.prepared, self.log = prepared, log
        result = await in_background(conclude, prepared, log, running_seconds)
        is_running = record.state is OptimizationState.RUNNING
        if not is_running and result.state is not _CANCELLED:
            await self._move(_running_now(record))
        await self._end(result)
        self.begun.set()
        return result

    async def _end(self, result: OptimizationResult) -> None:
        message = result.message
        if result.state is _CANCELLED:
            message = self._cancel_reason or ""
        await self._move(
            replace(
                self.record,
                state=result.state,
                completed_count=result.succeeded_count + result.failed_count,
                failed_count=result.failed_count,
                running_seconds=result.execution_time,
                end_time=result.end_time,
                message=message,
            )
        )

    async def _left(self) -> OptimizationInterruptedError:
        """Write how far it has come, and return what to tell who follows."""
        record = self.current_record
        await self._move(record)
        return interruption(replace(record, message="its server stops"))

    async def _stand_still(self, error: Exception) -> None:
        """Say in the store, as far as that can be written, that nothing runs any more."""
        if isinstance(error, StoreUnavailableError):
            self._store.note(error)
        if self._is_left or not self._is_held or self.record.state.is_ended:
            return
        logger.warning("optimization %s stands still: %s", self.record.optimization_id, error)
        record = self.current_record
        record = replace(record, state=OptimizationState.INTERRUPTED, message=str(error))
        self.record, self.is_written = record, False
        with contextlib.suppress(StoreUnavailableError):
            await self.settle()
            if self._is_new and self.log is None and record.start_time is not None:
                # It was to run at once and could not: nobody has been told of it.
                await self._store(self._store.store.delete, *record.key)

    async def _move(self, record: OptimizationRecord) -> None:
        await self._store(self._store.store.move, record)
        self.record = record


def _running_now(record: OptimizationRecord) -> OptimizationRecord:
    start_time = record.start_time or _now(record)
    return replace(record, state=OptimizationState.RUNNING, start_time=start_time, message="")


def _now(record: OptimizationRecord) -> int:
    """Return the time, but none before what happened to an optimization: clocks are set back."""
    return max(time.time_ns(), record.create_time, record.start_time or 0)
