"""grpc.aio with nothing behind it: a server that streams the same message again and again."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import grpc
from stratsweep.v1.optimization_service_pb2 import OptimizeRequest, OptimizeResponse
from stratsweep.v1.optimization_service_pb2_grpc import (
    OptimizationServiceServicer,
    OptimizationServiceStub,
    add_OptimizationServiceServicer_to_server,
)

from tests.benchmarks.figures import Contestant


@contextmanager
def bare_message_rate(message: OptimizeResponse, count: int) -> Iterator[Contestant]:
    """Messages per second from a bare server to the generated stub; the server is a process.

    Args:
        message: What is sent: built once, serialized by gRPC each time as any message is.
        count: How often in each stream.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, message.SerializeToString(), count)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    with grpc.insecure_channel(f"127.0.0.1:{ours.recv()}") as channel:
        stub = OptimizationServiceStub(channel)

        def rate() -> float:
            start = time.perf_counter()
            received = sum(1 for _ in stub.Optimize(OptimizeRequest()))
            elapsed = time.perf_counter() - start
            if received != count:
                raise RuntimeError(f"{received} messages of {count}")
            return count / elapsed

        yield rate
    ours.send(None)
    process.join()


def _serve(pipe: Connection, message: bytes, count: int) -> None:
    asyncio.run(_serve_until_told(pipe, [OptimizeResponse.FromString(message)] * count))


async def _serve_until_told(pipe: Connection, messages: list[OptimizeResponse]) -> None:
    server = grpc.aio.server()
    add_OptimizationServiceServicer_to_server(_Repeater(messages), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(port)
    await asyncio.to_thread(pipe.recv)
    await server.stop(None)


class _Repeater(OptimizationServiceServicer):
    def __init__(self, messages: list[OptimizeResponse]) -> None:
        self._messages = messages

    async def Optimize(self, request, context) -> AsyncIterator[OptimizeResponse]:  # noqa: N802
        for message in self._messages:
            yield message
