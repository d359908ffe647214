"""Real servers for the tests: in this process on port 0, with real worker processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import pytest
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.app import Server
from stratsweep_server.config import ServerConfig


@dataclass
class Connected:
    """A server and a plain generated stub on a channel to it."""

    server: Server
    channel: grpc.aio.Channel
    stub: optimization_service_pb2_grpc.OptimizationServiceAsyncStub


@pytest.fixture
async def start_server() -> AsyncIterator[Callable]:
    """Start servers by the options of `ServerConfig`; all are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start(**options) -> Connected:
            defaults = {
                "listen": "127.0.0.1:0",
                "workers": 2,
                "engine": "tests.engines:ScriptedEngine",
                "grace": 0.0,
                "state": "none",
            }
            server = await stack.enter_async_context(Server(ServerConfig(**(defaults | options))))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            return Connected(server, channel, stub)

        yield start
