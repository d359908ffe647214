"""Optimizations on a pool without processes, as a server has them, and stores for them."""

from __future__ import annotations

from array import array

from stratsweep_server.optimization import GridSearchOptimizer, OptimizationConfig
from stratsweep_server.optimization.memory import MemoryBudget
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.optimizations import Optimizations
from stratsweep_server.optimization.places import Places
from stratsweep_server.optimization.preparer import Preparer
from stratsweep_server.optimization.request import OptimizationRequest
from stratsweep_server.optimization.store import StoreUnavailableError
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.rpc.events.following import following
from stratsweep_server.rpc.events.stream import StreamOptions
from stratsweep_server.rpc.kept_messages import KeptMessages

from tests.inline_pool import InlinePool


def config(values=(1, 2, 3, 4), **fields):
    return OptimizationConfig(
        **{
            "strategy": "any",
            "symbols": ("SPY",),
            "parameters": {"x": array("q", values)},
            "optimization_target": "score",
        }
        | fields
    )


def request(optimization_id="", values=(1, 2, 3, 4), config_fields=(), **fields):
    return OptimizationRequest(
        config(values, **dict(config_fields)), optimization_id=optimization_id, **fields
    )


class SharedStore(MemoryStore):
    """A store that outlives the optimizations of one process, for others in the same test."""

    outlives_process = True

    def __init__(self):
        super().__init__()
        self.error = None
        self.on_failure = None

    def journal(self, caller, optimization_id, run, log, on_durable, on_failure):
        self.on_failure = on_failure
        return super().journal(caller, optimization_id, run, log, on_durable, on_failure)

    def move(self, record):
        if self.error is not None:
            raise self.error
        super().move(record)

    def fail(self, text="the disk is full"):
        self.error = StoreUnavailableError(text)
        self.on_failure(self.error)


class Floor:
    """The optimizations of one process."""

    def __init__(
        self,
        store=None,
        *,
        max_count=64,
        max_queued=1_000,
        memory=None,
        inputs=None,
        **pool_options,
    ):
        self.inputs = {"module": "1"} if inputs is None else inputs
        self.pool = InlinePool(lambda x: {"score": x}, **pool_options)
        self.memory = MemoryBudget(memory)
        self.store = store or MemoryStore()
        self.store_errors = []
        optimizer = GridSearchOptimizer(pool=self.pool)
        calls = StoreCalls(self.store, self.store_errors.append)
        messages = KeptMessages(lambda: 2)
        preparer = Preparer(optimizer, calls, messages, lambda _: dict(self.inputs))
        self.places = Places(max_count, max_queued, self.memory)
        self.optimizations = Optimizations(preparer, self.places, calls)

    def opened(self, wanted=None, **fields):
        return self.optimizations.opened(wanted or request(**fields))

    async def events(self, wanted, after=0):
        """All events of an optimization, to its end."""
        async with self.opened(wanted) as optimization:
            return await events_of(optimization, after)

    async def run(self, wanted):
        async with self.opened(wanted) as optimization:
            return await optimization.result()


async def events_of(optimization, after=0, has_arrow_results=False):
    options = StreamOptions(has_arrow_results=has_arrow_results)
    return [event async for event in following(optimization, options, after)]


async def stalled(optimization, count):
    """Wait until so many outcomes are there."""
    assert await optimization.begun()
    await optimization.log.wait_beyond(count - 1)
