"""The end of a server under load: SIGTERM while it prepares and runs what clients asked for."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from stratsweep.v1 import parameter_pb2
from stratsweep.v1.optimization_service_pb2 import OptimizeRequest
from stratsweep.v1.optimization_service_pb2_grpc import OptimizationServiceStub

from tests.fuzz.grids import long_preparation
from tests.load.leftovers import left_over
from tests.load.processes import usage
from tests.load.server_program import ServerProgram
from tests.requests import optimize_request

GRACE_SECONDS = 1.0
"""What a server that is ended here must have been started with, as `--grace`."""

_PATIENCE_SECONDS = 10.0
_PREPARATIONS = 8
_REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def stop_under_load(server: ServerProgram) -> list[str]:
    """End a server by SIGTERM while it is busy; returns what was wrong, in words.

    Args:
        server: With a `LoadEngine`, started with `--grace GRACE_SECONDS`.
    """
    pids = usage(server.pid).pids
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        stub = OptimizationServiceStub(channel)
        calls = [stub.Optimize(_long_run()) for _ in range(2)]
        for call in calls:
            await call.read()  # it has started
        calls += [stub.Optimize(long_preparation()) for _ in range(_PREPARATIONS)]
        # What came on the connection before this call has reached the server when it is answered.
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        endings = asyncio.gather(*map(_ending_violations, calls))
        found = await _stop(server)
        for texts in await endings:
            found += texts
    return found + await left_over(server, pids)


def _long_run() -> OptimizeRequest:
    request = optimize_request("nap", 100_000)
    request.config.parameters.add(name="salt", integer_list=parameter_pb2.IntegerList(values=[1]))
    return request


async def _stop(server: ServerProgram) -> list[str]:
    allowed = GRACE_SECONDS + _PATIENCE_SECONDS
    try:
        code = await asyncio.to_thread(server.stop, allowed)
    except subprocess.TimeoutExpired:
        server.kill()
        return [f"SIGTERM did not end it within {allowed:g} s"]
    return [] if code == 0 else [f"it ended with {code} on SIGTERM"]


async def _ending_violations(call: grpc.aio.UnaryStreamCall) -> Sequence[str]:
    """Read a stream to its end: it says that the server stops, if it does not end by itself."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        if error.code() in _REFUSALS:
            return []
        if error.code() is grpc.StatusCode.UNAVAILABLE and _reasons(error) == ["DRAINING"]:
            return []
        return [f"while the server stopped, a call got {error.code().name}: {error.details()}"]
    except asyncio.CancelledError:
        return [f"while the server stopped, a call got CANCELLED: {await call.details()}"]
    return []


def _reasons(error: grpc.aio.AioRpcError) -> list[str]:
    status = rpc_status.from_call(error)
    found = []
    for entry in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if entry.Unpack(info):
            found.append(info.reason)
    return found
