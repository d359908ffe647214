"""Deadlines and cancellation on grpcio-testing's fake clock, without waiting and without a socket.

grpcio-testing cannot drive aio servicers (grpc#24942), so a bridge runs our coroutine on a private
loop behind a synchronous servicer, and translates the context.
"""

from __future__ import annotations

import asyncio
import queue
import threading

import grpc
import grpc_testing
import pytest
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1.optimization_service_pb2_grpc import OptimizationServiceServicer
from stratsweep_server.backtest import EngineDescription
from stratsweep_server.optimization import GridSearchOptimizer
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.optimizations import Optimizations
from stratsweep_server.optimization.places import Places
from stratsweep_server.optimization.preparer import Preparer
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.rpc.kept_messages import KeptMessages
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.rpc.service import OptimizationService

from tests.requests import optimize_request

SERVICE = service_pb2.DESCRIPTOR.services_by_name["OptimizationService"]


class EndlessWorkload:
    """Backtests that never complete, until they are cancelled."""

    def __init__(self) -> None:
        self.is_cancelled = threading.Event()
        self._end = asyncio.Event()

    async def wait(self) -> None:
        await self._end.wait()

    def cancel(self) -> None:
        self.is_cancelled.set()
        self._end.set()


class EndlessPool:
    """A pool whose one workload never completes."""

    worker_count = 1
    generation = None

    def __init__(self) -> None:
        self.workload = EndlessWorkload()
        self.is_submitted = threading.Event()

    async def describe_engine(self) -> EngineDescription:
        return EngineDescription()

    def submit(
        self, plan, indices, *, backtest_timeout, on_outcomes, generation, bars
    ) -> EndlessWorkload:
        self.is_submitted.set()
        return self.workload


class BridgeContext:
    """What our handlers use of an aio context, on top of a synchronous one."""

    def __init__(self) -> None:
        self.written: queue.SimpleQueue = queue.SimpleQueue()

    async def write(self, message) -> None:
        if isinstance(message, bytes):  # serialized already
            message = service_pb2.OptimizeResponse.FromString(message)
        self.written.put(message)


class Bridge(OptimizationServiceServicer):
    """A synchronous servicer that runs the aio one."""

    def __init__(self, service: OptimizationService) -> None:
        self._service = service

    def Optimize(self, request, context):  # noqa: N802 - the name of the RPC
        bridge = BridgeContext()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._service.Optimize(request, bridge))
        task.add_done_callback(lambda _: bridge.written.put(None))
        context.add_callback(lambda: loop.call_soon_threadsafe(task.cancel))

        def run() -> None:
            with loop_closed_after(loop):
                loop.run_until_complete(asyncio.wait([task]))

        threading.Thread(target=run).start()
        yield from iter(bridge.written.get, None)


class loop_closed_after:  # noqa: N801 - reads as a phrase
    def __init__(self, loop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        asyncio.set_event_loop(self._loop)

    def __exit__(self, *exception) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture
def endless():
    """A fake clock, a fake server on it, and the pool behind."""
    pool = EndlessPool()
    store = StoreCalls(MemoryStore())
    optimizer = GridSearchOptimizer(pool=pool)
    preparer = Preparer(optimizer, store, KeptMessages(lambda: 1), lambda _: {})
    optimizations = Optimizations(preparer, Places(), store)
    reading = Reading(optimizations, store.store)
    service = OptimizationService(optimizations, pool, data=None, reading=reading)
    clock = grpc_testing.strict_fake_time(0.0)
    server = grpc_testing.server_from_dictionary({SERVICE: Bridge(service)}, clock)
    return clock, server, pool


def start_call(server, pool: EndlessPool, timeout: float | None):
    method = SERVICE.methods_by_name["Optimize"]
    call = server.invoke_unary_stream(method, (), optimize_request("ok@*"), timeout)
    assert call.take_response().event.started.total_count == 10
    assert pool.is_submitted.wait(timeout=30)
    return call


def test_a_deadline_ends_the_call_and_its_work_when_the_clock_says_so(endless):
    clock, server, pool = endless
    call = start_call(server, pool, timeout=60.0)
    clock.sleep_for(59.0)
    assert not pool.workload.is_cancelled.is_set()

    clock.sleep_for(2.0)
    _, code, _ = call.termination()
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert pool.workload.is_cancelled.wait(timeout=30)


def test_a_cancelled_call_ends_its_work(endless):
    _, server, pool = endless
    call = start_call(server, pool, timeout=None)
    call.cancel()

    assert pool.workload.is_cancelled.wait(timeout=30)
