"""What is told of outcomes while the store does not have them for good yet."""

import asyncio

import pytest
from stratsweep_server.optimization import GridSearchOptimizer, OptimizationConfig
from stratsweep_server.optimization.store import StoreUnavailableError

from tests.inline_pool import InlinePool
from tests.waiting import until

CONFIG = OptimizationConfig(
    strategy="any",
    symbols=["SPY"],
    parameters={"x": [1, 2, 3, 4]},
    optimization_target="score",
)


class SlowJournal:
    """A journal on a disk that syncs when the test says so."""

    def __init__(self):
        self.batches = []
        self.synced = asyncio.Event()

    def __call__(self, run, log, on_durable, on_failure):
        self.run, self.on_durable, self.on_failure = run, on_durable, on_failure
        self.count = run.first_row
        return self

    def append(self, batch, elapsed):
        self.batches.append(batch)
        self.count += len(batch)

    def sync(self):
        self.synced.set()
        self.on_durable(self.count)

    async def flush(self):
        await self.synced.wait()


async def started(journal, pool=None, **options):
    optimizer = GridSearchOptimizer(pool=pool or InlinePool(lambda x: {"score": x}))
    prepared = await optimizer.prepare(CONFIG)
    return optimizer.start(prepared, open_journal=journal, **options)


async def test_computing_goes_on_while_nobody_is_told_of_what_is_not_kept_yet():
    journal = SlowJournal()
    async with await started(journal) as running:
        result = asyncio.create_task(running.result())
        await running._workload.wait()
        assert journal.count == 4
        assert (running.log.count, running.log.held_count) == (0, 4)
        assert not result.done()
        journal.sync()
        assert running.log.count == 4
        assert (await result).best.parameters == {"x": 4}


async def test_a_store_that_fails_ends_the_work_and_nobody_sees_what_was_not_kept():
    journal = SlowJournal()
    pool = InlinePool(lambda x: {"score": x}, stall_after=3)
    async with await started(journal, pool) as running:
        result = asyncio.create_task(running.result())
        await until(lambda: journal.count == 3, "three outcomes")
        journal.on_durable(1)
        journal.on_failure(StoreUnavailableError("the disk is full"))
        journal.synced.set()
        with pytest.raises(StoreUnavailableError, match="the disk is full"):
            await result
        assert pool.workloads[0].is_cancelled
        assert running.log.count == 1
    assert running.log.is_closed
