"""Serve requests: from a request to a config, and from an optimization to a stream of events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import PurePath
from typing import Any

import grpc
from stratsweep._version import CONTRACT_VERSION, __version__
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1.optimization_service_pb2_grpc import OptimizationServiceServicer

from stratsweep_server.backtest.loading import DEFAULT_ENGINE
from stratsweep_server.execution.pool import BacktestPool
from stratsweep_server.market_data.data_directory import DataDirectory
from stratsweep_server.market_data.storage import StorageUnavailableError
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.optimizations import Optimizations
from stratsweep_server.rpc import requests, responses
from stratsweep_server.rpc.events.following import following
from stratsweep_server.rpc.events.stream import started_response
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.rpc.reading_requests import refuse
from stratsweep_server.rpc.records import optimization_message

logger = logging.getLogger(__name__)

_FIRST_WRITE_SECONDS = 1.0


def _ignore(error: StorageUnavailableError) -> None:
    """Do nothing: the default where nobody wants to be told."""


class OptimizationService(OptimizationServiceServicer):
    """Serve optimizations on one pool.

    Args:
        optimizations: Admits and runs them.
        pool: Describes the engine on which they run.
        data: The price files; None when there are none.
        engine: What the operator calls the engine.
        on_storage_error: Told when a folder that the server needs cannot be used.
        reading: Answers what is asked of optimizations that there are.
    """

    def __init__(
        self,
        optimizations: Optimizations,
        pool: BacktestPool,
        data: DataDirectory | None,
        engine: str = DEFAULT_ENGINE,
        on_storage_error: Callable[[StorageUnavailableError], None] = _ignore,
        *,
        reading: Reading,
    ) -> None:
        self._pool = pool
        self._optimizations = optimizations
        self._data = data
        self._engine = PurePath(engine).name  # of a file the client is not told where it is
        self._start_time = time.monotonic()
        self._on_storage_error = on_storage_error
        self._reading = reading

    async def Optimize(  # type: ignore[override]  # noqa: N802
        self,
        request: service_pb2.OptimizeRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Run, carry on or attach to an optimization, and stream its events."""
        optimizations = self._optimizations
        with self._telling_of_storage():
            asked, options = await in_background(requests.read_request, request)
            if request.validate_only:
                started = await optimizations.look_at(asked)
                await _write_first(context, started_response(started, time.time_ns()))
                return
            async with optimizations.opened(asked) as optimization:
                events = following(optimization, options.stream, options.after_sequence_number)
                await _write_all(context, events)

    async def CancelOptimization(  # noqa: N802
        self,
        request: service_pb2.CancelOptimizationRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> service_pb2.CancelOptimizationResponse:
        """Stop an optimization, and keep what has completed."""
        refuse(requests.find_cancel_violations(request))
        record = await self._optimizations.cancel(request.optimization_id, request.reason)
        return service_pb2.CancelOptimizationResponse(
            optimization=await in_background(optimization_message, record)
        )

    async def ListStrategies(  # noqa: N802
        self,
        request: service_pb2.ListStrategiesRequest,  # noqa: ARG002 - nothing to choose yet
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> service_pb2.ListStrategiesResponse:
        """Return what can be run: strategies, metrics, symbols; and from which sources."""
        description = await self._pool.describe_engine()
        loaded = await self._pool.loaded_sources()
        coverage = []
        if self._data is not None and description.uses_market_data:
            with self._telling_of_storage():
                coverage = await in_background(self._data.coverage)
        return service_pb2.ListStrategiesResponse(
            strategies=responses.strategies(description, loaded),
            metrics=responses.metrics(description.metrics),
            symbols=responses.symbols(coverage),
            accepts_any_strategy=not description.strategies,
            sources=responses.sources(loaded),
        )

    async def GetServerInfo(  # noqa: N802
        self,
        request: service_pb2.GetServerInfoRequest,  # noqa: ARG002 - nothing to choose
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> service_pb2.GetServerInfoResponse:
        """Return which server this is, and what it takes."""
        return service_pb2.GetServerInfoResponse(
            server_version=__version__,
            contract_version=CONTRACT_VERSION,
            engine=self._engine,
            worker_count=self._pool.worker_count,
            max_combinations=self._optimizations.preparer.optimizer.max_combinations,
            max_optimizations=self._optimizations.places.max_count,
            uptime=responses.duration(time.monotonic() - self._start_time),
        )

    async def WatchOptimization(  # type: ignore[override]  # noqa: N802
        self,
        request: service_pb2.WatchOptimizationRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Stream the events of an optimization, past ones first."""
        await _write_all(context, self._reading.watch(request))

    async def GetOptimization(  # noqa: N802
        self,
        request: service_pb2.GetOptimizationRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> service_pb2.GetOptimizationResponse:
        """Return where an optimization stands."""
        return await self._reading.optimization(request)

    async def ListOptimizations(  # type: ignore[override]  # noqa: N802
        self,
        request: service_pb2.ListOptimizationsRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> bytes:
        """Return a page of optimizations."""
        return await self._reading.optimizations(request)

    async def ListResults(  # type: ignore[override]  # noqa: N802
        self,
        request: service_pb2.ListResultsRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> bytes:
        """Return a page of an optimization's results."""
        return await self._reading.results(request)

    async def DeleteOptimization(  # noqa: N802
        self,
        request: service_pb2.DeleteOptimizationRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002 - the signature of gRPC
    ) -> service_pb2.DeleteOptimizationResponse:
        """Forget an optimization."""
        return await self._reading.delete(request)

    @contextmanager
    def _telling_of_storage(self) -> Iterator[None]:
        try:
            yield
        except StorageUnavailableError as error:
            self._on_storage_error(error)
            raise


async def _write_all(
    context: grpc.aio.ServicerContext[Any, Any], messages: AsyncGenerator[bytes, None]
) -> None:
    """Write messages as they come; the next one is made when the last one was taken."""
    async with aclosing(messages):
        async for first in messages:
            await _write_first(context, first)
            break
        async for message in messages:
            await context.write(message)


async def _write_first(context: grpc.aio.ServicerContext[Any, Any], message: bytes) -> None:
    """Write a call's first message, and let a cancellation wait for it.

    gRPC sends the headers along. Cancelled in between it takes them for unsent, and can send no
    status any more.
    """
    writing = asyncio.ensure_future(context.write(message))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing], timeout=_FIRST_WRITE_SECONDS)
        raise
