"""Hold one optimization for the calls that attach to it or read it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.life import Means, OptimizationLife, ReadyOptimization
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.request import OptimizationRequest
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.store import OptimizationRecord

CLIENT_LEFT = "its client left"


class OptimizationEntry:
    """Hold an optimization, which lives in a task of its own, whoever follows it.

    Args:
        record: What the store has of it, or is to have.
        request: What was asked for.
        means: What it is run with.
        ready: With what it runs at once; None: it waits for its turn.
        is_new: Whether the store does not have it yet.
        on_unused: Told when its task is over and nobody follows it.

    Attributes:
        key: Its caller and id.
        request: What was asked for.
        abandon_grace: Seconds for which it goes on after the last attached call has left.
        is_detached: Whether it goes on without a client.
        is_here: True: this process holds it.
    """

    is_here = True

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
        self.key = record.key
        self.request = request
        self.abandon_grace = request.abandon_grace or 0.0
        self.is_detached = record.is_detached
        self._life = OptimizationLife(record, request, means, ready=ready, is_new=is_new)
        self._places = means.places
        self._on_unused = on_unused
        self._attached_count = 0
        self._reader_count = 0
        self._abandonment: asyncio.TimerHandle | None = None
        name = f"optimization {record.optimization_id}"
        self._task = asyncio.create_task(self._run(), name=name)

    @property
    def record(self) -> OptimizationRecord:
        """Return where it stands now."""
        return self._life.current_record

    @property
    def is_over(self) -> bool:
        """Return whether nothing changes any more, as far as this process goes."""
        return self._task.done()

    @property
    def has_log(self) -> bool:
        """Return whether its outcomes are here: one that waits for its turn holds none."""
        return self._life.log is not None

    @property
    def is_interrupted(self) -> bool:
        """Return whether it is over without having ended."""
        return self.is_over and not self._life.record.state.is_ended

    @property
    def is_written(self) -> bool:
        """Return whether the store knows where it stands, as far as it is over."""
        return self._life.is_written

    @property
    def is_followed(self) -> bool:
        """Return whether a call is attached to it or reads it."""
        return self._reader_count > 0

    @property
    def started(self) -> bytes:
        """Return the serialized first event."""
        return self._life.record.started

    @property
    def started_time(self) -> int:
        """Return when it was asked for, in nanoseconds since the epoch."""
        return self._life.record.create_time

    @property
    def prepared(self) -> PreparedOptimization:
        """Return what runs; once it has begun."""
        if self._life.prepared is None:
            raise RuntimeError("the optimization has not begun")
        return self._life.prepared

    @property
    def config(self) -> OptimizationConfig:
        """Return the effective config; once it has begun."""
        return self.prepared.config

    @property
    def grid(self) -> GridColumns:
        """Return the parameters' values; once it has begun."""
        return self.prepared.grid

    @property
    def log(self) -> FollowedLog:
        """Return the outcomes so far; once it has begun."""
        if self._life.log is None:
            raise RuntimeError("the optimization has not begun")
        return self._life.log

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
        await self._life.kept.wait()
        if self.is_over and self._life.log is None:
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
                await self._life.begun.wait()
        if self._life.log is None and self.is_over:
            await self.result()
        return self._life.log is not None

    async def result(self) -> OptimizationResult:
        """Wait for the end and return the result, which is made once, whoever asks.

        Raises:
            OptimizationInterruptedError: The server stops.
            StoreUnavailableError: It cannot be kept.
        """
        return await asyncio.shield(self._task)

    def cancel(self, reason: str) -> None:
        """Stop it: what has completed is ranked."""
        self._life.cancel(reason)

    def detach(self) -> None:
        """Let it go on from now on, whoever leaves."""
        self.is_detached = True
        if self._abandonment is not None:
            self._abandonment.cancel()

    def leave(self) -> None:
        """Stop it so that it can be carried on: what has completed is kept."""
        self._life.leave()

    async def over(self, patience: float | None = None) -> None:
        """Wait until nothing changes any more, or until `patience` seconds have passed."""
        await asyncio.wait([self._task], timeout=patience)

    async def settle(self) -> None:
        """Write what the store could not take when it failed; see `OptimizationLife.settle`."""
        await self._life.settle()

    def free(self) -> None:
        """Give back what it takes to read it."""
        if self._life.place is not None:
            self._places.close(self._life.place)

    async def _be_abandoned(self) -> None:
        if self.abandon_grace > 0:
            loop = asyncio.get_running_loop()
            self._abandonment = loop.call_later(self.abandon_grace, self.cancel, CLIENT_LEFT)
            return
        self.cancel(CLIENT_LEFT)
        await self.over()

    async def _run(self) -> OptimizationResult:
        try:
            return await self._life.lead()
        finally:
            if self._abandonment is not None:
                self._abandonment.cancel()
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """Wake who waits for what will not come, once the task is over."""
        if not self._task.cancelled():
            self._task.exception()  # nobody may be waiting
        self._life.begun.set()
        self._life.kept.set()
        self._note_use()

    def _note_use(self) -> None:
        if self.is_over and not self.is_followed:
            self._on_unused(self)
