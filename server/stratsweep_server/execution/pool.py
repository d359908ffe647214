"""Run workloads on worker processes: slots, and a scheduler that shares them fairly.

    optimization ─submit─▶ Workload ─queue─▶ FairScheduler ─chunk─▶ Slot ─frame─▶ worker process
         ▲                     │                                     │
         └──── on_outcomes ◀───┴────────── outcomes, failures ◀──────┘

All of it lives on one event loop and nothing polls: a slot that becomes idle asks the scheduler, a
submit offers work to the idle slots.

Who runs what:
- the event loop: slots (one task each), scheduling, messages, deadlines, outcomes;
- the launcher's thread: starts processes; the reaper's thread: joins dead ones;
- two threads of each slot's executor: idle, since no work goes through it;
- in a worker: the main thread runs backtests; one thread waits for the server's end, one sends
  outcomes that would wait for a slow neighbour.

What is pure stands apart: `scheduler` (fair choice, chunk sizes), `generation` (whose code a slot
serves), `blame` (who is guilty), `output` (what of a worker's prints is logged).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias

import numpy as np
from loky import cpu_count
from numpy.typing import NDArray

from stratsweep_server.backtest import EngineDescription
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.backtest.sources import ModuleSource
from stratsweep_server.execution import messages
from stratsweep_server.execution.generation import (
    Generation,
    Generations,
    LoadedSource,
    find_changes,
    log_changes,
)
from stratsweep_server.execution.launcher import Launcher
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.messages import Outcomes
from stratsweep_server.execution.outcomes import BacktestFailure, OutcomeBatch
from stratsweep_server.execution.packed_engine import pack_engine
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.reloading import Reloader, Trial
from stratsweep_server.execution.run_directory import RunDirectory
from stratsweep_server.execution.scheduler import (
    CHUNK_SECONDS,
    Chunk,
    CombinationQueue,
    FairScheduler,
    RunMode,
)
from stratsweep_server.execution.shared_bars import SharedBars, SharedBarsFiles
from stratsweep_server.execution.slot import Assignment, Slot
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 120.0
NO_LIMITS = WorkerLimits()
_START_FAILURES_TO_GIVE_UP = 3
_LOGGED_START_ERRORS = 20  # until a worker is ready
_CHUNKS_PER_TIMEOUT = 4  # a batch that takes longer than expected is not taken for a hang

OutcomeListener: TypeAlias = Callable[[OutcomeBatch], None]
AvailabilityListener: TypeAlias = Callable[[bool], None]


class WorkersUnavailableError(Exception):
    """Report that no worker process starts, so nothing can run. The text has the last cause."""


class RunningWorkload(Protocol):
    """Follow the backtests that a pool was given."""

    async def wait(self) -> None:
        """Return when every combination has its outcome, or when cancelled.

        Raises:
            WorkersUnavailableError: Workers stopped starting.
        """

    def cancel(self) -> None:
        """Drop what is pending and free the workers at once."""


class BacktestPool(Protocol):
    """Run backtests in parallel. `WorkerPool` is the one that does; tests may give another."""

    @property
    def worker_count(self) -> int:
        """Return how many backtests run at a time."""

    def share(self, bars: Sequence[Bars]) -> SharedBars:
        """Write bars into a file that workers can map; takes as long as the writing.

        Where a workload has the same bars, its file is shared.

        Raises:
            StorageUnavailableError: There is no place for them.
        """

    async def describe_engine(self) -> EngineDescription:
        """Return what the engine declares; waits for the first worker.

        Raises:
            WorkersUnavailableError: No worker starts.
        """

    @property
    def generation(self) -> Generation:
        """Return the code that new optimizations run on; `describe_engine` describes it."""

    async def loaded_sources(self) -> Sequence[LoadedSource]:
        """Return the user's modules in that generation, by name, and whether they have changed."""

    def submit(
        self,
        plan: BacktestPlan,
        indices: NDArray[np.int64],
        *,
        backtest_timeout: float,
        on_outcomes: OutcomeListener,
        generation: Generation | None = None,
        bars: SharedBars | None = None,
    ) -> RunningWorkload:
        """Start to run combinations, by index; `on_outcomes` is called for each batch of outcomes.

        All of them run on the code of one generation; without one, on the current. The bars must
        stay open until the workload has ended.

        Raises:
            WorkersUnavailableError: No worker starts.
        """


def _ignore(batch: OutcomeBatch) -> None:
    """Listen no more."""


class Workload:
    """Track the backtests of one optimization in a `WorkerPool`."""

    def __init__(
        self,
        pool: WorkerPool,
        plan_id: int,
        plan: BacktestPlan,
        queue: CombinationQueue,
        backtest_timeout: float,
        on_outcomes: OutcomeListener,
        bars: SharedBars | None,
    ) -> None:
        self.plan_id = plan_id
        self.plan_frame = messages.encode_plan(plan_id, plan)
        self.bars = bars
        self.queue = queue
        self.backtest_timeout = backtest_timeout
        self._pool = pool
        self._on_outcomes = on_outcomes
        self._missing_count = queue.pending_count
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._missing_count == 0:
            self._end.set_result(None)

    async def wait(self) -> None:
        """Return when every combination has its outcome, or when cancelled."""
        await asyncio.shield(self._end)

    def cancel(self) -> None:
        """Drop what is pending and free the workers at once."""
        self.finish()

    def add(self, batch: OutcomeBatch) -> None:
        """Pass outcomes on, and finish after the last one."""
        if self._end.done():
            return
        try:
            self._on_outcomes(batch)
        except Exception as error:
            self.finish(error)
            return
        self._missing_count -= len(batch)
        if self._missing_count == 0:
            self.finish()

    def finish(self, error: Exception | None = None) -> None:
        """End the workload, whatever is still running."""
        if self._end.done():
            return
        # Breaks a cycle of references, since whoever listens holds this workload: large outcomes
        # would wait for the garbage collector, which seldom runs where there are few objects.
        self._on_outcomes = _ignore
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)
        self._pool.forget(self)


class WorkerPool:
    """Run backtests in `max_workers` processes. Use it as an async context manager.

    Args:
        engine: What each worker builds its engine from.
        max_workers: Processes; default: the CPUs that this process may use, counting affinity and
            cgroup limits.
        start_method: `forkserver` or `spawn`; default: the better one of this platform.
        directory: Where to put shared files; default: the system's temporary directory.
        start_timeout: Seconds a worker may take to be ready.
        limits: What each worker may use, and when it is replaced.
        on_availability: Called with False when no worker starts any more, and with True when one
            does.

    Raises:
        EngineLoadError: On entering, when the engine cannot be sent to another process.
    """

    def __init__(
        self,
        engine: EngineSpec,
        *,
        max_workers: int | None = None,
        start_method: str | None = None,
        directory: Path | None = None,
        start_timeout: float = START_TIMEOUT_SECONDS,
        limits: WorkerLimits = NO_LIMITS,
        on_availability: AvailabilityListener | None = None,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        self._worker_count = max_workers or cpu_count()
        self._engine = engine
        self._start_method = start_method
        self._parent_directory = directory
        self._start_timeout = start_timeout
        self._limits = limits
        self._on_availability = on_availability
        self._scheduler = FairScheduler(self._worker_count)
        self._workloads: dict[CombinationQueue, Workload] = {}
        self._plan_ids = itertools.count(1)
        self._bars_files = SharedBarsFiles()
        self._slots: list[Slot] = []
        self._reloader = Reloader(self._new_trial, self._adopt)
        self._logged_sources: Sequence[ModuleSource] | None = None
        self._searches: set[asyncio.Task[object]] = set()
        self._unavailable_cause: str | None = None
        self._logged_start_errors: set[str | None] = set()
        self._first_report = asyncio.Event()

    @property
    def worker_count(self) -> int:
        """Return how many backtests run at a time."""
        return self._worker_count

    def share(self, bars: Sequence[Bars]) -> SharedBars:
        """Write bars into a file that workers can map; see `BacktestPool.share`."""
        try:
            return self._bars_files.share(bars, self._run_directory.ensure())
        except OSError as error:
            raise self._run_directory.unavailable(error) from error

    @property
    def generation(self) -> Generation:
        """Return the code that new optimizations run on."""
        return self._generations.current

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Return the slots, for the operator's view."""
        return tuple(self._slots)

    async def __aenter__(self) -> WorkerPool:
        engine = pack_engine(self._engine)
        self._run_directory = await asyncio.to_thread(RunDirectory, self._parent_directory)
        self._launcher = Launcher(engine, self._limits, self._start_method)
        self._generations = Generations(self._run_directory.path, engine.inputs)
        self._slots = [
            Slot(number, self.generation, self._launcher, self, self._start_timeout, self._limits)
            for number in range(self._worker_count)
        ]
        self._supervisors = [asyncio.create_task(slot.supervise()) for slot in self._slots]
        self._supervisors.append(asyncio.create_task(self._reloader.run()))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._unavailable_cause = "the worker pool was closed"
        self._first_report.set()
        for workload in list(self._workloads.values()):
            workload.finish(self._unavailable_error())
        for slot in self._slots:
            slot.close()
        for search in self._searches:
            search.cancel()
        self._reloader.close()
        self._launcher.stop_starting()
        try:
            await asyncio.gather(*self._supervisors)
        finally:
            self._launcher.close()
            self._generations.close()
            await asyncio.to_thread(self._run_directory.close)

    async def describe_engine(self) -> EngineDescription:
        """Return what the engine declares; waits for the first worker."""
        while self.generation.description is None:
            await self._first_report.wait()
            self._require_workers()
        return self.generation.description

    async def loaded_sources(self) -> tuple[LoadedSource, ...]:
        """Return the user's modules in the current generation, and log which files have changed."""
        generation = self.generation
        changes = await asyncio.to_thread(find_changes, generation.sources)
        generation.tell_of_changes(changes)
        return tuple(
            LoadedSource(each, generation.load_time, each in changes) for each in generation.sources
        )

    def reload(self) -> None:
        """Load engine and strategies anew, for what is submitted from then on. Returns at once.

        What runs goes on with what it began with. If they cannot be loaded, the log says why, and
        what was loaded before goes on serving.
        """
        self._reloader.request()

    def submit(
        self,
        plan: BacktestPlan,
        indices: NDArray[np.int64],
        *,
        backtest_timeout: float,
        on_outcomes: OutcomeListener,
        generation: Generation | None = None,
        bars: SharedBars | None = None,
        weight: float = 1.0,
    ) -> Workload:
        """Start to run combinations; see `BacktestPool.submit`.

        Args:
            plan: What they have in common.
            indices: int64, unique, each in [0, plan.grid_size).
            backtest_timeout: Seconds that each backtest may take, from its own start.
            on_outcomes: Called on the event loop with each batch.
            generation: The code to run them on, current or not; default: the current.
            bars: What `share` made of the plan's bars; open until the workload has ended.
            weight: Share of the workers relative to other workloads.
        """
        self._require_workers()
        chunk_seconds = min(CHUNK_SECONDS, backtest_timeout / _CHUNKS_PER_TIMEOUT)
        generation = generation or self.generation
        queue = CombinationQueue(indices, weight, chunk_seconds, generation.number)
        workload = Workload(
            self, next(self._plan_ids), plan, queue, backtest_timeout, on_outcomes, bars
        )
        if queue.pending_count:
            self._generations.keep(generation)
            self._workloads[queue] = workload
            self._scheduler.add(queue)
            self._offer_work()
            self._look_for_changes()
        return workload

    def forget(self, workload: Workload) -> None:
        """Stop what runs of a workload that has ended, and let the workers forget its plan."""
        self._workloads.pop(workload.queue, None)
        self._scheduler.remove(workload.queue)
        for slot in self._slots:
            slot.forget_plan(workload.plan_id)
        self._retire_generations()

    # What slots ask and report.

    def generation_for(self, slot: Slot) -> Generation:
        """Return the generation that a slot should serve next."""
        if self._generations.is_single:
            return self.generation
        weights: dict[int, float] = {}
        for queue in self._scheduler.queues:
            if queue.pending_count:
                weights[queue.generation] = weights.get(queue.generation, 0.0) + queue.weight
        others = [other.generation.number for other in self._slots if other is not slot]
        return self._generations.choose(slot.generation.number, others, weights)

    def slot_ready(self) -> None:
        """Note that a new worker is ready, and give it work."""
        self._logged_start_errors.clear()
        if self._logged_sources is None:
            self._log_sources()
        if self._unavailable_cause is not None or not self._first_report.is_set():
            self._unavailable_cause = None
            self._first_report.set()
            if self._on_availability is not None:
                self._on_availability(True)
        self._offer_work()

    def slot_free(self, slot: Slot) -> None:
        """Give a chunk to a slot that can take one, at once or ahead."""
        self._feed(slot)

    def slot_failed_to_start(self, slot: Slot) -> None:
        """Hear that a worker ended before it was ready; give up when all slots failed often."""
        self._log_start_failure(slot)
        slot.generation.start_over()
        hopeless = all(
            slot.start_failure_count >= _START_FAILURES_TO_GIVE_UP for slot in self._slots
        )
        if hopeless and self._unavailable_cause is None:
            self._unavailable_cause = slot.start_error or "unknown"
            self._first_report.set()
            if self._on_availability is not None:
                self._on_availability(False)
            for workload in list(self._workloads.values()):
                workload.finish(self._unavailable_error())
        self._offer_work()  # a suspect that waited for this slot needs another one

    def outcomes_arrived(self, chunk: Chunk, outcomes: Outcomes) -> None:
        """Take the outcomes of the next combinations of a chunk."""
        self._scheduler.completed(chunk, len(outcomes.batch), outcomes.busy_duration)
        self._deliver(chunk, outcomes.batch)

    def backtest_failed(self, chunk: Chunk, failure: BacktestFailure) -> None:
        """Take the failure of one combination that timed out or crashed and is not run again."""
        self._deliver(chunk, OutcomeBatch.of_failure(failure))

    def chunk_returned(
        self,
        chunk: Chunk,
        innocent: tuple[int, ...],
        suspect: int | None,
        busy_duration: float,
        *,
        apart: bool = False,
    ) -> None:
        """Queue what a lost worker left undone: the innocent go first, the suspect runs alone."""
        self._scheduler.abandon(chunk, busy_duration)
        chunk.queue.give_back(innocent, apart=apart or chunk.mode is RunMode.APART)
        if suspect is not None:
            chunk.queue.suspect(suspect)
        self._offer_work()

    # Work and workers.

    def _deliver(self, chunk: Chunk, batch: OutcomeBatch) -> None:
        workload = self._workloads.get(chunk.queue)
        if workload is not None:
            workload.add(batch)

    def _offer_work(self) -> None:
        for slot in self._slots:
            self._feed(slot)

    def _feed(self, slot: Slot) -> None:
        if not (slot.is_idle or slot.can_queue):
            return
        generation = self.generation_for(slot)
        if generation is not slot.generation:
            if slot.is_idle:
                slot.renew(generation)
            return
        if slot.is_idle and not self._give_chunk(slot):
            self._renew_for_suspects(slot)
        if slot.can_queue:
            self._give_chunk(slot)

    def _give_chunk(self, slot: Slot) -> bool:
        chunk = self._scheduler.next_chunk(
            fresh_worker=slot.is_fresh,
            ahead=not slot.is_idle,
            generation=slot.generation.number,
        )
        if chunk is None:
            return False
        workload = self._workloads[chunk.queue]
        slot.assign(
            Assignment(
                chunk,
                workload.plan_id,
                workload.plan_frame,
                workload.backtest_timeout,
                workload.bars,
            )
        )
        return True

    def _renew_for_suspects(self, slot: Slot) -> None:
        """Suspects wait for a fresh worker; when none is on its way, make this idle one fresh."""
        generation = slot.generation
        if not any(
            queue.has_suspects
            for queue in self._scheduler.queues
            if queue.generation == generation.number
        ):
            return
        renewing = (other for other in self._slots if other.is_renewing)
        if not any(other.generation is generation for other in renewing):
            slot.renew(generation)

    # Generations.

    def _new_trial(self) -> Trial:
        generation = self._generations.new(self._run_directory.ensure())
        return Trial(generation, self._launcher, self._start_timeout)

    def _adopt(self, generation: Generation) -> None:
        """New optimizations run on this generation from now on."""
        self._generations.adopt(generation)
        if not self._log_sources():
            logger.info("no module has changed")
        logger.info(
            "new optimizations run on what is loaded now; %s on what was loaded before",
            counted(len(self._workloads), "running one"),
        )
        self._retire_generations()
        self._offer_work()

    def _log_sources(self) -> bool:
        """Tell in the log what is loaded, and was not; whether there is anything."""
        before, self._logged_sources = self._logged_sources or (), self.generation.sources
        return log_changes(before, self._logged_sources)

    def _retire_generations(self) -> None:
        """Forget those on which nothing runs any more: their workers are replaced."""
        if self._generations.retire(used={queue.generation for queue in self._workloads}):
            self._offer_work()

    def _look_for_changes(self) -> None:
        """Have the log tell of files that have changed; nobody waits for it."""
        if self._generations.current.sources and not self._searches:
            search = asyncio.create_task(self.loaded_sources())
            self._searches.add(search)
            search.add_done_callback(self._searches.discard)

    def _log_start_failure(self, slot: Slot) -> None:
        """Log each cause once, not for every worker and every attempt."""
        logged = self._logged_start_errors
        if slot.start_error in logged or len(logged) >= _LOGGED_START_ERRORS:
            return
        logged.add(slot.start_error)
        first_line, _, traceback = (slot.start_error or "").partition("\n")
        logger.error(
            "worker %d did not start: %s",
            slot.number,
            first_line,
            exc_info=slot.start_exception,
            extra={"traceback": traceback} if traceback else None,
        )

    def _require_workers(self) -> None:
        if self._unavailable_cause is not None:
            raise self._unavailable_error()

    def _unavailable_error(self) -> WorkersUnavailableError:
        return WorkersUnavailableError(f"no worker starts: {self._unavailable_cause}")
