"""Keep a server's optimizations: admit them, run each in a task of its own, give up what is left.

An optimization is an entry here, not a call. Calls attach to it; when the last one is gone, it is
given up at once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from stratsweep_server.optimization.memory import MemoryAccount, MemoryBudget
from stratsweep_server.optimization.optimizer import GridSearchOptimizer
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.running import RunningOptimization
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.texts import counted

DEFAULT_MAX_OPTIMIZATIONS = 64
_RETRY_SECONDS = 5.0


class TooManyOptimizationsError(Exception):
    """Report that the server runs as many optimizations as it is allowed to."""

    def __init__(self, limit: int, retry_seconds: float) -> None:
        self.limit = limit
        self.retry_seconds = retry_seconds
        running = counted(limit, "optimization")
        super().__init__(f"the server runs {running}, its limit; try again later")


def new_optimization_id() -> str:
    """Return an id that no other optimization has."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Place:
    """Hold one of the places for optimizations.

    Attributes:
        memory: What the optimization on it holds.
        holdings: Gives back the place and the memory when it is closed.
    """

    memory: MemoryAccount
    holdings: ExitStack


class OptimizationEntry:
    """Hold one optimization, which runs in a task of its own until it ends or is given up.

    Args:
        optimization_id: Its name.
        labels: What its client calls it.
        running: What is to run.
        holdings: Closed when no call is attached any more.

    Attributes:
        id: Its name.
        labels: What its client calls it.
        prepared: What runs.
        log: The outcomes so far.
    """

    def __init__(
        self,
        optimization_id: str,
        labels: Mapping[str, str],
        running: RunningOptimization,
        holdings: ExitStack,
    ) -> None:
        self.id = optimization_id
        self.labels = labels
        self.prepared: PreparedOptimization = running.prepared
        self.log: OutcomeLog = running.log
        self.running = running
        self._holdings = holdings
        self._attached_count = 0
        self._submission: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"optimization {optimization_id}")
        self._task.add_done_callback(self._settle_submission)

    @property
    def state(self) -> OptimizationState:
        """Return where it stands."""
        if not self._task.done():
            return OptimizationState.RUNNING
        if self._task.cancelled():
            return OptimizationState.CANCELLED
        return OptimizationState.FAILED if self._task.exception() else self._task.result().state

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Keep the optimization while the context is open; the last one to leave gives it up."""
        self._attached_count += 1
        try:
            yield
        finally:
            self._attached_count -= 1
            if not self._attached_count:
                await self.give_up()

    async def submitted(self) -> None:
        """Wait until the workers have it.

        Raises:
            StorageUnavailableError: Its bars cannot be shared.
        """
        await asyncio.shield(self._submission)

    async def result(self) -> OptimizationResult:
        """Wait for the end and return the result, which is made once, whoever asks."""
        return await asyncio.shield(self._task)

    async def give_up(self) -> None:
        """End it if it still runs, free what it holds, and wait until its task is over."""
        self.running.cancel()
        self._task.cancel()
        try:
            await asyncio.wait([self._task])
        finally:
            self._holdings.close()

    async def _run(self) -> OptimizationResult:
        async with self.running:
            self._submission.set_result(None)
            return await self.running.result()

    def _settle_submission(self, task: asyncio.Task[OptimizationResult]) -> None:
        """Tell who waits for the submission why there will be none."""
        error = None if task.cancelled() else task.exception()  # which is retrieved by that
        if self._submission.done():
            return
        if error is None:
            self._submission.cancel()
        else:
            self._submission.set_exception(error)
            self._submission.exception()  # nobody may be waiting


class Optimizations:
    """Admit optimizations by number and by memory, and keep those that run.

    Args:
        optimizer: Prepares and starts them.
        max_count: How many there may be at a time; more are refused.
        memory: What they share; default: nobody counts.
    """

    def __init__(
        self,
        optimizer: GridSearchOptimizer,
        max_count: int = DEFAULT_MAX_OPTIMIZATIONS,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.max_count = max_count
        self._memory = memory or MemoryBudget()
        self._place_count = 0
        self._entries: dict[str, OptimizationEntry] = {}

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Take a place, and give it back at the end unless an optimization was started on it.

        Raises:
            TooManyOptimizationsError: All are taken.
        """
        if self._place_count >= self.max_count:
            raise TooManyOptimizationsError(self.max_count, _RETRY_SECONDS)
        with ExitStack() as holdings:
            self._place_count += 1
            holdings.callback(self._give_back)
            yield Place(holdings.enter_context(self._memory.account()), holdings)

    def start(
        self,
        place: Place,
        prepared: PreparedOptimization,
        optimization_id: str,
        labels: Mapping[str, str],
    ) -> OptimizationEntry:
        """Start an optimization, which takes over the place; attach to it before anything else."""
        running = self.optimizer.start(
            prepared, optimization_id=optimization_id, labels=labels, memory=place.memory
        )
        holdings = place.holdings.pop_all()
        holdings.callback(self._entries.pop, optimization_id, None)
        entry = OptimizationEntry(optimization_id, labels, running, holdings)
        self._entries[optimization_id] = entry
        return entry

    async def close(self) -> None:
        """Give up what still runs."""
        await asyncio.gather(*(entry.give_up() for entry in list(self._entries.values())))

    def _give_back(self) -> None:
        self._place_count -= 1
