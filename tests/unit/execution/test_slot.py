"""A slot's way through starts, deaths and late messages, on simulated workers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.backtest.sources import CopyPlace
from stratsweep_server.execution import slot as slot_module
from stratsweep_server.execution.activity import Running
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.messages import (
    MalformedMessageError,
    MessageKind,
    encode_plan,
    encode_start_failed,
)
from stratsweep_server.execution.outcomes import FailureKind
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.scheduler import Chunk, CombinationQueue, RunMode
from stratsweep_server.execution.slot import Assignment, Kill, KillReason, Slot, SlotState

from tests.unit.execution.simulated import (
    Fate,
    SimulatedLauncher,
    SimulatedWorker,
    outcomes_body,
)
from tests.waiting import until

NO_LIMITS = WorkerLimits()


class Owner:
    """A pool that only notes what it is told."""

    def __init__(self) -> None:
        self.ready_count = 0
        self.free_count = 0
        self.failures = []
        self.returned = []
        self.start_errors = []

    def generation_for(self, slot) -> Generation:
        return slot.generation

    def slot_ready(self) -> None:
        self.ready_count += 1

    def slot_free(self, slot) -> None:
        self.free_count += 1

    def slot_failed_to_start(self, slot) -> None:
        self.start_errors.append(slot.start_error)

    def outcomes_arrived(self, chunk, outcomes) -> None:
        chunk.done_count += len(outcomes.batch)

    def backtest_failed(self, chunk, failure) -> None:
        self.failures.append(failure)

    def chunk_returned(self, chunk, innocent, suspect, busy_duration, *, apart=False) -> None:
        self.returned.append((innocent, "all apart" if apart else suspect))


@asynccontextmanager
async def supervised(launcher: SimulatedLauncher, limits: WorkerLimits = NO_LIMITS):
    """A slot with its supervisor running."""
    generation = Generation(1, CopyPlace(-1, Path("sources"), "1"))
    slot = Slot(0, generation, launcher, Owner(), start_timeout=60.0, limits=limits)
    supervisor = asyncio.create_task(slot.supervise())
    try:
        yield slot
    finally:
        launcher.may_reap.set()
        slot.close()
        await supervisor
        launcher.close()
    assert slot.state is SlotState.CLOSED


def assignment_of(
    count: int,
    mode: RunMode = RunMode.TOGETHER,
    *,
    timeout: float = 60.0,
    chunk_id: int = 1,
    first: int = 0,
    plan_id: int = 1,
) -> Assignment:
    queue = CombinationQueue(np.arange(0))
    indices = np.arange(first, first + count)
    return Assignment(Chunk(chunk_id, queue, indices, mode), plan_id, b"", timeout)


def launcher_of_batches(**fates: Fate) -> SimulatedLauncher:
    """Workers whose engine takes batches; `x2=Fate.DIE` is the fate of combination 2."""
    return SimulatedLauncher(
        start=lambda number: SimulatedWorker(
            number, lambda index: fates.get(f"x{index}", Fate.SUCCEED), takes_batches=True
        )
    )


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


async def test_a_busy_slot_takes_one_chunk_ahead_and_no_third():
    async with supervised(SimulatedLauncher(lambda index: Fate.HANG)) as slot:
        await idle(slot)
        assert not slot.can_queue
        slot.assign(assignment_of(1))
        assert slot.can_queue
        slot.assign(assignment_of(1, chunk_id=2))
        assert not slot.can_queue
        with pytest.raises(RuntimeError, match="slot 0 is running"):
            slot.assign(assignment_of(1, chunk_id=3))


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
        slot.assign(assignment_of(1, RunMode.ALONE))
        await until(lambda: launcher.start_count == 2, "it was replaced")
        (failure,) = slot._owner.failures
        assert failure.kind is FailureKind.CRASHED
        assert failure.message == "the worker process exited with code 3"


async def test_a_death_in_a_batch_charges_nobody_and_gives_all_back_to_run_apart():
    launcher = launcher_of_batches(x2=Fate.DIE)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5))
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((0, 1, 2, 3, 4), "all apart")]
        assert slot._owner.failures == []


async def test_a_batch_that_outlasts_the_timeout_charges_nobody_and_all_run_apart():
    launcher = launcher_of_batches(x2=Fate.HANG)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5, timeout=0.01))
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((0, 1, 2, 3, 4), "all apart")]
        assert slot._owner.failures == []


async def test_what_runs_apart_names_who_dies():
    launcher = launcher_of_batches(x2=Fate.DIE)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5, RunMode.APART))
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((3, 4), 2)]


async def test_what_runs_apart_names_who_hangs():
    launcher = launcher_of_batches(x2=Fate.HANG)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5, RunMode.APART, timeout=0.01))
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((3, 4), None)]
        (failure,) = slot._owner.failures
        assert (failure.combination_index, failure.kind) == (2, FailureKind.TIMED_OUT)


async def test_a_batch_whose_outcomes_came_while_it_was_killed_charges_nobody():
    launcher = launcher_of_batches(x4=Fate.HANG)
    async with supervised(launcher) as slot:
        await idle(slot)
        assignment = assignment_of(5)
        slot.assign(assignment)
        (worker,) = launcher.workers
        await until(lambda: worker.activity.words is not None, "it hangs")
        worker.last_message = outcomes_body(1, 0, [Fate.SUCCEED] * 3)
        slot._kill_worker(Kill(KillReason.TIMED_OUT, chunk=assignment.chunk))
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((3, 4), "all apart")]


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
            slot.forget_plan(1)
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
        assert slot._owner.free_count == 0
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


@pytest.mark.parametrize("end", ["its start timed out", "the pool closes", "it has died"])
async def test_a_worker_whose_end_is_decided_is_not_ready_though_it_says_so(end):
    def start(number: int) -> SimulatedWorker:
        return SimulatedWorker(number, lambda index: Fate.SUCCEED, is_ready=number > 1)

    launcher = SimulatedLauncher(start=start)
    async with supervised(launcher) as slot:
        await until(lambda: slot.worker_pid == 1, "the first worker starts")
        (worker,) = launcher.workers
        if end == "its start timed out":
            slot._start_timed_out()
        elif end == "the pool closes":
            slot.close()
        else:
            worker.die()
            slot._exited.set()
        worker.become_ready()
        assert slot.state is SlotState.STARTING
        assert slot._owner.ready_count == 0


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


@pytest.mark.parametrize("offset", [5, 2**63, None])
async def test_words_that_a_backtest_has_overwritten_hide_no_hang(offset, monkeypatch):
    monkeypatch.setattr(slot_module, "_STALL_RECHECK_SECONDS", 0.0)
    launcher = SimulatedLauncher(lambda index: Fate.HANG)
    async with supervised(launcher) as slot:
        await idle(slot)
        slot.assign(assignment_of(5, RunMode.APART))
        (worker,) = launcher.workers
        await until(lambda: worker.activity.words is not None, "it hangs")
        worker.activity.words = Running(1, offset, worker.activity.words.start_time)
        slot._check_deadline()
        await until(lambda: launcher.start_count == 2 and slot.is_idle, "it was replaced")
        assert slot._owner.returned == [((1, 2, 3, 4), 0)]


# A chunk ahead.


def launcher_of(**fates: Fate) -> SimulatedLauncher:
    return SimulatedLauncher(lambda index: fates.get(f"x{index}", Fate.SUCCEED))


def assign_two(slot: Slot, *, timeout: float = 60.0) -> tuple[Chunk, Chunk]:
    """Combinations 0 to 4 of plan 1 now, 5 to 9 of plan 2 ahead."""
    first = assignment_of(5, timeout=timeout)
    ahead = assignment_of(5, chunk_id=2, first=5, plan_id=2, timeout=timeout)
    slot.assign(first)
    slot.assign(ahead)
    return first.chunk, ahead.chunk


async def replaced(slot: Slot) -> None:
    await until(lambda: slot._launcher.start_count == 2 and slot.is_idle, "it was replaced")


ALL_AHEAD = ((5, 6, 7, 8, 9), None)


async def test_a_chunk_ahead_runs_when_its_turn_comes():
    async with supervised(launcher_of()) as slot:
        await idle(slot)
        first, ahead = assign_two(slot)
        assert slot.chunk is first
        await until(lambda: first.is_done, "the first is done")
        await idle(slot)
        assert ahead.is_done
        assert slot._owner.free_count == 2
        assert slot._owner.returned == []


async def test_a_slot_that_begins_its_chunk_ahead_can_take_another_one():
    async with supervised(launcher_of(x5=Fate.HANG)) as slot:
        await idle(slot)
        first, ahead = assign_two(slot)
        await until(lambda: slot.chunk is ahead, "its turn has come")
        assert first.is_done
        assert slot.can_queue
        assert slot._owner.free_count == 1


async def test_a_death_gives_the_chunk_ahead_back_whole():
    async with supervised(launcher_of(x2=Fate.DIE)) as slot:
        await idle(slot)
        assign_two(slot)
        await replaced(slot)
        assert slot._owner.returned == [ALL_AHEAD, ((3, 4), 2)]


async def test_a_timeout_gives_the_chunk_ahead_back_whole():
    async with supervised(launcher_of(x2=Fate.HANG)) as slot:
        await idle(slot)
        assign_two(slot, timeout=0.01)
        await replaced(slot)
        assert slot._owner.returned == [ALL_AHEAD, ((3, 4), None)]
        (failure,) = slot._owner.failures
        assert failure.combination_index == 2


async def test_once_it_runs_the_chunk_ahead_has_its_own_blame():
    async with supervised(launcher_of(x7=Fate.DIE)) as slot:
        await idle(slot)
        assign_two(slot)
        await replaced(slot)
        assert slot._owner.returned == [((8, 9), 7)]


async def test_once_it_runs_the_chunk_ahead_has_its_own_deadline():
    async with supervised(launcher_of(x7=Fate.HANG)) as slot:
        await idle(slot)
        assign_two(slot, timeout=0.01)
        await replaced(slot)
        assert slot._owner.returned == [((8, 9), None)]
        assert [failure.combination_index for failure in slot._owner.failures] == [7]


async def test_a_death_in_the_chunk_ahead_is_its_own_though_the_last_outcomes_come_late():
    async with supervised(launcher_of(x0=Fate.HANG)) as slot:
        await idle(slot)
        first, _ = assign_two(slot)
        (worker,) = slot._launcher.workers
        await until(lambda: worker.is_stuck, "it hangs")
        worker.activity.words = Running(2, 1, time.monotonic())
        worker.last_message = outcomes_body(1, 0, [Fate.SUCCEED] * 5)
        worker.die()
        await replaced(slot)
        assert first.is_done
        assert slot._owner.returned == [((5, 7, 8, 9), 6)]


async def test_a_kill_that_came_too_late_is_not_charged_to_the_chunk_ahead():
    async with supervised(launcher_of(x0=Fate.HANG)) as slot:
        await idle(slot)
        first, ahead = assign_two(slot)
        (worker,) = slot._launcher.workers
        await until(lambda: worker.is_stuck, "it hangs")
        worker.last_message = outcomes_body(1, 0, [Fate.SUCCEED] * 5)
        # The number of a combination says nothing: the chunks can be of two optimizations.
        slot._kill_worker(Kill(KillReason.TIMED_OUT, chunk=first, guilty=int(ahead.indices[0])))
        await replaced(slot)
        assert slot._owner.returned == [ALL_AHEAD]
        assert slot._owner.failures == []


async def test_words_about_the_chunk_ahead_are_no_deadline_of_the_one_before():
    async with supervised(launcher_of(x0=Fate.HANG)) as slot:
        await idle(slot)
        first, ahead = assign_two(slot, timeout=1e-9)
        (worker,) = slot._launcher.workers
        worker.activity.words = Running(2, 0, time.monotonic())
        slot._check_deadline()
        assert slot._kill is None
        worker.say(MessageKind.OUTCOMES, outcomes_body(1, 0, [Fate.SUCCEED] * 5))
        assert first.is_done
        assert slot.chunk is ahead
        worker.activity.words = Running(2, 0, time.monotonic())
        slot._check_deadline()
        assert slot._kill.guilty == 5


async def test_a_forgotten_chunk_ahead_costs_the_running_one_nothing_and_is_stopped_at_its_turn():
    async with supervised(launcher_of(x5=Fate.HANG)) as slot:
        await idle(slot)
        first, _ = assign_two(slot)
        slot.forget_plan(2)
        assert slot._kill is None
        await replaced(slot)
        assert first.is_done
        assert slot._owner.returned == [ALL_AHEAD]
        assert slot._owner.failures == []


async def test_forgetting_what_runs_gives_the_chunk_ahead_back_whole():
    async with supervised(launcher_of(x0=Fate.HANG)) as slot:
        await idle(slot)
        assign_two(slot)
        slot.forget_plan(1)
        await replaced(slot)
        assert slot._owner.returned == [ALL_AHEAD, ((0, 1, 2, 3, 4), None)]


async def test_a_worker_that_is_used_up_is_replaced_though_it_has_a_chunk_ahead():
    async with supervised(launcher_of(), WorkerLimits(max_backtests=3)) as slot:
        await idle(slot)
        first, _ = assign_two(slot)
        await replaced(slot)
        assert first.is_done
        assert slot._owner.returned == [ALL_AHEAD]
        assert slot._owner.failures == []


async def test_a_worker_is_told_a_plan_once_and_keeps_as_many_as_it_has_room_for(monkeypatch):
    plan = BacktestPlan("any", (ParameterAxis("x", [1, 2, 3]),), ("SPY",))
    frame = encode_plan(1, plan)
    monkeypatch.setattr(slot_module, "_KEPT_PLAN_BYTES", 2 * 4 * len(frame))
    launcher = SimulatedLauncher()
    async with supervised(launcher) as slot:
        for chunk_id, plan_id in enumerate([1, 2, 1, 3, 1, 2], 1):
            await idle(slot)
            slot.assign(
                replace(assignment_of(1, chunk_id=chunk_id, plan_id=plan_id), plan_frame=frame)
            )
        await idle(slot)
        kinds = [kind.name for kind in launcher.workers[0].received]
    told, known, forgotten = ["PLAN", "CHUNK"], ["CHUNK"], ["RELEASE", "PLAN", "CHUNK"]
    assert kinds == told + told + known + forgotten + known + forgotten


async def test_a_plan_that_is_too_large_to_be_kept_beside_another_is_told_again(monkeypatch):
    monkeypatch.setattr(slot_module, "_KEPT_PLAN_BYTES", 0)
    frame = encode_plan(1, BacktestPlan("any", (), ()))
    launcher = SimulatedLauncher()
    async with supervised(launcher) as slot:
        for chunk_id, plan_id in enumerate([1, 1, 2, 1], 1):
            await idle(slot)
            slot.assign(
                replace(assignment_of(1, chunk_id=chunk_id, plan_id=plan_id), plan_frame=frame)
            )
        await idle(slot)
        kinds = [kind.name for kind in launcher.workers[0].received]
    again = ["RELEASE", "PLAN", "CHUNK"]
    assert kinds == ["PLAN", "CHUNK", "CHUNK", *again, *again]
