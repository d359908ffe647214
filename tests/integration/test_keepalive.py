"""How often clients may ask whether the server is still there."""

from __future__ import annotations

import grpc
from stratsweep.v1.optimization_service_pb2_grpc import OptimizationServiceStub

from tests.requests import optimize_request

EVERY_SECOND = [
    ("grpc.keepalive_time_ms", 1_000),
    ("grpc.http2.max_pings_without_data", 0),
]
PINGS_SECONDS = 4.5  # the server used to hang up at the fourth ping


async def test_a_client_may_ping_every_second(start_server, tmp_path):
    connected = await start_server()
    request = optimize_request("hang@*", 1, symbol=str(tmp_path), timeout=PINGS_SECONDS)
    async with grpc.aio.insecure_channel(connected.server.address, EVERY_SECOND) as channel:
        events = [each.event async for each in OptimizationServiceStub(channel).Optimize(request)]
    assert [each.WhichOneof("kind") for each in events] == ["started", "progress", "result"]
