"""Concurrent optimizations share the workers fairly, and each worker stays on its own core."""

from __future__ import annotations

import asyncio

import pytest
from stratsweep_server.optimization import (
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
)

from tests.engines import ScriptedEngine, ThreadCounter
from tests.waiting import until


def scripted(script: str, count: int) -> OptimizationConfig:
    return OptimizationConfig(
        script, ["ANY"], {"x": IntegerRange(0, count - 1)}, optimization_target="score"
    )


class Counter:
    """Counts an optimization's completed backtests."""

    def __init__(self) -> None:
        self.completed = 0

    def __call__(self, completed: int, total: int) -> None:
        self.completed = completed


async def test_a_small_optimization_beside_a_huge_one_gets_its_share_at_once():
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        huge = Counter()
        backlog = asyncio.create_task(optimizer.optimize(scripted("tick@*", 3_000), huge))
        await until(lambda: huge.completed >= 300, "the huge one is under way")
        before = huge.completed
        await optimizer.optimize(scripted("tick@*", 300))
        served_meanwhile = huge.completed - before
        backlog.cancel()
        with pytest.raises(asyncio.CancelledError):
            await backlog

    # Half of the workers each: the huge one got about as many as the small one, not its backlog.
    assert served_meanwhile < 1_000


async def test_equal_optimizations_finish_together():
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        counters = [Counter() for _ in range(3)]
        tasks = [
            asyncio.create_task(optimizer.optimize(scripted("tick@*", 1_000), counter))
            for counter in counters
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        progress = [counter.completed for counter in counters]
        await asyncio.gather(*tasks)

    assert min(progress) > 600


async def test_numeric_libraries_use_one_thread_in_each_worker():
    config = OptimizationConfig("any", ["ANY"], {"x": [1]}, optimization_target="threads")
    async with GridSearchOptimizer(1, ThreadCounter) as optimizer:
        result = await optimizer.optimize(config)
    metrics = result.best.metrics
    assert metrics["threads_after"] == metrics["threads"]
