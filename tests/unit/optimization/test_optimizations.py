"""Optimizations on a pool without processes."""

import asyncio

import pytest
from stratsweep_server.optimization import (
    GridSearchOptimizer,
    OptimizationConfig,
    WorkersUnavailableError,
)
from stratsweep_server.optimization import running as running_module
from stratsweep_server.optimization.memory import MemoryBudget
from stratsweep_server.optimization.optimizations import (
    Optimizations,
    TooManyOptimizationsError,
    new_optimization_id,
)
from stratsweep_server.optimization.states import OptimizationState

from tests.inline_pool import InlinePool

CONFIG = OptimizationConfig(
    strategy="any",
    symbols=["SPY"],
    parameters={"x": [1, 2, 3, 4]},
    optimization_target="score",
)


class Floor:
    """Optimizations of a pool, with the budget that they share."""

    def __init__(self, max_count=64, **pool_options):
        self.pool = InlinePool(lambda x: {"score": x}, **pool_options)
        self.memory = MemoryBudget()
        optimizer = GridSearchOptimizer(pool=self.pool)
        self.optimizations = Optimizations(optimizer, max_count, self.memory)

    async def start(self):
        with self.optimizations.place() as place:
            optimizer = self.optimizations.optimizer
            prepared = await optimizer.prepare(CONFIG, memory=place.memory)
            return self.optimizations.start(
                place, prepared, new_optimization_id(), {"desk": "rates"}
            )


async def test_an_optimization_runs_by_itself_and_is_concluded_once_for_all_who_ask(monkeypatch):
    conclusions = []
    conclude = running_module.conclude
    monkeypatch.setattr(
        running_module, "conclude", lambda *args: conclusions.append(args) or conclude(*args)
    )
    entry = await Floor().start()
    async with entry.attached():
        first, second = await asyncio.gather(entry.result(), entry.result())
        assert first is second
        assert entry.state is OptimizationState.SUCCEEDED
    assert (first.best.parameters, entry.log.count) == ({"x": 4}, 4)
    assert entry.labels == {"desk": "rates"}
    assert len(conclusions) == 1


async def test_who_stops_waiting_for_the_result_ends_nothing():
    floor = Floor(stall_after=2)
    entry = await floor.start()
    async with entry.attached():
        await entry.submitted()
        impatient = asyncio.create_task(entry.result())
        await entry.log.wait_beyond(1)
        impatient.cancel()
        await asyncio.wait([impatient])
        assert entry.state is OptimizationState.RUNNING
        assert not floor.pool.workloads[0].is_cancelled


async def test_an_optimization_is_given_up_when_the_last_attached_call_is_gone():
    floor = Floor(stall_after=2)
    entry = await floor.start()
    async with entry.attached():
        async with entry.attached():
            await entry.log.wait_beyond(1)
        assert not floor.pool.workloads[0].is_cancelled
    assert floor.pool.workloads[0].is_cancelled
    assert entry.state is OptimizationState.CANCELLED
    assert entry.log.is_closed


async def test_place_and_memory_are_held_until_the_last_attached_call_is_gone():
    floor = Floor(max_count=1)
    entry = await floor.start()
    async with entry.attached():
        await entry.result()
        assert floor.memory.used_bytes == entry.prepared.memory_bytes
        with pytest.raises(TooManyOptimizationsError, match="runs 1 optimization, its limit"):
            await floor.start()
    assert floor.memory.used_bytes == 0
    async with (await floor.start()).attached():
        pass


async def test_a_place_on_which_nothing_was_started_is_given_back():
    floor = Floor(max_count=1)
    for _ in range(2):
        with floor.optimizations.place() as place:
            place.memory.resize(1_000)
        assert floor.memory.used_bytes == 0


async def test_what_keeps_an_optimization_from_starting_is_raised_to_who_waits(monkeypatch):
    floor = Floor(max_count=1)

    def fail(*_, **__):
        raise WorkersUnavailableError("no worker starts")

    monkeypatch.setattr(floor.pool, "submit", fail)
    entry = await floor.start()
    async with entry.attached():
        with pytest.raises(WorkersUnavailableError, match="no worker starts"):
            await entry.submitted()
    assert entry.state is OptimizationState.FAILED
    assert floor.memory.used_bytes == 0


async def test_a_call_that_leaves_before_anything_ran_leaves_nothing():
    floor = Floor(max_count=1)
    entry = await floor.start()
    async with entry.attached():
        pass
    assert (floor.pool.workloads, floor.memory.used_bytes) == ([], 0)
    with pytest.raises(asyncio.CancelledError):
        await entry.submitted()


async def test_closing_gives_up_what_runs():
    floor = Floor(stall_after=0)
    entries = [await floor.start() for _ in range(2)]
    for entry in entries:
        await entry.submitted()
    await floor.optimizations.close()
    assert all(workload.is_cancelled for workload in floor.pool.workloads)
    assert [entry.state for entry in entries] == [OptimizationState.CANCELLED] * 2
    assert floor.memory.used_bytes == 0
