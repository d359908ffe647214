"""Faults that come from outside a backtest: kills, starts that fail, limits, dying parents."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from multiprocessing import forkserver
from pathlib import Path

import pytest
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.pool import WorkerPool, WorkersUnavailableError
from stratsweep_server.execution.scheduler import RunMode
from stratsweep_server.execution.slot import SlotState
from stratsweep_server.optimization import (
    FailureKind,
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
    OptimizationState,
)

from tests.engines import ScriptedEngine
from tests.fault.conftest import at_full_strength
from tests.fault.faulty_engine import FailsToStartWhile, FaultyEngine, MemoryHog
from tests.waiting import is_alive, until

START_METHODS = pytest.mark.parametrize("start_method", ["forkserver", "spawn"])


def scripted(script: str, count: int, **options) -> OptimizationConfig:
    settings = {"symbols": ["ANY"], "optimization_target": "score", **options}
    return OptimizationConfig(script, parameters={"x": IntegerRange(0, count - 1)}, **settings)


def ranking(result) -> list[tuple]:
    return [
        (each.rank, each.combination_index, each.metrics["score"]) for each in result.ranked_results
    ]


@START_METHODS
async def test_workers_that_are_killed_from_outside_cost_no_outcome(start_method):
    """Property: every combination has one outcome, and the ranking is the undisturbed one."""
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=2, start_method=start_method)
    async with pool:
        optimizer = GridSearchOptimizer(pool=pool)
        await kill_at_random(pool, optimizer, kill_count=20, combination_count=2_000, seed=7)
        await at_full_strength(pool)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(20))
async def test_hundreds_of_random_kills_cost_no_outcome(seed):
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=4)
    async with pool:
        optimizer = GridSearchOptimizer(pool=pool)
        await kill_at_random(pool, optimizer, kill_count=200, combination_count=20_000, seed=seed)
        await at_full_strength(pool)


async def kill_at_random(pool, optimizer, *, kill_count, combination_count, seed) -> None:
    undisturbed = await optimizer.optimize(scripted("ok@*", combination_count))
    dice = random.Random(seed)
    calls: list[tuple[int, int]] = []
    optimization = asyncio.create_task(
        optimizer.optimize(scripted("tick@*", combination_count), lambda *each: calls.append(each))
    )
    step = combination_count // (kill_count + 1)
    for number in range(1, kill_count + 1):
        threshold = number * step
        await until(lambda wanted=threshold: len(calls) >= wanted, "progress")
        # Not the second run of a suspect: killed twice, it would rightly be called a crash.
        running = [slot for slot in pool.slots if slot.chunk and slot.chunk.mode != RunMode.ALONE]
        for slot in dice.sample(running, min(1, len(running))):
            os.kill(slot.worker_pid, signal.SIGKILL)
    disturbed = await optimization

    assert calls == [(each, combination_count) for each in range(1, combination_count + 1)]
    assert disturbed.failures == ()
    assert ranking(disturbed) == ranking(undisturbed)


@START_METHODS
async def test_the_start_of_a_process_collects_no_workers_exit_code(start_method):
    """Under forkserver a code can be read once; `multiprocessing` reads those of all it knows."""
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=2, start_method=start_method)
    async with pool:
        await pool.describe_engine()
        await at_full_strength(pool)
        known = {child.pid for child in multiprocessing.active_children()}
        assert not known & {slot.worker_pid for slot in pool.slots}


@START_METHODS
async def test_a_pool_that_closes_while_it_starts_costs_another_pool_nothing(start_method):
    """They share a fork server, and workers die with theirs."""
    engine = EngineSpec(ScriptedEngine)
    async with WorkerPool(engine, max_workers=2, start_method=start_method) as pool:
        await pool.describe_engine()
        await at_full_strength(pool)
        before = [slot.worker_pid for slot in pool.slots]
        for _ in range(3):
            async with WorkerPool(engine, max_workers=2, start_method=start_method):
                pass
        result = await GridSearchOptimizer(pool=pool).optimize(scripted("tick@*", 100))
        assert result.succeeded_count == 100
        assert [slot.worker_pid for slot in pool.slots] == before


@START_METHODS
async def test_an_idle_worker_that_is_killed_is_replaced(start_method):
    pool = WorkerPool(EngineSpec(FaultyEngine), max_workers=2, start_method=start_method)
    async with pool:
        await pool.describe_engine()
        await at_full_strength(pool)
        victim = pool.slots[0].worker_pid
        os.kill(victim, signal.SIGKILL)
        await until(lambda: pool.slots[0].worker_pid not in (None, victim), "it was replaced")
        await at_full_strength(pool)


@START_METHODS
async def test_a_worker_that_is_frozen_between_backtests_is_found_and_replaced(start_method):
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=2, start_method=start_method)
    async with pool:
        await pool.describe_engine()
        await at_full_strength(pool)
        frozen = pool.slots[0].worker_pid
        os.kill(frozen, signal.SIGSTOP)
        config = scripted("tick@*", 200, backtest_timeout=0.5)
        result = await GridSearchOptimizer(pool=pool).optimize(config)
        assert result.failures == ()
        assert result.succeeded_count == 200
        await until(lambda: not is_alive(frozen), "the frozen worker is gone")
        await at_full_strength(pool)


@START_METHODS
@pytest.mark.parametrize(
    ("action", "cause"), [("raise", "the licence server is down"), ("exit", "exited with code 5")]
)
async def test_a_pool_whose_engine_fails_at_every_start_says_why_and_recovers(
    start_method, action, cause, tmp_path, monkeypatch
):
    flag = tmp_path / "flag"
    flag.write_text(action)
    monkeypatch.setattr("stratsweep_server.execution.slot._LONGEST_BACK_OFF_SECONDS", 0.2)
    availability = []
    pool = WorkerPool(
        EngineSpec(FailsToStartWhile(flag)),
        max_workers=2,
        start_method=start_method,
        on_availability=availability.append,
    )
    async with pool:
        with pytest.raises(WorkersUnavailableError, match=cause):
            await pool.describe_engine()
        assert availability == [False]
        flag.unlink()
        await until(lambda: availability == [False, True], "the pool recovered")
        result = await GridSearchOptimizer(pool=pool).optimize(scripted("ok@*", 10))
        assert result.succeeded_count == 10


async def test_an_optimization_whose_workers_stop_starting_fails_with_the_cause_and_keeps_results(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("stratsweep_server.execution.slot._LONGEST_BACK_OFF_SECONDS", 0.2)
    flag = tmp_path / "flag"
    pool = WorkerPool(EngineSpec(FailsToStartWhile(flag)), max_workers=1)
    async with pool:
        optimizer = GridSearchOptimizer(pool=pool)
        config = scripted("exits", 10)

        def break_after_three(completed, total):
            if completed == 3:
                flag.write_text("raise")
                os.kill(pool.slots[0].worker_pid, signal.SIGKILL)

        result = await optimizer.optimize(config, break_after_three)

    assert result.state is OptimizationState.FAILED
    assert "the licence server is down" in result.message
    assert result.succeeded_count >= 3


@START_METHODS
async def test_a_memory_hog_hits_the_limit_of_its_worker_and_only_that(start_method):
    limits = WorkerLimits(memory_bytes=600_000_000)
    pool = WorkerPool(
        EngineSpec(MemoryHog), max_workers=2, start_method=start_method, limits=limits
    )
    async with pool:
        result = await GridSearchOptimizer(pool=pool).optimize(scripted("hog", 50))
        await at_full_strength(pool)

    (failure,) = result.failures
    assert failure.kind in (FailureKind.ERROR, FailureKind.CRASHED)
    assert "memory" in failure.message.lower()
    assert result.succeeded_count == 49


async def test_workers_are_replaced_after_their_share_of_backtests():
    limits = WorkerLimits(max_backtests=30)
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=2, limits=limits)
    async with pool:
        result = await GridSearchOptimizer(pool=pool).optimize(scripted("tick@*", 400))
        await at_full_strength(pool)

    assert result.failures == ()
    assert len({each.metrics["pid"] for each in result.ranked_results}) >= 3


async def test_workers_are_replaced_when_their_memory_has_grown():
    limits = WorkerLimits(max_memory_growth_bytes=50_000_000)
    pool = WorkerPool(EngineSpec(MemoryHog), max_workers=1, limits=limits)
    async with pool:
        result = await GridSearchOptimizer(pool=pool).optimize(scripted("leak", 60))
        await at_full_strength(pool)

    assert result.failures == ()
    assert len({each.metrics["pid"] for each in result.ranked_results}) >= 2


async def test_the_pool_recovers_when_the_fork_server_is_killed():
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=2, start_method="forkserver")
    async with pool:
        optimizer = GridSearchOptimizer(pool=pool)
        running = asyncio.create_task(optimizer.optimize(scripted("tick@*", 300)))
        await until(
            lambda: all(slot.state is SlotState.RUNNING for slot in pool.slots), "both are at work"
        )
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        result = await running
        assert result.failures == ()
        assert result.succeeded_count == 300
        await at_full_strength(pool)


@START_METHODS
def test_workers_stay_when_the_thread_that_asked_for_them_ends(start_method):
    """With spawn, a parent-death signal fires when the starting thread ends."""
    loop = asyncio.new_event_loop()
    pool = WorkerPool(EngineSpec(ScriptedEngine), max_workers=2, start_method=start_method)
    starter = threading.Thread(target=lambda: loop.run_until_complete(pool.__aenter__()))
    starter.start()
    starter.join()

    async def use() -> None:
        await pool.describe_engine()
        await at_full_strength(pool)
        pids = {slot.worker_pid for slot in pool.slots}
        result = await GridSearchOptimizer(pool=pool).optimize(scripted("ok@*", 50))
        assert result.succeeded_count == 50
        assert {slot.worker_pid for slot in pool.slots} == pids
        await pool.__aexit__(None, None, None)

    loop.run_until_complete(use())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


OWNER = """
import asyncio, sys
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.optimization import GridSearchOptimizer, IntegerRange, OptimizationConfig
from tests.fault.faulty_engine import FaultyEngine

async def main(fault, directory, start_method):
    config = OptimizationConfig(fault, [directory], {"x": [0]}, optimization_target="score")
    pool = WorkerPool(EngineSpec(FaultyEngine), max_workers=1, start_method=start_method)
    async with pool:
        await GridSearchOptimizer(pool=pool).optimize(config)

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
"""


@START_METHODS
@pytest.mark.parametrize(
    "fault", ["ignores_sigterm", "loops_for_ever", "holds_the_interpreter_lock"]
)
async def test_workers_do_not_outlive_a_server_that_is_killed(start_method, fault, tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    root = Path(__file__).parents[2]
    with subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment, nothing else waits
        [sys.executable, str(script), fault, str(tmp_path), start_method],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)},
    ) as owner:
        note = tmp_path / "guilty.pid"
        await until(lambda: note.exists() and bool(note.read_text()), "the backtest hangs")
        worker = int(note.read_text())
        owner.kill()
        await until(lambda: not is_alive(worker), "the worker is gone")
