"""Calls that wait for a server that is not there yet, and are made once more when one is.

gRPC fails a call at once where the last attempt to connect has failed, also when that was a while
ago and the server is back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Generic, Protocol, TypeVar

import grpc
from grpc import aio

from stratsweep._channel import becomes_ready, becomes_ready_async
from stratsweep._status import is_without_server
from stratsweep._values import seconds
from stratsweep.config import Span
from stratsweep.errors import OptimizationCancelledError

_Response = TypeVar("_Response")
_Response_co = TypeVar("_Response_co", covariant=True)


class Patience:
    """How long a call may take, and how long of that it waits for a server; from now.

    Args:
        connect_timeout: For a server, in seconds.
        timeout: For all of it; None is without end.
    """

    def __init__(self, connect_timeout: float, timeout: Span | None) -> None:
        now = time.monotonic()
        self._end = None if timeout is None else now + seconds("timeout", timeout)
        self._connect_end = now + connect_timeout

    def timeout(self) -> float | None:
        """Return the seconds that are left for the call."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def connect_timeout(self, error: grpc.RpcError) -> float:
        """Return the seconds that are left to wait for a server; 0 where one has answered."""
        if not is_without_server(error):
            return 0.0
        end = self._connect_end if self._end is None else min(self._connect_end, self._end)
        return max(0.0, end - time.monotonic())


def response(
    method: Callable[..., _Response], request: object, channel: grpc.Channel, patience: Patience
) -> _Response:
    """Return the one response of a call.

    Raises:
        grpc.RpcError: It failed.
    """
    while True:
        try:
            return method(request, timeout=patience.timeout())
        except grpc.RpcError as error:
            if not becomes_ready(channel, patience.connect_timeout(error)):
                raise


async def response_async(
    method: Callable[..., Awaitable[_Response]],
    request: object,
    channel: aio.Channel,
    patience: Patience,
) -> _Response:
    """Return the one response of a call.

    Raises:
        grpc.RpcError: It failed.
    """
    while True:
        try:
            return await method(request, timeout=patience.timeout())
        except grpc.RpcError as error:
            if not await becomes_ready_async(channel, patience.connect_timeout(error)):
                raise


class StreamCall(Protocol[_Response_co]):
    """A call with a stream of responses, as a stub makes it."""

    def __iter__(self) -> Iterator[_Response_co]: ...

    def cancel(self) -> object: ...


class AsyncStreamCall(Protocol[_Response_co]):
    """A call with a stream of responses, as an asyncio stub makes it."""

    def __aiter__(self) -> AsyncIterator[_Response_co]: ...

    def cancel(self) -> object: ...


class PatientStream(Generic[_Response]):
    """A `StreamCall`; the first of its calls is made at once.

    Args:
        make_call: Makes a call, given its timeout.
        channel: What the calls go through.
        patience: How long all of it may take.
    """

    def __init__(
        self,
        make_call: Callable[[float | None], StreamCall[_Response]],
        channel: grpc.Channel,
        patience: Patience,
    ) -> None:
        self._make_call = make_call
        self._channel = channel
        self._patience = patience
        self._has_response = False
        self._is_cancelled = False
        self._wake = threading.Event()
        self._start()

    def __iter__(self) -> Iterator[_Response]:
        return self

    def __next__(self) -> _Response:
        return next(self._responses) if self._has_response else self._first()

    def _first(self) -> _Response:
        while True:
            try:
                message = next(self._responses)
            except grpc.RpcError as error:
                is_ready = self._becomes_ready(error)
                if self._is_cancelled:
                    raise OptimizationCancelledError("the call was cancelled") from error
                if not is_ready:
                    raise
                self._start()
            else:
                self._has_response = True
                return message

    def cancel(self) -> None:
        """End the call, and the wait for a server."""
        self._is_cancelled = True
        self._wake.set()
        self._call.cancel()

    def _becomes_ready(self, error: grpc.RpcError) -> bool:
        self._wake = threading.Event()
        if self._is_cancelled:  # by another thread, which may have set the one before
            self._wake.set()
        return becomes_ready(self._channel, self._patience.connect_timeout(error), self._wake)

    def _start(self) -> None:
        self._call = self._make_call(self._patience.timeout())
        self._responses = iter(self._call)
        if self._is_cancelled:  # by another thread, while this one waited
            self._call.cancel()


class AsyncPatientStream(Generic[_Response]):
    """An `AsyncStreamCall`; the first of its calls is made at once.

    Args:
        make_call: Makes a call, given its timeout.
        channel: What the calls go through.
        patience: How long all of it may take.
    """

    def __init__(
        self,
        make_call: Callable[[float | None], AsyncStreamCall[_Response]],
        channel: aio.Channel,
        patience: Patience,
    ) -> None:
        self._make_call = make_call
        self._channel = channel
        self._patience = patience
        self._has_response = False
        self._is_cancelled = False
        self._wait: asyncio.Task[bool] | None = None
        self._start()

    def __aiter__(self) -> AsyncIterator[_Response]:
        return self

    def __anext__(self) -> Awaitable[_Response]:
        return anext(self._responses) if self._has_response else self._first()

    async def _first(self) -> _Response:
        while True:
            try:
                message = await anext(self._responses)
            except grpc.RpcError as error:
                timeout = self._patience.connect_timeout(error)
                self._wait = asyncio.create_task(becomes_ready_async(self._channel, timeout))
                if not await self._wait:
                    raise
                self._start()
            else:
                self._has_response = True
                return message

    def cancel(self) -> None:
        """End the call, and the wait for a server."""
        self._is_cancelled = True
        if self._wait is not None:
            self._wait.cancel()
        self._call.cancel()

    def _start(self) -> None:
        self._call = self._make_call(self._patience.timeout())
        self._responses = aiter(self._call)
        if self._is_cancelled:  # by another task, while this one waited
            self._call.cancel()
