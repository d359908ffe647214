"""Reloading on simulated workers: each optimization runs on the code that it began with."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest.sources import ModuleSource
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.pool import WorkerPool

from tests.unit.execution.simulated import Fate, SimulatedLauncher, SimulatedWorker
from tests.unit.execution.test_pool import SHORT_CHUNKS, Inbox, dying_once, open_pool, submit
from tests.waiting import until


def succeed(index: int) -> Fate:
    return Fate.SUCCEED


async def all_idle(pool: WorkerPool) -> None:
    await until(lambda: all(slot.is_idle for slot in pool.slots), "all are idle")


async def reloaded(pool: WorkerPool) -> Generation:
    """Reload; returns the generation that was current before."""
    before = pool.generation
    pool.reload()
    await until(lambda: pool.generation is not before, "it is loaded anew")
    return before


def plans_by_generation(launcher: SimulatedLauncher) -> dict[str, set[int]]:
    """Whose plans the workers of each generation were sent."""
    plans: dict[str, set[int]] = {}
    for worker in launcher.workers:
        plans.setdefault(worker.copies.prefix, set()).update(worker.plans)
    return plans


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from(["succeed", "die", "die once"]), min_size=60, max_size=60),
    st.integers(1, 4),
    st.integers(1, 50),
    st.booleans(),
)
def test_an_optimization_runs_on_one_generation_whatever_dies_and_all_have_one_outcome(
    fates, max_workers, moment, batches
):
    once = dying_once(*(index for index, fate in enumerate(fates) if fate == "die once"))
    simple = {"succeed": Fate.SUCCEED, "die": Fate.DIE}
    launcher = None

    async def run() -> list[Inbox]:
        nonlocal launcher
        launcher = SimulatedLauncher(
            start=lambda number: SimulatedWorker(
                number, lambda index: simple.get(fates[index]) or once(index), takes_batches=batches
            )
        )
        old, new = Inbox(), Inbox()
        async with open_pool(launcher, max_workers) as pool:
            first = submit(pool, 60, old)
            await until(lambda: old.outcomes.total() >= moment, "it runs")
            await reloaded(pool)
            second = submit(pool, 60, new)
            await asyncio.gather(first.wait(), second.wait())
            await all_idle(pool)
            assert {slot.generation for slot in pool.slots} == {pool.generation}
        return [old, new]

    with SHORT_CHUNKS:
        inboxes = asyncio.run(run())
    assert [inbox.outcomes for inbox in inboxes] == [Counter(range(60))] * 2
    plans = plans_by_generation(launcher)
    assert plans["1"] <= {1}
    assert plans["2"] <= {2}


async def test_idle_workers_are_replaced_at_once_and_a_busy_one_when_it_is_done():
    launcher = SimulatedLauncher(lambda index: Fate.HANG)
    async with open_pool(launcher) as pool:
        await all_idle(pool)
        running = submit(pool, 1, Inbox())
        await reloaded(pool)
        (busy,) = [slot for slot in pool.slots if slot.chunk is not None]
        (idle,) = [slot for slot in pool.slots if slot.chunk is None]
        await until(lambda: idle.generation is pool.generation, "the idle one is replaced")
        assert busy.generation is not pool.generation
        running.cancel()
        await until(lambda: busy.generation is pool.generation, "the other one is replaced")


async def test_a_new_optimization_does_not_wait_for_a_long_old_one():
    launcher = SimulatedLauncher()
    with SHORT_CHUNKS:
        async with open_pool(launcher, max_workers=4) as pool:
            await all_idle(pool)
            old = submit(pool, 2_000, Inbox())
            await reloaded(pool)
            await submit(pool, 5, Inbox()).wait()
            assert old.queue.pending_count
            await old.wait()
    assert plans_by_generation(launcher)["1"] == {1}


async def test_a_single_worker_serves_the_old_code_first_and_then_the_new():
    order = []
    with SHORT_CHUNKS:
        async with open_pool(SimulatedLauncher(), max_workers=1) as pool:
            await all_idle(pool)
            old = submit(pool, 500, lambda batch: order.append("old"))
            await reloaded(pool)
            new = submit(pool, 5, lambda batch: order.append("new"))
            await asyncio.gather(old.wait(), new.wait())
    assert sorted(order, reverse=True) == order
    assert {"old", "new"} == set(order)


async def test_a_suspect_of_the_old_code_is_cleared_by_a_fresh_worker_with_the_old_code():
    fates = iter([Fate.HANG])
    launcher = SimulatedLauncher(lambda index: next(fates, Fate.SUCCEED))
    inbox = Inbox()
    async with open_pool(launcher, max_workers=1) as pool:
        await all_idle(pool)
        workload = submit(pool, 5, inbox)
        await until(lambda: launcher.workers[0].is_stuck, "it runs")
        await reloaded(pool)
        launcher.workers[0].die()
        await workload.wait()
    assert inbox.outcomes == Counter(range(5))
    assert inbox.kinds == {}
    assert plans_by_generation(launcher)["1"] == {1}


async def test_what_cannot_be_loaded_changes_nothing_and_is_told_and_mended_it_is_loaded(caplog):
    failures = {3: "module 'idea' cannot be imported: (idea.py, line 7)\n  def idea(:\n          ^"}
    launcher = SimulatedLauncher(
        start=lambda number: SimulatedWorker(
            number, succeed, start_failure=failures.get(number, "")
        )
    )
    told: list[bool] = []
    async with open_pool(launcher, on_availability=told.append) as pool:
        await all_idle(pool)
        before, workers = pool.generation, [slot.worker_pid for slot in pool.slots]
        pool.reload()
        await until(
            lambda: "they cannot be loaded, and nothing changes" in caplog.text, "it is told"
        )
        (told_failure,) = [each for each in caplog.records if each.levelname == "ERROR"]
        assert told_failure.getMessage().endswith("(idea.py, line 7)")
        assert told_failure.traceback == "  def idea(:\n          ^"
        assert pool.generation is before
        assert [slot.worker_pid for slot in pool.slots] == workers
        await reloaded(pool)
        await all_idle(pool)
        assert told == [True]


async def test_a_worker_that_dies_or_never_starts_in_a_trial_is_a_failed_reload(caplog):
    def start(number: int) -> SimulatedWorker:
        if number == 3:
            raise MemoryError("no room for a third worker")
        worker = SimulatedWorker(number, succeed, is_ready=number != 4)
        if number == 4:
            asyncio.get_running_loop().call_later(0.01, worker.die)
        return worker

    async with open_pool(SimulatedLauncher(start=start)) as pool:
        await all_idle(pool)
        pool.reload()
        await until(lambda: "no room for a third worker" in caplog.text, "it is told")
        pool.reload()
        await until(lambda: "the worker process exited with code 3" in caplog.text, "it is told")
        await reloaded(pool)


async def test_a_trial_that_takes_too_long_is_a_failed_reload(caplog):
    launcher = SimulatedLauncher(
        start=lambda number: SimulatedWorker(number, succeed, is_ready=number < 3)
    )
    async with open_pool(launcher, start_timeout=0.05) as pool:
        await all_idle(pool)
        pool.reload()
        await until(lambda: "was not ready after 0.05 s" in caplog.text, "it is told")
        assert launcher.workers[2].is_detached


async def test_reloads_that_come_together_are_one_and_those_that_come_meanwhile_one_more(caplog):
    caplog.set_level(logging.INFO)
    launcher = SimulatedLauncher(
        start=lambda number: SimulatedWorker(number, succeed, is_ready=number != 3)
    )
    async with open_pool(launcher) as pool:
        await all_idle(pool)
        for _ in range(5):
            pool.reload()
        await until(lambda: launcher.start_count == 3 and launcher.workers[2:], "a trial runs")
        for _ in range(5):
            pool.reload()
        launcher.workers[2].become_ready()
        await until(lambda: pool.generation.number == 3, "two are loaded")
        await all_idle(pool)
        assert caplog.messages.count("loading engine and strategies anew") == 2


async def test_a_pool_closes_while_it_reloads():
    launcher = SimulatedLauncher(
        start=lambda number: SimulatedWorker(number, succeed, is_ready=number < 3)
    )
    async with open_pool(launcher) as pool:
        await all_idle(pool)
        pool.reload()
        await until(lambda: len(launcher.workers) == 3, "a trial runs")
    assert all(worker.is_detached for worker in launcher.workers)


async def test_an_optimization_that_was_prepared_before_a_reload_runs_on_the_code_of_then():
    launcher = SimulatedLauncher()
    async with open_pool(launcher) as pool:
        await all_idle(pool)
        old = await reloaded(pool)
        await all_idle(pool)
        inbox = Inbox()
        await submit(pool, 5, inbox, generation=old).wait()
        await all_idle(pool)
        assert {slot.generation for slot in pool.slots} == {pool.generation}
    assert inbox.outcomes == Counter(range(5))
    assert plans_by_generation(launcher)["1"] == {1}


async def test_a_worker_that_loads_other_sources_than_its_generation_is_refused(
    caplog, monkeypatch
):
    monkeypatch.setattr("stratsweep_server.execution.slot._FIRST_BACK_OFF_SECONDS", 0.0)
    text = iter(["a", "a", "b"])

    def start(number: int) -> SimulatedWorker:
        source = ModuleSource("idea", "/desk/idea.py", next(text, "a") * 64, 10**18)
        return SimulatedWorker(number, succeed, sources=[source])

    launcher = SimulatedLauncher(start=start)
    async with open_pool(launcher) as pool:
        await all_idle(pool)
        launcher.workers[0].die()
        await until(lambda: launcher.start_count == 4, "it is replaced twice")
        await all_idle(pool)
    assert "did not start: /desk/idea.py has changed since it was loaded" in caplog.text


@pytest.mark.parametrize("max_workers", [1, 3])
async def test_after_a_start_that_failed_the_files_are_read_anew(max_workers, monkeypatch):
    monkeypatch.setattr("stratsweep_server.execution.slot._FIRST_BACK_OFF_SECONDS", 0.0)
    launcher = SimulatedLauncher(
        start=lambda number: SimulatedWorker(
            number, succeed, start_failure="no" if number <= max_workers else ""
        )
    )
    async with open_pool(launcher, max_workers) as pool:
        await all_idle(pool)
        places = {worker.copies.prefix for worker in launcher.workers}
        loaded = {worker.copies.prefix for worker in launcher.workers if not worker.is_dead}
        assert len(places) >= 2
        assert loaded == {pool.generation.copies.prefix}
