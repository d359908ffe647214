"""The pool on simulated workers: every combination one outcome, whatever dies, and no dead end."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import weakref
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest import EngineDescription
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution import pool as pool_module
from stratsweep_server.execution import shared_bars
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.outcomes import FailureKind, OutcomeBatch
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.pool import WorkerPool, WorkersUnavailableError
from stratsweep_server.market_data.storage import StorageUnavailableError

from tests.unit.execution.simulated import Fate, SimulatedLauncher, SimulatedWorker
from tests.waiting import until

# Of three simulated backtests: so they are given ahead, too.
SHORT_CHUNKS = patch.object(pool_module, "CHUNK_SECONDS", 3e-4)
PLAN = BacktestPlan("any", (ParameterAxis("x", range(10_000)),), ())


@asynccontextmanager
async def open_pool(launcher: SimulatedLauncher, max_workers: int = 2, **options):
    with (
        tempfile.TemporaryDirectory() as directory,
        patch.object(pool_module, "Launcher", lambda *arguments: launcher),
    ):
        async with WorkerPool(
            EngineSpec(), max_workers=max_workers, directory=Path(directory), **options
        ) as pool:
            try:
                yield pool
            finally:
                launcher.may_reap.set()


class Inbox:
    """What a workload delivered."""

    def __init__(self) -> None:
        self.outcomes: Counter[int] = Counter()
        self.kinds: dict[int, FailureKind] = {}

    def __call__(self, batch: OutcomeBatch) -> None:
        self.outcomes.update(batch.indices.tolist())
        self.kinds |= {failure.combination_index: failure.kind for failure in batch.failures}


def submit(pool: WorkerPool, count: int, inbox: Inbox, first: int = 0, **options):
    indices = np.arange(first, first + count)
    return pool.submit(PLAN, indices, backtest_timeout=60.0, on_outcomes=inbox, **options)


def dying_once(*indices: int):
    """A fate for each index: these die the first time that they run."""
    alive = set(indices)

    def fate_of(index: int) -> Fate:
        if index in alive:
            alive.remove(index)
            return Fate.DIE
        return Fate.SUCCEED

    return fate_of


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["succeed", "raise", "die", "die once"]), min_size=1, max_size=60),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_combination_has_exactly_one_outcome_whatever_dies(fates, max_workers, batches):
    once = dying_once(*(index for index, fate in enumerate(fates) if fate == "die once"))
    simple = {"succeed": Fate.SUCCEED, "raise": Fate.RAISE, "die": Fate.DIE}

    def fate_of(index: int) -> Fate:
        return simple.get(fates[index]) or once(index)

    async def run() -> Inbox:
        inbox = Inbox()
        launcher = SimulatedLauncher(
            start=lambda number: SimulatedWorker(number, fate_of, takes_batches=batches)
        )
        async with open_pool(launcher, max_workers) as pool:
            await submit(pool, len(fates), inbox).wait()
        return inbox

    with SHORT_CHUNKS:
        inbox = asyncio.run(run())
    assert inbox.outcomes == Counter(range(len(fates)))
    kinds = {"raise": FailureKind.ERROR, "die": FailureKind.CRASHED}
    assert inbox.kinds == {index: kinds[fate] for index, fate in enumerate(fates) if fate in kinds}


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([Fate.SUCCEED, Fate.DIE, Fate.RAISE]), min_size=60, max_size=60),
    st.integers(1, 3),
    st.integers(1, 50),
    st.booleans(),
)
def test_cancelling_one_optimization_costs_another_nothing(fates, max_workers, moment, batches):
    async def run() -> Inbox:
        kept = Inbox()
        launcher = SimulatedLauncher(
            start=lambda number: SimulatedWorker(number, fates.__getitem__, takes_batches=batches)
        )
        async with open_pool(launcher, max_workers) as pool:
            cancelled = submit(pool, 60, Inbox())

            def keep(batch: OutcomeBatch) -> None:
                kept(batch)
                if kept.outcomes.total() >= moment:
                    cancelled.cancel()

            await submit(pool, 60, keep).wait()
            await until(lambda: all(slot.is_idle for slot in pool.slots), "the pool is whole")
        return kept

    with SHORT_CHUNKS:
        kept = asyncio.run(run())
    assert kept.outcomes == Counter(range(60))
    assert set(kept.kinds) == {x for x, fate in enumerate(fates) if fate is not Fate.SUCCEED}


async def test_a_worker_is_given_a_chunk_ahead_and_the_queued_are_all_run():
    inbox = Inbox()
    with SHORT_CHUNKS:
        async with open_pool(SimulatedLauncher()) as pool:
            most = 0

            def count_frames(batch: OutcomeBatch) -> None:
                nonlocal most
                inbox(batch)
                most = max(most, sum(slot._queued is not None for slot in pool.slots))

            await submit(pool, 1_000, count_frames).wait()
    assert inbox.outcomes == Counter(range(1_000))
    assert most == 2


@pytest.mark.parametrize("count", [1, 10])
async def test_a_suspect_is_cleared_though_the_dead_workers_slot_never_gets_another(count):
    fate_of = dying_once(50)

    def start(number: int) -> SimulatedWorker:
        if number > 2 and any(not worker.is_dead for worker in launcher.workers):
            raise MemoryError("no room for a second worker")
        return SimulatedWorker(number, fate_of)

    launcher = SimulatedLauncher(start=start)
    async with open_pool(launcher) as pool:
        await until(lambda: all(slot.is_idle for slot in pool.slots), "both are ready")
        await submit(pool, 50, Inbox()).wait()
        await until(lambda: all(slot.is_idle for slot in pool.slots), "both are idle")
        assert not any(slot.is_fresh for slot in pool.slots)
        inbox = Inbox()
        await submit(pool, count, inbox, first=50).wait()
    assert inbox.outcomes == Counter(range(50, 50 + count))
    assert inbox.kinds == {}


async def test_for_one_suspect_one_idle_worker_is_renewed_not_all():
    fate_of = dying_once(50)

    def start(number: int) -> SimulatedWorker:
        if number == 5:
            raise MemoryError("no room just now")
        return SimulatedWorker(number, fate_of)

    launcher = SimulatedLauncher(start=start)
    async with open_pool(launcher, max_workers=4) as pool:
        await until(lambda: all(slot.is_idle for slot in pool.slots), "all are ready")
        await submit(pool, 50, Inbox()).wait()
        await until(lambda: all(slot.is_idle for slot in pool.slots), "all are idle")
        assert not any(slot.is_fresh for slot in pool.slots)
        await submit(pool, 1, Inbox(), first=50).wait()
        assert sum(worker.is_dead for worker in launcher.workers) == 2


async def test_cancelling_while_a_worker_is_being_reaped_harms_nobody():
    launcher = SimulatedLauncher(lambda index: Fate.DIE if index == 0 else Fate.HANG)
    async with open_pool(launcher) as pool:
        await until(lambda: all(slot.is_idle for slot in pool.slots), "both are ready")
        launcher.may_reap.clear()
        workload = submit(pool, 4, Inbox())
        await until(lambda: any(slot.worker_pid is None for slot in pool.slots), "one has died")
        workload.cancel()
        await workload.wait()
        launcher.may_reap.set()
        await until(lambda: all(slot.is_idle for slot in pool.slots), "the pool is whole again")
        assert launcher.start_count == 4


async def test_closing_while_a_worker_is_being_reaped_ends():
    launcher = SimulatedLauncher(lambda index: Fate.DIE)
    async with open_pool(launcher, max_workers=1) as pool:
        await until(lambda: pool.slots[0].is_idle, "it is ready")
        launcher.may_reap.clear()
        workload = submit(pool, 4, Inbox())
        await until(lambda: pool.slots[0].worker_pid is None, "it has died")
    with pytest.raises(WorkersUnavailableError, match="the worker pool was closed"):
        await workload.wait()


async def test_closing_while_a_worker_starts_gives_the_start_up_and_is_no_failure(caplog):
    launcher = SimulatedLauncher()
    launcher.may_start.clear()
    async with open_pool(launcher):
        await until(lambda: launcher.start_count == 2, "both are being started")
    assert launcher.workers == []
    assert caplog.records == []


async def test_a_listener_that_raises_ends_its_own_workload_only():
    def refuse(batch: OutcomeBatch) -> None:
        raise ValueError("disk full")

    inbox = Inbox()
    async with open_pool(SimulatedLauncher()) as pool:
        bad = pool.submit(PLAN, np.arange(50), backtest_timeout=60.0, on_outcomes=refuse)
        good = submit(pool, 50, inbox)
        with pytest.raises(ValueError, match="disk full"):
            await bad.wait()
        await good.wait()
    assert inbox.outcomes == Counter(range(50))


async def test_nothing_to_run_is_over_at_once():
    async with open_pool(SimulatedLauncher()) as pool:
        await submit(pool, 0, Inbox()).wait()


async def test_when_no_worker_starts_everyone_is_told_and_again_when_one_does(monkeypatch):
    monkeypatch.setattr("stratsweep_server.execution.slot._FIRST_BACK_OFF_SECONDS", 0.0)
    licence = asyncio.Event()
    told: list[bool] = []

    def start(number: int) -> SimulatedWorker:
        if not licence.is_set():
            raise RuntimeError("the licence server is down")
        return SimulatedWorker(number, lambda index: Fate.SUCCEED)

    inbox = Inbox()
    async with open_pool(SimulatedLauncher(start=start), on_availability=told.append) as pool:
        workload = submit(pool, 10, inbox)
        with pytest.raises(WorkersUnavailableError, match="the licence server is down"):
            await workload.wait()
        with pytest.raises(WorkersUnavailableError, match="the licence server is down"):
            await pool.describe_engine()
        with pytest.raises(WorkersUnavailableError, match="the licence server is down"):
            submit(pool, 10, inbox)
        licence.set()
        await until(lambda: told == [False, True], "workers start again")
        assert await pool.describe_engine() == EngineDescription()
        await submit(pool, 10, inbox).wait()
    assert inbox.outcomes == Counter(range(10))


async def test_each_cause_of_failed_starts_is_logged_once_and_again_after_a_worker_was_ready(
    monkeypatch, caplog
):
    monkeypatch.setattr("stratsweep_server.execution.slot._FIRST_BACK_OFF_SECONDS", 0.0)
    fates = iter([*["no licence"] * 3, "no memory", "no licence", None, None, "no licence", None])

    def start(number: int) -> SimulatedWorker:
        cause = next(fates)
        if cause is not None:
            raise RuntimeError(cause)
        return SimulatedWorker(number, lambda index: Fate.SUCCEED)

    def logged(cause: str) -> int:
        return sum("did not start" in text and cause in text for text in caplog.messages)

    launcher = SimulatedLauncher(start=start)
    async with open_pool(launcher):
        await until(lambda: len(launcher.workers) == 2, "both workers started")
        assert (logged("no licence"), logged("no memory")) == (1, 1)
        launcher.workers[0].die()
        await until(lambda: len(launcher.workers) == 3, "a worker has replaced it")
        assert (logged("no licence"), logged("no memory")) == (2, 1)


@pytest.mark.parametrize("max_workers", [0, -1])
def test_a_pool_has_at_least_one_worker(max_workers):
    with pytest.raises(ValueError, match="max_workers must be at least 1"):
        WorkerPool(EngineSpec(), max_workers=max_workers)


async def test_a_workload_that_has_ended_lets_go_of_its_listener_without_the_garbage_collector():
    async with open_pool(SimulatedLauncher()) as pool:
        inbox = Inbox()
        workload = submit(pool, 20, inbox)
        listener = weakref.ref(inbox)
        await workload.wait()
        assert inbox.outcomes.total() == 20
        del inbox
        assert listener() is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE])
async def test_bars_for_which_there_is_no_place_are_a_matter_of_the_folder(monkeypatch, number):
    def refuse(*arguments) -> None:
        raise OSError(number, os.strerror(number), "/secret")

    monkeypatch.setattr(shared_bars, "write_bars", refuse)
    async with open_pool(SimulatedLauncher()) as pool:
        with pytest.raises(StorageUnavailableError, match="scratch directory") as caught:
            pool.share([])
    assert os.strerror(number) in str(caught.value)
    assert "secret" not in str(caught.value)
