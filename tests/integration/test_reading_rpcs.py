"""The calls that read optimizations, over gRPC, from a store that has some."""

from __future__ import annotations

import asyncio
import resource
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1 import optimization_event_pb2 as event_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.rpc.server import RpcServer
from stratsweep_server.rpc.service import OptimizationService

from tests.inline_pool import InlinePool
from tests.kept import batch_of, keep, optimizations_of

ROWS = [{"score": index * 7 % 50 - 0.5, "drawdown": index / 9} for index in range(100)]
WATCH = service_pb2.WatchOptimizationRequest(optimization_id="first")


class Live:
    """An optimization that this process holds, of which outcomes may follow."""

    is_here = True

    def __init__(self, found, log) -> None:
        self.found, self.log = found, log

    def __getattr__(self, name):
        return getattr(self.found, name)

    async def result(self):
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(store, find=None):
    optimizations = optimizations_of(store)
    optimizations.find = find or optimizations.find
    reading = Reading(optimizations, store)
    service = OptimizationService(optimizations, InlinePool(dict), data=None, reading=reading)
    server = RpcServer("127.0.0.1:0")
    await server.start(service)
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield optimization_service_pb2_grpc.OptimizationServiceStub(channel)
    finally:
        await server.stop(0.0, optimizations.outlive_calls)


@pytest.fixture
def store():
    return MemoryStore()


async def refusal_of(call):
    """The code and the reason with which a call ended, and its violations' fields."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(caught.value).details:
        detail.Unpack(info)
        detail.Unpack(request)
    fields = [violation.field for violation in request.field_violations]
    return caught.value.code().name, info.reason, fields


async def collected(call):
    return [response.event async for response in call]


async def test_an_ended_optimization_is_watched_listed_and_deleted(store):
    await keep(store, "first", ROWS)
    async with serving(store) as stub:
        events = await collected(stub.WatchOptimization(WATCH))
        numbers = [event.sequence_number for event in events]
        assert numbers == list(range(1, len(ROWS) + 3))
        ranked = events[-1].result.ranked_results
        results = await stub.ListResults(service_pb2.ListResultsRequest(optimization_id="first"))
        assert list(results.results) == list(ranked)
        named = service_pb2.GetOptimizationRequest(optimization_id="first")
        found = (await stub.GetOptimization(named)).optimization
        assert found.state == event_pb2.OPTIMIZATION_STATE_SUCCEEDED
        assert found.best.combination_index == ranked[0].combination_index
        listed = await stub.ListOptimizations(service_pb2.ListOptimizationsRequest())
        assert [each.optimization_id for each in listed.optimizations] == ["first"]
        await stub.DeleteOptimization(
            service_pb2.DeleteOptimizationRequest(optimization_id="first")
        )
        expected = ("NOT_FOUND", "UNKNOWN_OPTIMIZATION", [])
        assert await refusal_of(stub.GetOptimization(named)) == expected
        assert await refusal_of(collected(stub.WatchOptimization(WATCH))) == expected


async def test_what_stands_still_or_runs_is_refused_by_a_reason(store):
    await keep(store, "first", ROWS, state=OptimizationState.INTERRUPTED, total_count=200)
    await keep(store, "second", ROWS, state=OptimizationState.RUNNING, total_count=200)
    async with serving(store) as stub:
        call = stub.WatchOptimization(WATCH)
        for _ in range(1 + len(ROWS)):
            await call.read()
        assert await refusal_of(call.read()) == ("UNAVAILABLE", "OPTIMIZATION_INTERRUPTED", [])
        request = service_pb2.DeleteOptimizationRequest(optimization_id="second")
        expected = ("FAILED_PRECONDITION", "OPTIMIZATION_RUNNING", [])
        assert await refusal_of(stub.DeleteOptimization(request)) == expected


async def test_a_wrong_question_is_refused_by_its_own_fields(store):
    await keep(store, "first", ROWS)
    async with serving(store) as stub:
        request = service_pb2.ListResultsRequest(optimization_id="first", direction=9, page_size=-1)
        expected = ("INVALID_ARGUMENT", "INVALID_CONFIG", ["page_size", "direction"])
        assert await refusal_of(stub.ListResults(request)) == expected


async def test_watchers_meet_what_is_live_without_gap_or_repeat(store):
    log = await keep(store, "first", ROWS[:40], state=OptimizationState.RUNNING, total_count=100)

    async def find(optimization_id):
        return Live(await optimizations_of(store).find(optimization_id), log)

    async with serving(store, find) as stub:
        requests = [
            service_pb2.WatchOptimizationRequest(
                optimization_id="first", after_sequence_number=after
            )
            for after in (0, 1, 20, 41, 60)
        ]
        calls = [stub.WatchOptimization(request) for request in requests]
        await calls[0].read()
        for start in range(40, 100, 5):
            log.append(batch_of(range(start, start + 5), ROWS[start : start + 5]), start / 4)
            await asyncio.sleep(0)
        for call, request in zip(calls, requests, strict=True):
            wanted = list(range(max(request.after_sequence_number, 1) + 1, 102))
            assert [(await call.read()).event.sequence_number for _ in wanted] == wanted
            call.cancel()


async def test_a_watcher_that_stops_reading_delays_nobody_and_goes_on_where_it_was(store):
    rows = [{"score": float(index)} for index in range(1_500)]
    await keep(store, "first", rows)
    async with serving(store) as stub:
        slow = aiter(stub.WatchOptimization(WATCH))
        first = (await anext(slow)).event
        events = await collected(stub.WatchOptimization(WATCH))
        assert len(events) > len(rows)
        assert [first, *await collected(slow)] == events


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_watchers_cost_no_memory_that_grows_with_what_they_read(store):
    rows = [{"score": float(index)} for index in range(200)]
    await keep(store, "first", rows)
    async with serving(store) as stub:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        calls = [aiter(stub.WatchOptimization(WATCH)) for _ in range(1_000)]
        for call in calls:
            await anext(call)

        async def count(call) -> int:
            return sum([1 async for _ in call])

        counts = await asyncio.gather(*map(count, calls))
        assert set(counts) == {1 + len(rows)}
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB
