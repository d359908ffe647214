"""The calls of the synchronous client, and what those of both clients share.

Answers are decoded, and errors are this package's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import grpc

from stratsweep._assembler import EventAssembler, EventsRequest
from stratsweep._catalogue import Page, Pages
from stratsweep._channel import ChannelOptions, all_channel_options, becomes_ready
from stratsweep._compatibility import unknown_call_text
from stratsweep._decoding import server_info
from stratsweep._follower import Follower, OnReconnect
from stratsweep._patience import Patience, response
from stratsweep._rpcs import GET_OPTIMIZATION, UnaryRpc
from stratsweep._status import error_from_rpc, is_unknown_call
from stratsweep._stream_calls import LastingStream, StreamCall
from stratsweep._values import seconds_from_zero
from stratsweep.config import Span
from stratsweep.errors import OptimizationCancelledError, ServerError
from stratsweep.server_info import ServerInfo
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc

STOP_SECONDS = 2.0
"""How long the server may take to answer when the work is to be stopped by one who leaves."""
CLOSED = "its client was closed"
_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Item = TypeVar("_Item")


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


class Followers:
    """What both faces know of those who follow optimizations.

    Args:
        connect_timeout: As of `Client`.
        reconnect_timeout: As of `Client`.
        on_reconnect: As of `Client`.
    """

    def __init__(
        self, connect_timeout: Span, reconnect_timeout: Span, on_reconnect: OnReconnect | None
    ) -> None:
        self._connect_timeout = seconds_from_zero("connect_timeout", connect_timeout)
        self._reconnect_timeout = seconds_from_zero("reconnect_timeout", reconnect_timeout)
        self._on_reconnect = on_reconnect

    def follower(
        self, request: EventsRequest, timeout: Span | None, wait_when_busy: Span | None = None
    ) -> Follower:
        """Return one who follows what a request asks for; nothing is sent yet.

        Raises:
            TypeError: A span is none.
            ValueError: `wait_when_busy` is negative.
        """
        return Follower(
            request,
            Patience(self._connect_timeout, timeout),
            reconnect_timeout=self._reconnect_timeout,
            busy_timeout=seconds_from_zero("wait_when_busy", wait_when_busy or 0),
            on_reconnect=self._on_reconnect,
        )


def stop_request(
    follower: Follower, reason: str
) -> optimization_service_pb2.CancelOptimizationRequest:
    """Return the request to stop the work of one who follows it, once."""
    follower.is_stopping = True
    return optimization_service_pb2.CancelOptimizationRequest(
        optimization_id=follower.optimization_id, reason=reason
    )


class Calls(Followers):
    """Makes the calls of a `Client`, each of which waits for a server that is not there yet.

    Args:
        address: Where the server listens.
        connect_timeout: As of `Client`.
        reconnect_timeout: As of `Client`.
        on_reconnect: As of `Client`.
        channel_options: As of `Client`.
    """

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
        self._connect()
        self._streams: WeakSet[LastingStream] = WeakSet()
        self._stops: set[grpc.Future[Any]] = set()

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

    def stream(self, follower: Follower) -> LastingStream:
        """Start the RPC with a stream of responses that one follows by."""

        def make_call(request: EventsRequest, timeout: float | None) -> StreamCall:
            call: StreamCall = getattr(self._stub, follower.rpc)(request, timeout=timeout)
            return call

        stream = LastingStream(make_call, self._becomes_ready, self._connect, follower)
        self._streams.add(stream)
        return stream

    def prepare(self, follower: Follower) -> None:
        """Get the first event for one who follows from a later one on.

        Raises:
            StratsweepError: The call failed.
        """
        if follower.lacks_start:
            request = optimization_service_pb2.GetOptimizationRequest(
                optimization_id=follower.optimization_id
            )
            stand = self.unary(GET_OPTIMIZATION, request, follower.timeout())
            follower.assembler.begin(stand.started)

    def stop_soon(self, follower: Follower, reason: str) -> None:
        """Ask the server to stop an optimization, without waiting for its answer."""
        if follower.is_stopping:
            return
        request = stop_request(follower, reason)
        try:
            stop = self._stub.CancelOptimization.future(request, timeout=STOP_SECONDS)
        except ValueError:  # the client has been closed
            return
        self._stops.add(stop)
        stop.add_done_callback(self._stops.discard)

    def leave(self, stream: LastingStream, reason: str) -> None:
        """End a stream, and the work where that is its own; without waiting for either."""
        if stream.follower.owns_work and not stream.follower.is_left:
            self.stop_soon(stream.follower, reason)
        stream.cancel()

    def close(self) -> None:
        """Close the connection; calls that run are cancelled."""
        for stream in list(self._streams):
            self.leave(stream, CLOSED)
        for stop in list(self._stops):
            stop.exception()  # waits until it has ended
        self._channel.close()

    def _connect(self) -> None:
        """Open a channel in the place of one that may be torn; gRPC shares the connection."""
        self._channel = grpc.insecure_channel(self._address, self._options)
        self._stub = optimization_service_pb2_grpc.OptimizationServiceStub(self._channel)

    def _becomes_ready(self, timeout: float, wake: threading.Event) -> bool:
        return becomes_ready(self._channel, timeout, wake)

    def _known_info(self, timeout: float | None) -> ServerInfo | None:
        request = optimization_service_pb2.GetServerInfoRequest()
        try:
            return server_info(self._stub.GetServerInfo(request, timeout=timeout))
        except grpc.RpcError:
            return None
