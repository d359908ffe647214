"""Hold one optimization: let it wait, run in a task of its own, end or be left, and be followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.conclusion import conclude
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.kept import OptimizationInterruptedError, interruption
from stratsweep_server.optimization.memory import MemoryAccount
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.places import Place, Places
from stratsweep_server.optimization.preparation import PreparedOptimization, readable
from stratsweep_server.optimization.preparer import Preparer
from stratsweep_server.optimization.request import OptimizationRequest
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.running import RunningOptimization
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationRecord, Run, StoreUnavailableError
from stratsweep_server.optimization.store_calls import StoreCalls

logger = logging.getLogger(__name__)

CLIENT_LEFT = "its client left"


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


class OptimizationEntry:
    """Hold an optimization from when this process has it until it ends or stands still.

    Args:
        record: What the store has of it, or is to have.
        request: What was asked for.
        means: What it is run with.
        ready: With what it runs at once; None: it waits for its turn.
        is_new: Whether the store does not have it yet.
        on_unused: Told when its task is over and nobody follows it.
    """

    def __init__(
        self,
        record: OptimizationRecord,
        request: OptimizationRequest,
        means: Means,
        *,
        ready: ReadyOptimization | None,
        is_new: bool,
        on_unused: Callable[[OptimizationEntry], None],
    ) -> None:
        self.request = request
        self.abandon_grace = request.abandon_grace or 0.0
        self.is_detached = record.is_detached
        self._record = record
        self._means = means
        self._store = means.store
        self._ready = ready
        self._place = ready.place if ready is not None else None
        self._is_new = is_new
        self._is_held = False
        self._on_unused = on_unused
        self._attached_count = 0
        self._reader_count = 0
        self._abandonment: asyncio.TimerHandle | None = None
        self._cancel_reason: str | None = None
        self._is_left = False
        self._turn: asyncio.Future[tuple[Place, PreparedOptimization]] | None = None
        self._running: RunningOptimization | None = None
        self._prepared: PreparedOptimization | None = None
        self._log: OutcomeLog | None = None
        self._begun = asyncio.Event()
        self._kept = asyncio.Event()
        name = f"optimization {record.optimization_id}"
        self._task = asyncio.create_task(self._run(), name=name)

    @property
    def record(self) -> OptimizationRecord:
        """Return where it stands now."""
        if self._log is None or self._record.end_time is not None:
            return self._record
        return self._counted(self._record)

    @property
    def is_over(self) -> bool:
        """Return whether nothing changes any more, as far as this process goes."""
        return self._task.done()

    @property
    def is_interrupted(self) -> bool:
        """Return whether it is over without having ended."""
        return self.is_over and not self._record.state.is_ended

    @property
    def is_followed(self) -> bool:
        """Return whether a call is attached to it or reads it."""
        return self._reader_count > 0

    @property
    def started(self) -> bytes:
        """Return the serialized first event."""
        return self._record.started

    @property
    def started_time(self) -> int:
        """Return when it was asked for, in nanoseconds since the epoch."""
        return self._record.create_time

    @property
    def prepared(self) -> PreparedOptimization:
        """Return what runs; once it has begun."""
        if self._prepared is None:
            raise RuntimeError("the optimization has not begun")
        return self._prepared

    @property
    def config(self) -> OptimizationConfig:
        """Return the effective config; once it has begun."""
        return self.prepared.config

    @property
    def grid(self) -> GridColumns:
        """Return the parameters' values; once it has begun."""
        return self.prepared.grid

    @property
    def log(self) -> OutcomeLog:
        """Return the outcomes so far; once it has begun."""
        if self._log is None:
            raise RuntimeError("the optimization has not begun")
        return self._log

    @asynccontextmanager
    async def attached(self, abandon_grace: float | None = None) -> AsyncIterator[None]:
        """Keep the optimization going while the context is open, and read it.

        Args:
            abandon_grace: Seconds for which it goes on after the last one has left; None: as said
                before.
        """
        if abandon_grace is not None:
            self.abandon_grace = abandon_grace
        if self._abandonment is not None:
            self._abandonment.cancel()
        self._attached_count += 1
        try:
            with self.read():
                yield
        finally:
            self._attached_count -= 1
            if not self._attached_count and not self.is_over and not self.is_detached:
                await self._be_abandoned()

    @contextmanager
    def read(self) -> Iterator[None]:
        """Keep what it takes to read the optimization in memory while the context is open."""
        self._reader_count += 1
        try:
            yield
        finally:
            self._reader_count -= 1
            self._note_use()

    async def kept(self) -> None:
        """Wait until the store has it, and it waits or runs.

        Raises:
            Exception: What kept it from that.
        """
        await self._kept.wait()
        if self.is_over and self._log is None:
            await self.result()

    async def begun(self, patience: float | None = None) -> bool:
        """Wait until there is a log to follow.

        Returns:
            False when `patience` seconds passed before that.

        Raises:
            Exception: What has interrupted it before.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._begun.wait()
        if self._log is None and self.is_over:
            await self.result()
        return self._log is not None

    async def result(self) -> OptimizationResult:
        """Wait for the end and return the result, which is made once, whoever asks.

        Raises:
            OptimizationInterruptedError: The server stops.
            StoreUnavailableError: It cannot be kept.
        """
        return await asyncio.shield(self._task)

    def cancel(self, reason: str) -> None:
        """Stop it: what has completed is ranked."""
        if self._cancel_reason is None:
            self._cancel_reason = reason
            self._stop()

    def detach(self) -> None:
        """Let it go on from now on, whoever leaves."""
        self.is_detached = True
        if self._abandonment is not None:
            self._abandonment.cancel()

    def leave(self) -> None:
        """Stop it so that it can be carried on: what has completed is kept."""
        self._is_left = True
        self._stop()

    async def over(self) -> None:
        """Wait until nothing changes any more."""
        await asyncio.wait([self._task])

    def free(self) -> None:
        """Give back what it takes to read it."""
        if self._place is not None:
            self._means.places.close(self._place)

    async def _be_abandoned(self) -> None:
        if self.abandon_grace > 0:
            loop = asyncio.get_running_loop()
            self._abandonment = loop.call_later(self.abandon_grace, self.cancel, CLIENT_LEFT)
            return
        self.cancel(CLIENT_LEFT)
        await self.over()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        elif self._turn is not None:
            self._turn.cancel()

    @property
    def _is_stopped(self) -> bool:
        return self._is_left or self._cancel_reason is not None

    async def _run(self) -> OptimizationResult:
        try:
            return await self._live()
        except Exception as error:
            await self._stand_still(error)
            raise
        finally:
            if self._abandonment is not None:
                self._abandonment.cancel()
            if self._place is not None:
                self._place.leave()
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """Wake who waits for what will not come, once the task is over."""
        if not self._task.cancelled():
            self._task.exception()  # nobody may be waiting
        self._begun.set()
        self._kept.set()
        self._note_use()

    def _note_use(self) -> None:
        if self.is_over and not self.is_followed:
            self._on_unused(self)

    async def _live(self) -> OptimizationResult:
        await self._hold()
        ready = self._ready or await self._its_turn()
        if ready is None:
            return await self._end_without_running()
        self._ready = None
        self._place = ready.place
        return await self._go(ready)

    async def _hold(self) -> None:
        store, record = self._store.store, self._record
        if self._is_new:
            await self._store(store.create, record)
        else:
            self._record = await self._store(store.claim, record.caller, record.optimization_id)
        self._is_held = True

    async def _its_turn(self) -> ReadyOptimization | None:
        """Wait until others have ended; None: stopped before."""
        if not self._is_stopped:
            await self._queue()
        self._kept.set()
        if self._is_stopped:
            return None
        record = self._record
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
        return await self._means.preparer.prepare_again(self.request, memory, record)

    async def _queue(self) -> None:
        store, record = self._store.store, self._record
        if record.state is OptimizationState.QUEUED:
            return
        if record.state is OptimizationState.RUNNING:  # by a process that is gone
            await self._move(replace(record, state=OptimizationState.INTERRUPTED))
            await self._store(store.claim, record.caller, record.optimization_id)
        await self._move(replace(self._record, state=OptimizationState.QUEUED))

    async def _go(self, ready: ReadyOptimization) -> OptimizationResult:
        prepared, preparer = ready.prepared, self._means.preparer
        log = None if self._is_new else await preparer.load(self._record)
        if log is not None and log.count == log.total_count:
            return await self._end_without_running()
        taken_over = ready.taken_over
        if taken_over is None:
            taken_over = await preparer.taken_over(self._record.caller, self.request, prepared, log)
        if self._record.state is not OptimizationState.RUNNING:
            await self._move(_running_now(self._record))
        record, store = self._record, self._store.store
        running = preparer.optimizer.start(
            prepared,
            optimization_id=record.optimization_id,
            labels=record.labels,
            memory=ready.place.memory,
            open_journal=partial(store.journal, record.caller, record.optimization_id),
            log=log,
            taken_over=taken_over,
        )
        async with running:
            self._running, self._prepared, self._log = running, prepared, running.log
            self._begun.set()
            self._kept.set()
            if self._is_stopped:
                running.cancel()
            await running.completed()
            if self._is_left:
                raise await self._left()
            result, _ = await asyncio.gather(
                running.concluded(),
                self._store(store.conclude, record.caller, record.optimization_id),
            )
        await self._end(result)
        return result

    async def _end_without_running(self) -> OptimizationResult:
        """End what was cancelled before it ran, or of which nothing is missing."""
        if self._is_left:
            raise await self._left()
        record, preparer = self._record, self._means.preparer
        log = await preparer.load(record)
        running_seconds = 0.0
        if log is None:
            log = OutcomeLog(record.total_count)
            log.runs.clear()
        else:
            running_seconds = log.runs.pop().start_elapsed
        log.runs = log.runs or [Run(0, time.time_ns(), 0.0)]
        log.close()
        config = await in_background(preparer.messages.read_started, record.started)
        prepared = await in_background(readable, config)
        self._prepared, self._log = prepared, log
        result = await in_background(conclude, prepared, log, running_seconds)
        if record.state is OptimizationState.INTERRUPTED and result.state is not _CANCELLED:
            await self._move(_running_now(record))
        await self._end(result, end_time=log.runs[0].start_time if not log.count else None)
        self._begun.set()
        return result

    async def _end(self, result: OptimizationResult, end_time: int | None = None) -> None:
        message = result.message
        if result.state is _CANCELLED:
            message = self._cancel_reason or ""
        await self._move(
            replace(
                self._record,
                state=result.state,
                completed_count=result.succeeded_count + result.failed_count,
                failed_count=result.failed_count,
                running_seconds=result.execution_time,
                end_time=end_time or time.time_ns(),
                message=message,
            )
        )

    async def _left(self) -> OptimizationInterruptedError:
        """Write how far it has come, and return what to tell who follows."""
        record = self._counted(self._record) if self._log is not None else self._record
        await self._move(record)
        return interruption(replace(record, message="its server stops"))

    async def _stand_still(self, error: Exception) -> None:
        """Say in the store, as far as that can be written, that nothing runs any more."""
        if self._is_left or not self._is_held or self._record.state.is_ended:
            return
        logger.warning("optimization %s stands still: %s", self._record.optimization_id, error)
        record = self._counted(self._record) if self._log is not None else self._record
        record = replace(record, state=OptimizationState.INTERRUPTED, message=str(error))
        with contextlib.suppress(StoreUnavailableError):
            await self._move(record)
        self._record = record

    async def _move(self, record: OptimizationRecord) -> None:
        await self._store(self._store.store.move, record)
        self._record = record

    def _counted(self, record: OptimizationRecord) -> OptimizationRecord:
        """Return a record with the counts of the log."""
        return replace(
            record,
            completed_count=self.log.count,
            failed_count=int(self.log.is_failure().sum()),
            running_seconds=record.running_seconds
            if self._running is None
            else self._running.elapsed,
        )


_CANCELLED = OptimizationState.CANCELLED


def _running_now(record: OptimizationRecord) -> OptimizationRecord:
    start_time = record.start_time or time.time_ns()
    return replace(record, state=OptimizationState.RUNNING, start_time=start_time, message="")
