"""A connection that is cut, reset and stalled again and again, by a proxy, for both clients."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial

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


@asynccontextmanager
async def serving(state):
    config = ServerConfig(
        listen="127.0.0.1:0",
        workers=2,
        engine="tests.engines:ScriptedEngine",
        grace=0.0,
        state=state,
    )
    async with Server(config) as server:
        yield server


@pytest.mark.parametrize(("face", "is_kept"), [(Client, False), (AsyncClient, True)])
async def test_no_event_is_lost_or_doubled_by_fifty_cuts(tmp_path, face, is_kept, monkeypatch):
    monkeypatch.setattr("stratsweep._follower._FIRST_PAUSE", 0.01)
    state = str(tmp_path) if is_kept else "none"
    async with serving(state) as server:
        with Proxy(server.address, BUDGET_BYTES, HARMS) as proxy:
            read = async_events if face is AsyncClient else partial(asyncio.to_thread, sync_events)
            events, count = await read(proxy.address)
    started, *progress, result = events
    assert proxy.harm_count == HARMS
    assert 0 < count <= HARMS  # gRPC itself asks again where nothing has come yet
    assert isinstance(started, OptimizationStarted)
    assert [event.completed_count for event in progress] == list(range(1, COUNT + 1))
    seen = [event.outcomes[0].parameters["x"] for event in progress]
    assert sorted(seen) == list(range(COUNT))
    assert result.state is OptimizationState.SUCCEEDED
    assert [row.metrics["score"] for row in result.ranked] == sorted(map(float, seen), reverse=True)
