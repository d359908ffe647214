"""The calls of the asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakSet

import grpc
from grpc import aio

from stratsweep._calls import CLOSED, STOP_SECONDS, Followers, known_errors, stop_request
from stratsweep._catalogue import Page, Pages
from stratsweep._channel import ChannelOptions, all_channel_options
from stratsweep._compatibility import unknown_call_text
from stratsweep._decoding import server_info
from stratsweep._follower import Follower, OnReconnect
from stratsweep._patience import Patience, response_async
from stratsweep._rpcs import GET_OPTIMIZATION, UnaryRpc
from stratsweep._status import is_unknown_call
from stratsweep._stream_calls import AsyncLastingStream
from stratsweep.config import Span
from stratsweep.errors import ServerError
from stratsweep.server_info import ServerInfo
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Item = TypeVar("_Item")


class AsyncCalls(Followers):
    """Makes the calls of an `AsyncClient`; as `Calls`, in the loop that first uses it."""

    def __init__(
        self,
        address: str,
        connect_timeout: Span,
        reconnect_timeout: Span,
        on_reconnect: OnReconnect | None,
        channel_options: ChannelOptions,
    ) -> None:
        super().__init__(connect_timeout, reconnect_timeout, on_reconnect)
        self._address = address
        self._options = all_channel_options(address, self._connect_timeout, channel_options)
        self._streams: WeakSet[AsyncLastingStream] = WeakSet()
        self._stops: set[asyncio.Task[None]] = set()

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

    def stream(self, follower: Follower) -> AsyncLastingStream:
        """Start the RPC with a stream of responses that one follows by."""
        method = getattr(self._stub, follower.rpc)
        stream = AsyncLastingStream(
            lambda request, seconds: method(request, timeout=seconds), self._channel, follower
        )
        self._streams.add(stream)
        return stream

    async def prepare(self, follower: Follower) -> None:
        """Get the first event for one who follows from a later one on.

        Raises:
            StratsweepError: The call failed.
        """
        if follower.lacks_start:
            request = optimization_service_pb2.GetOptimizationRequest(
                optimization_id=follower.optimization_id
            )
            stand = await self.unary(GET_OPTIMIZATION, request, follower.timeout())
            follower.assembler.begin(stand.started)

    def stop_soon(self, follower: Follower, reason: str) -> None:
        """Ask the server to stop an optimization, without waiting for its answer."""
        if follower.is_stopping:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # it has ended, and all of its calls
            return
        stop = loop.create_task(self._stop(stop_request(follower, reason)))
        self._stops.add(stop)
        stop.add_done_callback(self._stops.discard)

    def leave(self, stream: AsyncLastingStream, reason: str) -> None:
        """End a stream, and the work where that is its own; without waiting for either."""
        if stream.follower.owns_work and not stream.follower.is_left:
            self.stop_soon(stream.follower, reason)
        stream.cancel()

    async def close(self) -> None:
        """Close the connection; calls that run are cancelled."""
        # Before 1.83 gRPC does so only for calls that a task waits for at this moment.
        for stream in list(self._streams):
            self.leave(stream, CLOSED)
        await asyncio.gather(*self._stops, return_exceptions=True)
        await self._channel.close()

    async def _stop(self, request: optimization_service_pb2.CancelOptimizationRequest) -> None:
        with suppress(grpc.RpcError, aio.UsageError):  # the client has been closed
            await self._stub.CancelOptimization(request, timeout=STOP_SECONDS)

    async def _known_info(self, timeout: float | None) -> ServerInfo | None:  # noqa: ASYNC109
        request = optimization_service_pb2.GetServerInfoRequest()
        try:
            return server_info(await self._stub.GetServerInfo(request, timeout=timeout))
        except grpc.RpcError:
            return None
