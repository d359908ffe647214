"""Optimizations that outlive their call, their connection and their server, over gRPC."""

from __future__ import annotations

from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1 import optimization_event_pb2 as events_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.app import Server
from stratsweep_server.config import ServerConfig
from stratsweep_server.optimization.store import StoreUnavailableError
from stratsweep_server.storage.disk_store import open_store

from tests.requests import optimize_request, seconds
from tests.waiting import until


@asynccontextmanager
async def serving(state, **options):
    """A stub of a server that keeps its optimizations in a directory."""
    defaults = {
        "listen": "127.0.0.1:0",
        "workers": 2,
        "engine": "tests.engines:ScriptedEngine",
        "grace": 0.0,
        "state": str(state),
    }
    async with Server(ServerConfig(**(defaults | options))) as server:
        channel = grpc.aio.insecure_channel(server.address)
        yield optimization_service_pb2_grpc.OptimizationServiceStub(channel)


async def read_all(call):
    """The bytes of all events that are no heartbeats."""
    messages = []
    while (response := await call.read()) is not grpc.aio.EOF:
        if not response.event.HasField("heartbeat"):
            messages.append(response.SerializeToString(deterministic=True))
    return messages


async def read_some(call, count):
    return [(await call.read()).SerializeToString(deterministic=True) for _ in range(count)]


def has_ended(store, name):
    return lambda: store.find("", name).state.is_ended


def reason_of(error):
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    return info.reason


async def test_an_optimization_is_replayed_bit_for_bit_by_another_server(tmp_path):
    request = optimize_request("raise@3", 20, optimization_id="night", labels={"desk": "rates"})
    async with serving(tmp_path) as stub:
        first = await read_all(stub.Optimize(request))
    async with serving(tmp_path) as stub:
        assert await read_all(stub.Optimize(request)) == first
        request.after_sequence_number = 7
        assert await read_all(stub.Optimize(request)) == first[7:]
        request.config.seed = 3
        with pytest.raises(grpc.aio.AioRpcError, match="seed is 3 and was 0") as caught:
            await read_all(stub.Optimize(request))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason_of(caught.value) == "OPTIMIZATION_EXISTS"


async def test_a_server_that_stops_leaves_what_runs_to_the_next_one(tmp_path):
    request = optimize_request("nap@*", 30, optimization_id="night", detached=True)
    async with serving(tmp_path) as stub:
        call = stub.Optimize(request)
        seen = await read_some(call, 8)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read_all(call)
    assert (caught.value.code(), reason_of(caught.value)) == (
        grpc.StatusCode.UNAVAILABLE,
        "DRAINING",
    )
    async with serving(tmp_path) as stub:
        events = await read_all(stub.Optimize(request))
    assert events[: len(seen)] == seen
    last = service_pb2.OptimizeResponse.FromString(events[-1]).event
    assert last.result.state == events_pb2.OPTIMIZATION_STATE_SUCCEEDED
    assert last.result.succeeded_count == 30
    rows = [service_pb2.OptimizeResponse.FromString(each).event.progress for each in events[1:-1]]
    indices = [row.outcomes[0].result.combination_index for row in rows]
    assert sorted(indices) == list(range(30))
    elapsed = [row.elapsed_duration.ToNanoseconds() for row in rows]
    assert elapsed == sorted(elapsed)


async def test_a_detached_one_goes_on_with_the_next_server_by_itself(tmp_path):
    request = optimize_request("nap@*", 30, optimization_id="night", detached=True)
    async with serving(tmp_path) as stub:
        await read_some(stub.Optimize(request), 3)
    async with serving(tmp_path):
        with_store = open_store(tmp_path, "the test")
        await until(lambda: with_store.find("", "night").state.is_ended, "it was carried on")
        assert with_store.find("", "night").completed_count == 30
        with_store.close()


async def test_a_call_that_ends_stops_the_work_unless_it_says_otherwise(tmp_path):
    store = open_store(tmp_path, "the test")
    async with serving(tmp_path) as stub:
        for name, fields in {
            "left": {},
            "graceful": {"abandon_grace": seconds(60)},
            "detached": {"detached": True},
        }.items():
            call = stub.Optimize(optimize_request("nap@*", 500, optimization_id=name, **fields))
            await read_some(call, 3)
            call.cancel()
        await until(has_ended(store, "left"), "it was cancelled")
        assert store.find("", "left").message == "its client left"
        for name in ("graceful", "detached"):
            assert store.find("", name).state.value == "RUNNING"
            response = await stub.CancelOptimization(
                service_pb2.CancelOptimizationRequest(optimization_id=name, reason="enough")
            )
            assert response.optimization.optimization_id == name
            await until(has_ended(store, name), "it was cancelled")
            assert store.find("", name).message == "enough"
    store.close()


async def test_what_another_server_runs_is_not_taken_from_it(tmp_path):
    request = optimize_request("nap@*", 500, optimization_id="night")
    async with serving(tmp_path) as stub, serving(tmp_path) as other:
        call = stub.Optimize(request)
        await read_some(call, 2)
        for elsewhere in (
            other.Optimize(request).read(),
            other.CancelOptimization(
                service_pb2.CancelOptimizationRequest(optimization_id="night")
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=r"127\.0\.0\.1:\d+") as caught:
                await elsewhere
            assert reason_of(caught.value) == "RUNS_ELSEWHERE"


@pytest.mark.parametrize(
    ("request_class", "rpc", "fields"),
    [
        (service_pb2.CancelOptimizationRequest, "CancelOptimization", {"reason": "x" * 501}),
        (service_pb2.CancelOptimizationRequest, "CancelOptimization", {"optimization_id": "../a"}),
    ],
)
async def test_wrong_requests_to_cancel_are_refused(start_server, request_class, rpc, fields):
    stub = (await start_server()).stub
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, rpc)(request_class(**fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_one_is_said_to_be_unknown(start_server):
    stub = (await start_server()).stub
    request = optimize_request("ok@*", 2, optimization_id="night", after_sequence_number=2)
    for call in (
        stub.Optimize(request).read(),
        stub.CancelOptimization(service_pb2.CancelOptimizationRequest(optimization_id="night")),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="night") as caught:
            await call
        assert reason_of(caught.value) == "UNKNOWN_OPTIMIZATION"


async def test_a_directory_that_cannot_keep_is_refused_unless_a_command_can_do_without(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    for options in ({}, {"is_private": True}):
        with pytest.raises(StoreUnavailableError, match="cannot be used"):
            async with serving(tmp_path / "file", **options):
                pass
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreUnavailableError):
        async with serving(""):
            pass
    capsys.readouterr()
    async with serving("", is_private=True) as stub:
        assert capsys.readouterr().out.startswith("note: nothing is kept: the state directory")
        assert len(await read_all(stub.Optimize(optimize_request("ok@*", 2)))) == 4
