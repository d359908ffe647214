"""A slot's way through starts, deaths and late messages, on simulated workers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from stratsweep_server.execution import slot as slot_module
from stratsweep_server.execution.activity import RunningBacktest
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.messages import (
    MalformedMessageError,
    MessageKind,
    encode_start_failed,
)
from stratsweep_server.execution.outcomes import FailureKind
from stratsweep_server.execution.scheduler import Chunk, CombinationQueue
from stratsweep_server.execution.slot import Assignment, Slot, SlotState

from tests.unit.execution.simulated import (
    Fate,
    SimulatedLauncher,
    SimulatedWorker,
    outcomes_body,
)
from tests.waiting import until


class Owner:
    """A pool that only notes what it is told."""

    def __init__(self) -> None:
        self.idle_count = 0
        self.failures = []
        self.returned = []
        self.start_errors = []

    def slot_ready(self, description) -> None:
        pass

    def slot_idle(self, slot) -> None:
        self.idle_count += 1

    def slot_failed_to_start(self, slot) -> None:
        self.start_errors.append(slot.start_error)

    def outcomes_arrived(self, chunk, outcomes) -> None:
        chunk.done_count += len(outcomes.batch)

    def backtest_failed(self, chunk, failure) -> None:
        self.failures.append(failure)

    def chunk_returned(self, chunk, innocent, suspect, busy_duration) -> None:
        self.returned.append((innocent, suspect))


@asynccontextmanager
async def supervised(launcher: SimulatedLauncher):
    """A slot with its supervisor running."""
    slot = Slot(0, launcher, Owner(), start_timeout=60.0, limits=WorkerLimits())
    supervisor = asyncio.create_task(slot.supervise())
    try:
        yield slot
    finally:
        launcher.may_reap.set()
        slot.close()
        await supervisor
        launcher.close()
    assert slot.state is SlotState.CLOSED


def assignment_of(count: int, *, chunk_id: int = 1, alone: bool = False) -> Assignment:
    queue = CombinationQueue(np.arange(0))
    return Assignment(Chunk(chunk_id, queue, np.arange(count), alone), 1, b"", 60.0)


async def idle(slot: Slot) -> None:
    await until(lambda: slot.is_idle, "the slot is idle")


async def being_reaped(slot: Slot) -> None:
    await until(lambda: slot.state is SlotState.REPLACING, "the worker is being reaped")


async def test_a_chunk_runs_and_the_slot_is_idle_again():
    async with supervised(SimulatedLauncher()) as slot:
        await idle(slot)
        assignment = assignment_of(5)
        slot.assign(assignment)
        assert slot.state is SlotState.RUNNING
        await idle(slot)
        assert assignment.chunk.is_done
        assert slot.chunk is None


async def test_a_busy_slot_takes_no_second_chunk():
    async with supervised(SimulatedLauncher(lambda index: Fate.HANG)) as slot:
        await idle(slot)
        slot.assign(assignment_of(1))
        with pytest.raises(RuntimeError, match="slot 0 is running"):
            slot.assign(assignment_of(1))


async def test_a_death_makes_its_combination_a_suspect_and_gives_the_others_back():
    fates = {2: Fate.DIE}
    launcher = SimulatedLauncher(lambda index: fates.get(index, Fate.SUCCEED))
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5))
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((3, 4), 2)]
        assert slot._owner.failures == []


async def test_a_suspect_that_dies_alone_has_crashed():
    launcher = SimulatedLauncher(lambda index: Fate.DIE)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(1, alone=True))
        await until(lambda: launcher.start_count == 2, "it was replaced")
        (failure,) = slot._owner.failures
        assert failure.kind is FailureKind.CRASHED
        assert failure.message == "the worker process exited with code 3"


@pytest.mark.parametrize("late", ["cancel", "close", "release"])
async def test_nobody_speaks_to_a_worker_that_is_being_reaped(late):
    launcher = SimulatedLauncher(lambda index: Fate.DIE)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(1))
        launcher.may_reap.clear()
        await being_reaped(slot)
        if late == "cancel":
            slot.cancel()
        elif late == "close":
            slot.close()
        else:
            slot.release_plan(1)
        assert slot.worker_pid is None


async def test_the_dead_get_no_new_chunk_though_their_last_outcomes_come_late():
    launcher = SimulatedLauncher(lambda index: Fate.HANG)
    async with supervised(launcher) as slot:
        await idle(slot)
        assignment = assignment_of(2)
        slot.assign(assignment)
        (worker,) = launcher.workers
        worker.last_message = outcomes_body(1, 0, [Fate.SUCCEED] * 2)
        worker.die()
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert assignment.chunk.is_done
        assert slot._owner.idle_count == 0
        assert slot._owner.returned == []


async def test_a_slot_whose_worker_has_just_died_is_not_idle():
    launcher = SimulatedLauncher()
    async with supervised(launcher) as slot:
        await idle(slot)
        launcher.workers[0].die()
        slot._exited.set()
        assert slot.state is SlotState.IDLE
        assert not slot.is_idle


async def test_each_failure_to_start_has_its_own_cause():
    def start(number: int) -> SimulatedWorker:
        worker = SimulatedWorker(number, lambda index: Fate.SUCCEED, is_ready=number > 2)
        loop = asyncio.get_running_loop()
        if number == 1:
            body = encode_start_failed("no licence")[5:]
            loop.call_later(0, lambda: worker.say(MessageKind.START_FAILED, body))
        elif number == 2:
            loop.call_later(0, worker.die)
        return worker

    launcher = SimulatedLauncher(start=start)
    async with supervised(launcher) as slot:
        await idle(slot)
        assert slot._owner.start_errors == [
            "no licence",
            "the worker process exited with code 3",
        ]
        assert slot.start_failure_count == 0


async def test_a_launcher_that_raises_is_a_failure_to_start():
    def start(number: int) -> SimulatedWorker:
        if number == 1:
            raise OSError("too many open files")
        return SimulatedWorker(number, lambda index: Fate.SUCCEED)

    async with supervised(SimulatedLauncher(start=start)) as slot:
        await idle(slot)
        (error,) = slot._owner.start_errors
        assert "too many open files" in error


@pytest.mark.parametrize("kind", [MessageKind.PLAN, MessageKind.CHUNK, MessageKind.RELEASE])
async def test_what_only_a_server_may_say_is_refused_from_a_worker(kind):
    launcher = SimulatedLauncher()
    async with supervised(launcher) as slot:
        await idle(slot)
        with pytest.raises(MalformedMessageError, match=f"{kind.name} while idle"):
            launcher.workers[0].say(kind, b"")


@pytest.mark.parametrize("offset", [5, 2**63])
async def test_words_that_a_backtest_has_overwritten_hide_no_hang(offset, monkeypatch):
    monkeypatch.setattr(slot_module, "_STALL_RECHECK_SECONDS", 0.0)
    launcher = SimulatedLauncher(lambda index: Fate.HANG)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5))
        (worker,) = launcher.workers
        await until(lambda: worker.activity.words is not None, "it hangs")
        worker.activity.words = RunningBacktest(1, offset, worker.activity.words.start_time)
        slot._check_deadline()
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((1, 2, 3, 4), 0)]
