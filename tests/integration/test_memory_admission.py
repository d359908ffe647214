"""Memory as a condition of admission: what runs holds it until its call ends, whoever reads it."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1 import optimization_event_pb2, parameter_pb2

from tests.requests import optimize_request, seconds
from tests.waiting import until

COUNT = 5_000
MAX_MEMORY = 6  # megabytes: one of them has room, two have not


def details_of(error: grpc.aio.AioRpcError) -> dict[str, object]:
    found = {}
    for detail in rpc_status.from_call(error).details:
        name = detail.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return found


async def read_to_end(call) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_beyond_the_memory_it_is_refused_until_a_call_has_ended(start_server):
    connected = await start_server(max_memory=MAX_MEMORY, max_queued=0)
    running = connected.stub.Optimize(optimize_request("nap@*", COUNT))
    await running.read()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await connected.stub.Optimize(optimize_request("ok@*", COUNT)).read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = details_of(caught.value)
    assert details["ErrorInfo"].reason == "MEMORY_EXHAUSTED"
    assert details["RetryInfo"].retry_delay.seconds > 0
    await read_to_end(connected.stub.Optimize(optimize_request("ok@*", 10)))  # a small one fits

    running.cancel()
    await until(lambda: connected.server.memory.used_bytes == 0, "what it held was given back")
    await connected.stub.Optimize(optimize_request("ok@*", COUNT)).read()


async def test_it_is_held_while_the_client_reads_though_nothing_runs_any_more(start_server):
    connected = await start_server(max_memory=MAX_MEMORY)
    request = optimize_request("ok@*", COUNT, progress_interval=seconds(0.05))
    slow = connected.stub.Optimize(request)
    await slow.read()
    slots = connected.server.pool.slots
    await until(lambda: all(slot.is_idle for slot in slots), "all of it has run")
    assert connected.server.memory.used_bytes > 3_000_000
    await read_to_end(slow)
    await until(lambda: connected.server.memory.used_bytes == 0, "what it held was given back")


async def test_beyond_the_memory_it_waits_until_a_call_has_ended(start_server):
    connected = await start_server(max_memory=MAX_MEMORY)
    running = connected.stub.Optimize(optimize_request("nap@*", COUNT))
    await running.read()
    request = optimize_request("ok@*", COUNT, progress_interval=seconds(0.05))
    waiting = connected.stub.Optimize(request)
    started = (await waiting.read()).event.started
    assert started.state == optimization_event_pb2.OPTIMIZATION_STATE_QUEUED
    assert started.total_count == COUNT
    running.cancel()
    assert (await waiting.read()).event.progress.total_count == COUNT
    await read_to_end(waiting)


async def test_one_that_could_never_fit_is_refused_for_good(start_server):
    connected = await start_server(max_memory=MAX_MEMORY)
    request = optimize_request("ok@*", COUNT)
    axis = parameter_pb2.IntegerRange(start=1, stop=100)
    request.config.parameters.add(name="y", integer_range=axis)
    with pytest.raises(grpc.aio.AioRpcError, match="take fewer combinations") as caught:
        await connected.stub.Optimize(request).read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details_of(caught.value)["BadRequest"].field_violations
    assert violation.field == "config.parameters"
    assert connected.server.memory.used_bytes == 0
