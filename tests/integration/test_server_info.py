"""`GetServerInfo`: which server answers, and what it takes."""

from __future__ import annotations

import asyncio

import pytest
from stratsweep import AsyncClient, Client, ServerInfo
from stratsweep._version import CONTRACT_VERSION, __version__
from stratsweep.v1 import optimization_service_pb2 as service_pb2


async def test_a_server_says_its_versions_engine_workers_and_limits(start_server):
    connected = await start_server(max_combinations=500, max_optimizations=3)
    info = await connected.stub.GetServerInfo(service_pb2.GetServerInfoRequest())
    assert info.uptime.ToTimedelta().total_seconds() > 0
    info.ClearField("uptime")
    assert info == service_pb2.GetServerInfoResponse(
        server_version=__version__,
        contract_version=CONTRACT_VERSION,
        engine="tests.engines:ScriptedEngine",
        worker_count=2,
        max_combinations=500,
        max_optimizations=3,
    )


async def test_a_server_without_workers_says_what_it_is(start_server):
    connected = await start_server(engine="/folder/of/no/engine.py:Engine")
    info = await connected.stub.GetServerInfo(service_pb2.GetServerInfoRequest())
    assert info.engine == "engine.py:Engine"


@pytest.mark.parametrize("face", [Client, AsyncClient])
async def test_the_clients_tell_it_typed(start_server, face):
    connected = await start_server(workers=1)
    info = await info_of(face, connected.server.address)
    assert isinstance(info, ServerInfo)
    assert (info.server_version, info.contract_version) == (__version__, CONTRACT_VERSION)
    assert (info.engine, info.worker_count) == ("tests.engines:ScriptedEngine", 1)
    assert (info.max_combinations, info.max_optimizations) == (1_000_000, 64)
    assert info.uptime.total_seconds() > 0


async def info_of(face: type[Client] | type[AsyncClient], address: str) -> ServerInfo:
    if face is AsyncClient:
        async with AsyncClient(address) as client:
            return await client.server_info()

    def ask() -> ServerInfo:
        with Client(address) as client:
            return client.server_info(timeout=20)

    return await asyncio.to_thread(ask)


async def test_a_server_of_this_version_repeats_all_that_a_request_may_set(start_server):
    """Else the client would warn that the server is older."""
    connected = await start_server()
    async with AsyncClient(connected.server.address) as client:
        started = await client.validate(
            "ok@*",
            symbols="ANY",
            parameters={"x": [1, 2]},
            constraints="x > 0",
            start_date="2020-01-02",
            end_date="2020-02-03",
            optimization_target="score",
            minimize=True,
            backtest_timeout=5,
            starting_cash=1,
            commission=0.1,
            slippage=0.1,
            max_ranked_results=1,
            warm_up_bar_count=1,
            seed=1,
            labels={"run": "7"},
        )
    assert started.total_count == 2
