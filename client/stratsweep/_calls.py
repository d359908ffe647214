"""The calls of both clients: an RPC with one response is a line of the table here.

Its answer is decoded, and its errors are this package's, in either face.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import grpc
from grpc import aio

from stratsweep._assembler import EventAssembler
from stratsweep._catalogue import (
    Page,
    Pages,
    optimization,
    optimization_page,
    result_page,
)
from stratsweep._channel import ChannelOptions, all_channel_options, connect_seconds
from stratsweep._compatibility import unknown_call_text
from stratsweep._decoding import server_info, strategy_list
from stratsweep._patience import (
    AsyncPatientStream,
    Patience,
    PatientStream,
    response,
    response_async,
)
from stratsweep._status import error_from_rpc, is_unknown_call
from stratsweep.config import Span
from stratsweep.errors import OptimizationCancelledError, ServerError
from stratsweep.optimizations import Optimization
from stratsweep.outcomes import ParameterResult
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import StrategyList
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class UnaryRpc(Generic[_Request, _Answer]):
    """Describe an RPC with one response.

    Attributes:
        name: Its name in the contract.
        request: The type of its request.
        decode: Makes of the response what the caller gets.
    """

    name: str
    request: type[_Request]
    decode: Callable[[Any], _Answer]


GET_SERVER_INFO: UnaryRpc[optimization_service_pb2.GetServerInfoRequest, ServerInfo] = UnaryRpc(
    "GetServerInfo", optimization_service_pb2.GetServerInfoRequest, server_info
)
LIST_STRATEGIES: UnaryRpc[optimization_service_pb2.ListStrategiesRequest, StrategyList] = UnaryRpc(
    "ListStrategies", optimization_service_pb2.ListStrategiesRequest, strategy_list
)
GET_OPTIMIZATION: UnaryRpc[optimization_service_pb2.GetOptimizationRequest, Optimization] = (
    UnaryRpc(
        "GetOptimization",
        optimization_service_pb2.GetOptimizationRequest,
        lambda response: optimization(response.optimization),
    )
)
LIST_OPTIMIZATIONS: UnaryRpc[
    optimization_service_pb2.ListOptimizationsRequest, Page[Optimization]
] = UnaryRpc(
    "ListOptimizations", optimization_service_pb2.ListOptimizationsRequest, optimization_page
)
LIST_RESULTS: UnaryRpc[optimization_service_pb2.ListResultsRequest, Page[ParameterResult]] = (
    UnaryRpc("ListResults", optimization_service_pb2.ListResultsRequest, result_page)
)
CANCEL_OPTIMIZATION: UnaryRpc[optimization_service_pb2.CancelOptimizationRequest, Optimization] = (
    UnaryRpc(
        "CancelOptimization",
        optimization_service_pb2.CancelOptimizationRequest,
        lambda response: optimization(response.optimization),
    )
)
DELETE_OPTIMIZATION: UnaryRpc[optimization_service_pb2.DeleteOptimizationRequest, None] = UnaryRpc(
    "DeleteOptimization", optimization_service_pb2.DeleteOptimizationRequest, lambda _: None
)


@contextmanager
def known_errors(stream: EventAssembler | None = None) -> Iterator[None]:
    """Raise this package's errors for those of gRPC, and for the end of a call alone.

    Args:
        stream: Whose errors they are, so that they say how far it had come; None where no event
            has been shown.
    """
    stream = stream or EventAssembler()
    try:
        yield
    except grpc.RpcError as error:
        known = error_from_rpc(error, stream_started=stream.message_received)
        raise stream.located(known) from error
    except asyncio.CancelledError:
        if not _is_own_cancellation():
            raise
        raise stream.located(OptimizationCancelledError("the call was cancelled")) from None


def _is_own_cancellation() -> bool:
    """Return whether a CancelledError is of the call alone, not of the task that waits for it.

    grpc.aio raises it for both.
    """
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


class Calls:
    """Makes the calls of a `Client`, each of which waits for a server that is not there yet.

    Args:
        address: Where the server listens.
        connect_timeout: As of `Client`.
        channel_options: As of `Client`.
    """

    def __init__(
        self, address: str, connect_timeout: Span, channel_options: ChannelOptions
    ) -> None:
        self._connect_timeout = connect_seconds(connect_timeout)
        options = all_channel_options(address, self._connect_timeout, channel_options)
        self._channel = grpc.insecure_channel(address, options)
        self._stub = optimization_service_pb2_grpc.OptimizationServiceStub(self._channel)

    def unary(
        self, rpc: UnaryRpc[_Request, _Answer], request: _Request, timeout: Span | None
    ) -> _Answer:
        """Return the decoded response of an RPC.

        Raises:
            StratsweepError: The call failed.
        """
        patience = Patience(self._connect_timeout, timeout)
        with known_errors():
            try:
                method = getattr(self._stub, rpc.name)
                return rpc.decode(response(method, request, self._channel, patience))
            except grpc.RpcError as error:
                if not is_unknown_call(error):
                    raise
                info = self._known_info(patience.timeout())
                raise ServerError(unknown_call_text(rpc.name, info)) from error

    def pages(
        self, rpc: UnaryRpc[Any, Page[_Item]], pages: Pages[Any], timeout: Span | None
    ) -> Iterator[Page[_Item]]:
        """Yield the pages of an answer, each asked for when it is needed.

        Raises:
            StratsweepError: A call failed.
        """
        while (request := pages.next_request()) is not None:
            page = self.unary(rpc, request, timeout)
            pages.turn(page)
            yield page

    def items(
        self, rpc: UnaryRpc[Any, Page[_Item]], pages: Pages[Any], timeout: Span | None
    ) -> Iterator[_Item]:
        """Yield what is on the pages of an answer, each asked for when it is needed.

        Raises:
            StratsweepError: A call failed.
        """
        for page in self.pages(rpc, pages, timeout):
            yield from page.items

    def stream(self, name: str, request: object, timeout: Span | None) -> PatientStream[Any]:
        """Start an RPC with a stream of responses, by its name in the contract."""
        method = getattr(self._stub, name)
        return PatientStream(
            lambda seconds: method(request, timeout=seconds),
            self._channel,
            Patience(self._connect_timeout, timeout),
        )

    def close(self) -> None:
        """Close the connection; calls that run are cancelled."""
        self._channel.close()

    def _known_info(self, timeout: float | None) -> ServerInfo | None:
        request = optimization_service_pb2.GetServerInfoRequest()
        try:
            return server_info(self._stub.GetServerInfo(request, timeout=timeout))
        except grpc.RpcError:
            return None


class AsyncCalls:
    """Makes the calls of an `AsyncClient`; as `Calls`, in the loop that first uses it."""

    def __init__(
        self, address: str, connect_timeout: Span, channel_options: ChannelOptions
    ) -> None:
        self._address = address
        self._connect_timeout = connect_seconds(connect_timeout)
        self._options = all_channel_options(address, self._connect_timeout, channel_options)
        self._streams: WeakSet[AsyncPatientStream[Any]] = WeakSet()

    # A channel must be made inside the loop that uses it, and a client may be made outside.
    @cached_property
    def _channel(self) -> aio.Channel:
        return aio.insecure_channel(self._address, self._options)

    @cached_property
    def _stub(self) -> optimization_service_pb2_grpc.OptimizationServiceAsyncStub:
        return optimization_service_pb2_grpc.OptimizationServiceStub(self._channel)

    async def unary(
        self,
        rpc: UnaryRpc[_Request, _Answer],
        request: _Request,
        timeout: Span | None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> _Answer:
        """Return the decoded response of an RPC.

        Raises:
            StratsweepError: The call failed.
        """
        patience = Patience(self._connect_timeout, timeout)
        with known_errors():
            try:
                method = getattr(self._stub, rpc.name)
                return rpc.decode(await response_async(method, request, self._channel, patience))
            except grpc.RpcError as error:
                if not is_unknown_call(error):
                    raise
                info = await self._known_info(patience.timeout())
                raise ServerError(unknown_call_text(rpc.name, info)) from error

    async def pages(
        self,
        rpc: UnaryRpc[Any, Page[_Item]],
        pages: Pages[Any],
        timeout: Span | None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> AsyncIterator[Page[_Item]]:
        """Yield the pages of an answer, each asked for when it is needed.

        Raises:
            StratsweepError: A call failed.
        """
        while (request := pages.next_request()) is not None:
            page = await self.unary(rpc, request, timeout)
            pages.turn(page)
            yield page

    async def items(
        self,
        rpc: UnaryRpc[Any, Page[_Item]],
        pages: Pages[Any],
        timeout: Span | None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> AsyncIterator[_Item]:
        """Yield what is on the pages of an answer, each asked for when it is needed.

        Raises:
            StratsweepError: A call failed.
        """
        async for page in self.pages(rpc, pages, timeout):
            for item in page.items:
                yield item

    def stream(self, name: str, request: object, timeout: Span | None) -> AsyncPatientStream[Any]:
        """Start an RPC with a stream of responses, by its name in the contract."""
        method = getattr(self._stub, name)
        call: AsyncPatientStream[Any] = AsyncPatientStream(
            lambda seconds: method(request, timeout=seconds),
            self._channel,
            Patience(self._connect_timeout, timeout),
        )
        self._streams.add(call)
        return call

    async def close(self) -> None:
        """Close the connection; calls that run are cancelled."""
        # Before 1.83 gRPC does so only for calls that a task waits for at this moment.
        for call in list(self._streams):
            call.cancel()
        await self._channel.close()

    async def _known_info(self, timeout: float | None) -> ServerInfo | None:  # noqa: ASYNC109
        request = optimization_service_pb2.GetServerInfoRequest()
        try:
            return server_info(await self._stub.GetServerInfo(request, timeout=timeout))
        except grpc.RpcError:
            return None
