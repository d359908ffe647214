"""A connection that is cut, reset and stalled again and again, by a proxy, for both clients."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest
from stratsweep import AsyncClient, Client, OptimizationStarted, OptimizationState, Progress
from stratsweep_server.app import Server
from stratsweep_server.config import ServerConfig

from tests.proxy import Proxy

COUNT = 1_500
HARMS = 50
OPTIONS = {
    "symbols": "ANY",
    "parameters": {"x": range(COUNT)},
    "optimization_target": "score",
}


class Saboteur:
    """Harms the connection whenever another part of the events has come, in turns."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._harms = itertools.cycle([proxy.cut, proxy.reset, self._stall])
        self.count = 0

    def see(self, event) -> None:
        if isinstance(event, Progress) and event.completed_count // (COUNT // HARMS) > self.count:
            self.count += 1
            next(self._harms)()

    def _stall(self) -> None:
        """What is on its way then never comes."""
        self._proxy.stall()
        threading.Timer(0.02, self._end_stall).start()

    def _end_stall(self) -> None:
        self._proxy.reset()
        self._proxy.flow()


def sync_events(address, see):
    events = []
    with Client(address) as client:
        stream = client.optimize("tick@*", **OPTIONS)
        for event in stream:
            events.append(event)
            see(event)
    return events, stream.reconnect_count


async def async_events(address, see):
    events = []
    async with AsyncClient(address) as client:
        stream = client.optimize("tick@*", **OPTIONS)
        async for event in stream:
            events.append(event)
            see(event)
    return events, stream.reconnect_count


@pytest.fixture
async def server(tmp_path):
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
async def test_no_event_is_lost_or_doubled_by_fifty_cuts(server, face):
    with Proxy(server.address) as proxy:
        saboteur = Saboteur(proxy)
        if face is Client:
            events, count = await asyncio.to_thread(sync_events, proxy.address, saboteur.see)
        else:
            events, count = await async_events(proxy.address, saboteur.see)
    started, *progress, result = events
    assert saboteur.count == HARMS
    assert count >= HARMS // 2  # several may come before a message does
    assert isinstance(started, OptimizationStarted)
    assert [event.completed_count for event in progress] == list(range(1, COUNT + 1))
    seen = [event.outcomes[0].parameters["x"] for event in progress]
    assert sorted(seen) == list(range(COUNT))
    assert result.state is OptimizationState.SUCCEEDED
    assert [row.metrics["score"] for row in result.ranked] == sorted(map(float, seen), reverse=True)
