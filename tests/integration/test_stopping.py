"""How a server ends: what its clients are told, and what is answered until then."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc

from tests.requests import optimize_request
from tests.waiting import is_alive, until

States = health_pb2.HealthCheckResponse
LONG = 1_000.0  # a grace that would outlast the test


def reason_of(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    """The code of a call's error, and the server's reason."""
    (detail,) = rpc_status.from_call(error).details
    info = error_details_pb2.ErrorInfo.FromString(detail.value)
    assert info.domain == "stratsweep"
    return error.code(), info.reason


async def read_all(call) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def end_of(call) -> tuple[grpc.StatusCode, str]:
    """How a stream ends, whatever comes before."""
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await read_all(call)
    return reason_of(ended.value)


async def stop(server) -> None:
    await server.__aexit__(None, None, None)


async def health_of(address: str) -> int:
    """What a new connection is told."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return answer.status


@pytest.mark.parametrize("grace", [0.0, 0.2])
async def test_what_still_runs_after_the_grace_is_told_that_the_server_drains(
    start_server, tmp_path, grace
):
    connected = await start_server(grace=grace)
    calls = []
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        calls.append(connected.stub.Optimize(optimize_request("sleep@*", symbol=str(folder))))
        await calls[-1].read()
    await until(lambda: len(list(tmp_path.glob("*/*.pid"))) == 2, "two backtests run")
    sleepers = [int(note.read_text()) for note in tmp_path.glob("*/*.pid")]
    await stop(connected.server)

    for call in calls:
        assert await end_of(call) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert not any(map(is_alive, sleepers))


async def test_a_stream_that_is_busy_is_told_too(start_server):
    connected = await start_server(grace=0.0)
    call = connected.stub.Optimize(optimize_request("ok@*", 200_000))
    for _ in range(1_000):
        await call.read()
    await stop(connected.server)
    assert await end_of(call) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_draining_server_refuses_new_work_and_answers_health_until_the_end(
    start_server, tmp_path
):
    connected = await start_server(grace=LONG)
    running = connected.stub.Optimize(optimize_request("sleep@*", symbol=str(tmp_path)))
    await running.read()
    assert await health_of(connected.server.address) == States.SERVING
    stopping = asyncio.create_task(stop(connected.server))
    watch = health_pb2_grpc.HealthStub(connected.channel).Watch(health_pb2.HealthCheckRequest())
    while (await watch.read()).status != States.NOT_SERVING:
        pass

    assert await health_of(connected.server.address) == States.NOT_SERVING
    async with grpc.aio.insecure_channel(connected.server.address) as channel:
        stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
        refused = await end_of(stub.Optimize(optimize_request("ok@*")))
        assert refused == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        for call in (
            stub.ListStrategies(optimization_service_pb2.ListStrategiesRequest()),
            stub.GetServerInfo(optimization_service_pb2.GetServerInfoRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as also_refused:
                await call
            assert reason_of(also_refused.value) == refused
    assert await health_of(connected.server.address) == States.NOT_SERVING
    running.cancel()
    await stopping


async def test_a_server_waits_for_no_longer_than_its_last_optimization(start_server):
    connected = await start_server(grace=LONG)
    events = aiter(connected.stub.Optimize(optimize_request("nap@*", 50)))
    await anext(events)
    stopping = asyncio.create_task(stop(connected.server))
    *_, last = [message.event async for message in events]
    assert last.result.succeeded_count == 50
    await stopping


async def test_an_idle_server_waits_for_no_watcher_of_its_health(start_server):
    connected = await start_server(grace=LONG)
    watch = health_pb2_grpc.HealthStub(connected.channel).Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    await stop(connected.server)
    assert await end_of(watch) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
