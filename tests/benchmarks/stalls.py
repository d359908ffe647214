"""How long one callback holds a server's event loop up while it streams."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from stratsweep.v1 import optimization_service_pb2
from stratsweep_server.app import Server

_CLIENT = """
import sys, grpc
from stratsweep.v1 import optimization_service_pb2 as pb, optimization_service_pb2_grpc as rpc
request = pb.OptimizeRequest.FromString(sys.stdin.buffer.read())
for message in rpc.OptimizationServiceStub(grpc.insecure_channel(sys.argv[1])).Optimize(request):
    pass
"""
"""A process of its own, so that it does not wait for the server's interpreter."""


async def longest_stall(server: Server, request: optimization_service_pb2.OptimizeRequest) -> float:
    """Run an optimization; returns the seconds of processor time of the longest callback."""
    gc.freeze()  # as the server program does
    durations = [0.0]
    with _timed_callbacks(durations):
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _CLIENT, server.address), stdin=asyncio.subprocess.PIPE
        )
        await client.communicate(request.SerializeToString())
    if client.returncode != 0:
        raise RuntimeError(f"the client ended with exit code {client.returncode}")
    return max(durations)


@contextmanager
def _timed_callbacks(durations: list[float]) -> Iterator[None]:
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        durations.append(time.thread_time() - start)

    with patch.object(asyncio.Handle, "_run", timed):
        yield
