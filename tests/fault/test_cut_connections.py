"""A connection that is cut, reset and stalled again and again, by a proxy, for both clients."""

from __future__ import annotations

import asyncio

import pytest
from stratsweep import AsyncClient, Client, OptimizationStarted, OptimizationState
from stratsweep_server.app import Server
from stratsweep_server.config import ServerConfig

from tests.proxy import Proxy

COUNT = 1_000
HARMS = 50
BUDGET_BYTES = 3_000
"""Of a connection: some events."""
OPTIONS = {
    "symbols": "ANY",
    "parameters": {"x": range(COUNT)},
    "optimization_target": "score",
    "abandon_grace": 60,
}


def sync_events(address):
    with Client(address) as client:
        stream = client.optimize("tick@*", **OPTIONS)
        events = list(stream)
    return events, stream.reconnect_count


async def async_events(address):
    async with AsyncClient(address) as client:
        stream = client.optimize("tick@*", **OPTIONS)
        events = [event async for event in stream]
    return events, stream.reconnect_count


@pytest.fixture
async def server():
    config = ServerConfig(
        listen="127.0.0.1:0", workers=2, engine="tests.engines:ScriptedEngine", grace=0.0
    )
    async with Server(config) as server:
        async with AsyncClient(server.address) as client:
            stream = client.optimize(
                "ok@*", symbols="ANY", parameters={"x": 1}, optimization_id="a"
            )
            if (await stream.result()).optimization_id != "a":
                pytest.skip("this server does not know the ids of clients yet")
        yield server


@pytest.mark.parametrize("face", [Client, AsyncClient])
async def test_no_event_is_lost_or_doubled_by_fifty_cuts(server, face, monkeypatch):
    monkeypatch.setattr("stratsweep._follower._FIRST_PAUSE", 0.01)
    with Proxy(server.address, BUDGET_BYTES, HARMS) as proxy:
        if face is Client:
            events, count = await asyncio.to_thread(sync_events, proxy.address)
        else:
            events, count = await async_events(proxy.address)
    started, *progress, result = events
    assert proxy.harm_count == HARMS
    assert 0 < count <= HARMS  # gRPC itself asks again where nothing has come yet
    assert isinstance(started, OptimizationStarted)
    assert [event.completed_count for event in progress] == list(range(1, COUNT + 1))
    seen = [event.outcomes[0].parameters["x"] for event in progress]
    assert sorted(seen) == list(range(COUNT))
    assert result.state is OptimizationState.SUCCEEDED
    assert [row.metrics["score"] for row in result.ranked] == sorted(map(float, seen), reverse=True)
