"""Keep one worker at a time running in a slot, the server's place for it, which outlives it.

    STARTING ──READY──▶ IDLE ──assign──▶ RUNNING ──last outcome──▶ IDLE
        │                │                  │
        └─────exit───────┴───────exit───────┴──▶ REPLACING ──▶ STARTING   (after a back-off when the
                                                     │                     worker never was ready)
                                                     └──▶ CLOSED

A RUNNING slot may hold one more chunk, which the worker finds in its socket when it is done: so a
busy event loop keeps no worker waiting. Until its turn comes it is nobody's fault and has no clock.

Everything here runs on the event loop. One task per slot, `supervise`, walks the states from one
worker's start to its end and starts the next; messages and timers are callbacks in between, and the
only thing they do to a worker is to kill it. Whatever the cause, the exit of the process is what
moves the slot on, so there is one place where a death is settled: `_settle`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution import messages
from stratsweep_server.execution.activity import Running
from stratsweep_server.execution.blame import assign_blame
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.launcher import Launcher
from stratsweep_server.execution.limits import WorkerLimits, WorkerUsage
from stratsweep_server.execution.messages import MessageKind, Outcomes
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind
from stratsweep_server.execution.process import WorkerProcess
from stratsweep_server.execution.scheduler import Chunk, RunMode
from stratsweep_server.execution.shared_bars import SharedBars
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

Callback: TypeAlias = Callable[[], None]

_FIRST_BACK_OFF_SECONDS = 0.1
_LONGEST_BACK_OFF_SECONDS = 10.0
_STALL_RECHECK_SECONDS = 1.0
_KEPT_PLAN_BYTES = 256 * 1024 * 1024


class SlotState(Enum):
    """Name where a slot is between one worker's start and the next one's."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    REPLACING = "replacing"
    CLOSED = "closed"


class KillReason(Enum):
    """Name why the server killed a worker."""

    TIMED_OUT = "timed out"
    STALLED = "made no progress"
    CANCELLED = "cancelled"
    MALFORMED = "sent garbage"
    START_FAILED = "could not build its engine"
    START_TIMED_OUT = "did not start in time"
    RECYCLED = "used up"
    CLOSING = "closing"


# The other reasons are the worker's own fault, and are settled like a death.
_SETTLED_BY_REASON = frozenset(
    {KillReason.TIMED_OUT, KillReason.CANCELLED, KillReason.RECYCLED, KillReason.CLOSING}
)


@dataclass(frozen=True, slots=True)
class Kill:
    """Record the decision to kill a worker: why, and for a timeout what ran, and for how long (s).

    A timeout without a guilty combination is a whole batch's.
    """

    reason: KillReason
    detail: str = ""
    chunk: Chunk | None = None
    guilty: int | None = None
    duration: float = 0.0


@dataclass(frozen=True, slots=True)
class Death:
    """Record a worker's end within a chunk: cause, last words, what ran, and for how long (s)."""

    cause: str
    last_words: str
    running: Running | None
    duration: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """Join a chunk with what its backtests need.

    Attributes:
        chunk: What to run.
        plan_id: The plan to run it by.
        plan_frame: The PLAN frame, for a worker that has not seen the plan.
        backtest_timeout: Seconds that each backtest may take.
        bars: What goes to the worker with the frame.
        is_cancelled: Whether it must not run; it was sent ahead.
        assign_time: Monotonic seconds.
    """

    chunk: Chunk
    plan_id: int
    plan_frame: bytes
    backtest_timeout: float
    bars: SharedBars | None = None
    is_cancelled: bool = False
    assign_time: float = field(default_factory=time.monotonic)

    @property
    def plan_bytes(self) -> int:
        """Return about how many bytes a worker keeps of the plan: values, and tables of bars."""
        bar_bytes = 0 if self.bars is None else self.bars.byte_count
        return 4 * len(self.plan_frame) + 2 * bar_bytes


class SlotOwner(Protocol):
    """Hear from a slot what its pool has to know."""

    def generation_for(self, slot: Slot) -> Generation:
        """Return the generation that the slot's next worker belongs to."""

    def slot_ready(self) -> None:
        """Hear that a new worker of the slot is ready."""

    def slot_free(self, slot: Slot) -> None:
        """Hear that the slot can take a chunk, at once or ahead."""

    def slot_failed_to_start(self, slot: Slot) -> None:
        """Hear that a worker ended before it was ready; see `slot.start_error`."""

    def outcomes_arrived(self, chunk: Chunk, outcomes: Outcomes) -> None:
        """Hear that the next combinations of a chunk have outcomes."""

    def backtest_failed(self, chunk: Chunk, failure: BacktestFailure) -> None:
        """Hear that one combination timed out or crashed and is not run again."""

    def chunk_returned(
        self,
        chunk: Chunk,
        innocent: tuple[int, ...],
        suspect: int | None,
        busy_duration: float,
        *,
        apart: bool = False,
    ) -> None:
        """Hear that a worker is gone and what has to run again: the suspect alone, or all apart."""


class Slot:
    """Keep a worker in one place, from its start to its end, and replace it.

    Args:
        number: 0-based, for logs.
        generation: The one that its first worker belongs to, if the owner does not choose another.
        launcher: Starts and reaps workers.
        owner: The pool.
        start_timeout: Seconds that a worker may take to be ready.
        limits: When a worker is replaced by a fresh one.
    """

    def __init__(
        self,
        number: int,
        generation: Generation,
        launcher: Launcher,
        owner: SlotOwner,
        start_timeout: float,
        limits: WorkerLimits,
    ) -> None:
        self.number = number
        self.generation = generation
        self._copies = generation.copies
        self.state = SlotState.REPLACING
        self.start_error: str | None = None
        self.start_exception: Exception | None = None
        self.start_failure_count = 0
        self._idle_death_count = 0
        self._launcher = launcher
        self._owner = owner
        self._start_timeout = start_timeout
        self._limits = limits
        self._usage = WorkerUsage()
        self._closing = asyncio.Event()
        self._exited = asyncio.Event()
        self._worker: WorkerProcess | None = None
        self._reapings: set[asyncio.Task[str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._kill: Kill | None = None
        self._assignment: Assignment | None = None
        self._queued: Assignment | None = None
        self._chunk_start = 0.0
        self._known_plans: dict[int, int] = {}  # what a worker keeps of each, the last used last
        self._is_fresh = True

    @property
    def is_idle(self) -> bool:
        """Return whether a chunk can be assigned."""
        return self.state is SlotState.IDLE and not self._is_ending

    @property
    def can_queue(self) -> bool:
        """Return whether a chunk can be assigned ahead."""
        is_running = self.state is SlotState.RUNNING and not self._is_ending
        return is_running and self._queued is None

    @property
    def is_renewing(self) -> bool:
        """Return whether a fresh worker is on its way, as far as one can tell."""
        is_starting = self.state in (SlotState.STARTING, SlotState.REPLACING)
        return (is_starting or self._is_ending) and self.start_failure_count == 0

    @property
    def is_fresh(self) -> bool:
        """Return whether the worker has run no backtest yet."""
        return self._is_fresh

    @property
    def chunk(self) -> Chunk | None:
        """Return the chunk that the worker is on; None when it is on none."""
        return self._assignment.chunk if self._assignment is not None else None

    @property
    def worker_pid(self) -> int | None:
        """Return the process id of the worker; None where there is none."""
        return self._worker.pid if self._worker is not None else None

    async def supervise(self) -> None:
        """Keep a worker in the slot until `close`."""
        while not self._closing.is_set():
            try:
                await self._run_one_worker()
            except Exception as error:  # whatever it was, a slot without a task would be lost
                if self._closing.is_set():  # starting was stopped
                    break
                self._note_start_failure(
                    f"the worker process could not be started: {error!r}", error
                )
            await self._back_off()
        await asyncio.gather(*self._reapings)
        self.state = SlotState.CLOSED

    def assign(self, assignment: Assignment) -> None:
        """Make the worker run a chunk, after the one it is on. It must be idle or able to queue."""
        worker = self._worker
        if worker is None or not (self.is_idle or self.can_queue):
            raise RuntimeError(f"slot {self.number} is {self.state.value}")
        data, descriptor = self._introduction(assignment)
        chunk = assignment.chunk
        data += messages.encode_chunk(
            assignment.plan_id, chunk.chunk_id, chunk.indices, apart=chunk.mode is RunMode.APART
        )
        if self.is_idle:
            self._begin(assignment)
        else:
            self._queued = assignment
        worker.send(data, descriptor)

    def forget_plan(self, plan_id: int) -> None:
        """Stop what runs of a plan, or would run next, and let the worker forget it."""
        running, queued = self._assignment, self._queued
        if running is not None and running.plan_id == plan_id and not running.chunk.is_done:
            self.cancel()
        elif queued is not None and queued.plan_id == plan_id:
            self._queued = replace(queued, is_cancelled=True)
        elif plan_id in self._known_plans and self._worker is not None:
            del self._known_plans[plan_id]
            self._worker.send(messages.encode_release(plan_id))

    def _introduction(self, assignment: Assignment) -> tuple[bytes, int | None]:
        """Return what the worker needs before the chunk: a plan that is new to it, and its bars.

        It knows so many plans as it has room for; the least recently used are forgotten.
        """
        plans, plan_id = self._known_plans, assignment.plan_id
        is_known = plan_id in plans
        plans[plan_id] = plans.pop(plan_id, assignment.plan_bytes)
        frames = []
        while len(plans) > 1 and sum(plans.values()) > _KEPT_PLAN_BYTES:
            oldest = next(iter(plans))
            del plans[oldest]
            frames.append(messages.encode_release(oldest))  # after what it still runs of it
        if is_known:
            return b"".join(frames), None
        frames.append(assignment.plan_frame)
        bars = assignment.bars
        return b"".join(frames), None if bars is None else bars.fileno()

    def cancel(self) -> None:
        """Give up the chunk at once: the worker is killed and replaced."""
        self._kill_worker(Kill(KillReason.CANCELLED))

    def renew(self, generation: Generation) -> None:
        """Replace an idle worker by a fresh one of a generation."""
        self.generation = generation
        self.cancel()

    def close(self) -> None:
        """End the worker and `supervise`."""
        self._closing.set()
        self._kill_worker(Kill(KillReason.CLOSING))

    # From one worker's start to its end.

    async def _run_one_worker(self) -> None:
        self.state = SlotState.STARTING
        self._kill, self._is_fresh, self.start_error = None, True, None
        self._known_plans.clear()
        self._exited.clear()
        self.generation = self._owner.generation_for(self)
        self._copies = self.generation.copies
        worker = self._worker = await self._launcher.start(self._copies)
        worker.attach(self._on_message, self._on_malformed, self._exited.set)
        self._set_timer(self._start_timeout, self._start_timed_out)
        if self._closing.is_set():
            worker.kill()
        await self._exited.wait()
        was_ready = self.state is not SlotState.STARTING
        words = worker.activity.running()
        worker.detach()
        self._worker = None  # its descriptors are closed: nobody may send to it or kill it now
        self._set_timer(None)
        self.state = SlotState.REPLACING
        cause = await self._cause_of_end(worker)
        if was_ready and self._kill is None and self._assignment is None:
            self._idle_death_count += 1
        self._settle(words, cause, worker.last_words())
        if not was_ready and not self._closing.is_set():
            self._note_start_failure(self.start_error or f"the worker process {cause}")

    async def _cause_of_end(self, worker: WorkerProcess) -> str:
        """Return how the process ended, in words; does not wait for the reaper after a kill."""
        reaping = asyncio.create_task(self._launcher.reap(worker))
        self._reapings.add(reaping)
        reaping.add_done_callback(self._reapings.discard)
        if self._kill is None:
            return await reaping
        return self._kill.detail or self._kill.reason.value

    async def _back_off(self) -> None:
        """Wait after starts that failed, and after a second death in idleness."""
        failure_count = max(self.start_failure_count, self._idle_death_count - 1)
        if failure_count == 0:
            return
        delay = _FIRST_BACK_OFF_SECONDS * 2 ** (failure_count - 1)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), min(delay, _LONGEST_BACK_OFF_SECONDS))

    def _note_start_failure(self, cause: str, exception: Exception | None = None) -> None:
        self.start_failure_count += 1
        self.start_error, self.start_exception = cause, exception
        self._owner.slot_failed_to_start(self)

    def _settle(self, words: Running | None, cause: str, last_words: str) -> None:
        """Give the combinations of the chunks of a lost worker what each has earned."""
        assignment, queued, kill = self._assignment, self._queued, self._kill
        self._assignment = self._queued = None
        if queued is not None:
            self._owner.chunk_returned(queued.chunk, tuple(queued.chunk.rest()), None, 0.0)
        if assignment is None or assignment.chunk.is_done:
            if kill is None and not self._closing.is_set():
                logger.warning("worker %d %s while it was idle", self.number, cause)
            return
        chunk, running = assignment.chunk, _believable(words, assignment)
        begin = running.start_time if running is not None else self._chunk_start
        duration = time.monotonic() - begin
        if kill is None or kill.reason not in _SETTLED_BY_REASON:
            death = Death(f"the worker process {cause}", last_words, running, duration)
            self._settle_death(chunk, death)
        elif kill.chunk is chunk:
            self._settle_timeout(chunk, kill, assignment.backtest_timeout)
        else:
            self._owner.chunk_returned(chunk, tuple(chunk.rest()), None, duration)

    def _settle_timeout(self, chunk: Chunk, kill: Kill, timeout: float) -> None:
        rest, guilty = chunk.rest(), kill.guilty
        innocent = tuple(index for index in rest if index != guilty)
        if guilty is None:
            logger.warning(
                "worker %d was killed: a batch of %s took longer than a backtest's "
                "timeout of %g s; they are run again, one after another",
                self.number,
                counted(len(rest), "combination"),
                timeout,
            )
        self._owner.chunk_returned(chunk, innocent, None, kill.duration, apart=guilty is None)
        if guilty is None or guilty not in rest:  # its outcome came while the kill was on its way
            return
        message = f"still running after its timeout of {timeout:g} s; its process was killed"
        failure = BacktestFailure(guilty, FailureKind.TIMED_OUT, message, duration=kill.duration)
        self._owner.backtest_failed(chunk, failure)

    def _settle_death(self, chunk: Chunk, death: Death) -> None:
        blame = assign_blame(chunk, death.running)
        is_final = chunk.mode is RunMode.ALONE
        if blame.suspect is None:
            self._warn_of_death(death, f"a batch of {len(blame.innocent)}, run again one by one")
        elif not is_final:
            self._warn_of_death(death, f"combination {blame.suspect}, which is run again alone")
        self._owner.chunk_returned(
            chunk,
            blame.innocent,
            None if is_final else blame.suspect,
            death.duration,
            apart=blame.suspect is None,
        )
        if is_final and blame.suspect is not None:
            failure = BacktestFailure(
                blame.suspect, FailureKind.CRASHED, death.cause, death.last_words, death.duration
            )
            self._owner.backtest_failed(chunk, failure)

    def _warn_of_death(self, death: Death, what_ran: str) -> None:
        logger.warning("worker %d: %s while it ran %s", self.number, death.cause, what_ran)

    # What a worker says.

    def _on_message(self, kind: MessageKind, body: bytes) -> None:
        if kind is MessageKind.OUTCOMES and self.state is SlotState.RUNNING:
            self._on_outcomes(messages.decode_outcomes(body, self._indices_of))
        elif kind is MessageKind.READY and self.state is SlotState.STARTING:
            self._on_ready(messages.decode_ready(body))
        elif kind is MessageKind.START_FAILED and self.state is SlotState.STARTING:
            self._give_start_up(body.decode(errors="replace").strip())
        else:
            raise messages.MalformedMessageError(f"{kind.name} while {self.state.value}")

    def _give_start_up(self, cause: str) -> None:
        self.start_error = cause
        self._kill_worker(Kill(KillReason.START_FAILED))

    def _on_ready(self, loaded: messages.Loaded) -> None:
        if self._is_ending:
            return
        if obstacle := self.generation.admit(loaded, self._copies):
            self._give_start_up(obstacle)
            return
        self._set_timer(None)
        self.state = SlotState.IDLE
        self.start_error, self.start_failure_count = None, 0
        self._usage = WorkerUsage()
        self._owner.slot_ready()

    def _on_outcomes(self, outcomes: Outcomes) -> None:
        chunk = self.chunk
        if chunk is None:
            raise messages.MalformedMessageError("outcomes without a chunk")
        self._owner.outcomes_arrived(chunk, outcomes)
        if chunk.is_done:
            self._usage.backtest_count += len(chunk.indices)
            self._end_chunk()

    def _end_chunk(self) -> None:
        queued, self._assignment, self._queued = self._queued, None, None
        if queued is not None:
            self._begin(queued)
        elif not self._is_ending:
            self._set_timer(None)
            self.state = SlotState.IDLE
        if not self._is_ending:
            self._recycle_or_offer()

    def _begin(self, assignment: Assignment) -> None:
        """Its turn has come: from now on it is what the worker runs."""
        self.state = SlotState.RUNNING
        self._is_fresh = False
        self._idle_death_count = 0
        self._assignment = assignment
        self._chunk_start = time.monotonic()
        self._set_timer(assignment.backtest_timeout, self._check_deadline)
        if assignment.is_cancelled:
            self.cancel()

    def _recycle_or_offer(self) -> None:
        worker = self._worker
        if worker is not None and self._usage.exceeds(self._limits, worker.pid):
            logger.info("worker %d has done its share and is replaced", self.number)
            self._kill_worker(Kill(KillReason.RECYCLED))
        else:
            self._owner.slot_free(self)

    def _indices_of(self, chunk_id: int, offset: int, count: int) -> NDArray[np.int64]:
        chunk = self.chunk
        if chunk is None or (chunk_id, offset) != (chunk.chunk_id, chunk.done_count):
            raise LookupError(f"chunk {chunk_id} is not at {offset}")
        if not 0 < count <= len(chunk.indices) - offset:
            raise LookupError(f"chunk {chunk_id} has no {counted(count, 'combination')} left")
        return chunk.indices[offset : offset + count]

    def _on_malformed(self, error: messages.MalformedMessageError) -> None:
        self._kill_worker(
            Kill(KillReason.MALFORMED, f"sent the server something that is no message: {error}")
        )

    @property
    def _is_ending(self) -> bool:
        # Messages are still read after the worker's exit: they must not bring it new work.
        return self._kill is not None or self._exited.is_set()

    # Deadlines.

    def _check_deadline(self) -> None:
        """Kill the worker if its backtest's time is up; else look again when it would be."""
        worker, assignment = self._worker, self._assignment
        if worker is None or assignment is None:
            return
        running = _believable(worker.activity.running(), assignment)
        now = time.monotonic()
        if running is None:
            self._check_stall(now, assignment)
            return
        remaining = running.start_time + assignment.backtest_timeout - now
        if remaining > 0:
            self._set_timer(remaining, self._check_deadline)
            return
        chunk, duration = assignment.chunk, now - running.start_time
        guilty = None if running.offset is None else int(chunk.indices[running.offset])
        self._kill_worker(Kill(KillReason.TIMED_OUT, chunk=chunk, guilty=guilty, duration=duration))

    def _check_stall(self, now: float, assignment: Assignment) -> None:
        # A worker is between two backtests for microseconds; one found there twice is stuck.
        done = assignment.chunk.done_count
        waited = now - assignment.assign_time

        def check_again() -> None:
            worker = self._worker
            if worker is None or self._assignment is not assignment:
                return
            is_running = _believable(worker.activity.running(), assignment) is not None
            if is_running or assignment.chunk.done_count != done:
                self._check_deadline()
            else:
                detail = f"made no progress for {waited:.0f} s and was killed"
                self._kill_worker(Kill(KillReason.STALLED, detail))

        self._set_timer(_STALL_RECHECK_SECONDS, check_again)

    def _start_timed_out(self) -> None:
        detail = f"was not ready after {self._start_timeout:g} s"
        self._kill_worker(Kill(KillReason.START_TIMED_OUT, detail))

    def _set_timer(self, delay: float | None, callback: Callback | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and callback is not None:
            self._timer = asyncio.get_running_loop().call_later(delay, callback)

    def _kill_worker(self, kill: Kill) -> None:
        if self._worker is not None and self._kill is None:
            self._kill = kill
            self._worker.kill()


def _believable(words: Running | None, assignment: Assignment) -> Running | None:
    """Return what a worker's shared words say of a chunk, as far as they can be believed."""
    chunk = assignment.chunk
    if words is None or words.chunk_id != chunk.chunk_id:
        return None
    # A backtest can have overwritten them.
    is_place = chunk.is_batch if words.offset is None else words.offset < len(chunk.indices)
    is_time = assignment.assign_time <= words.start_time <= time.monotonic()
    return words if is_place and is_time else None
