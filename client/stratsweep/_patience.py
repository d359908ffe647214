"""Calls that wait for a server that is not there yet, and are made once more when one is.

gRPC fails a call at once where the last attempt to connect has failed, also when that was a while
ago and the server is back.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from grpc import aio

from stratsweep._channel import becomes_ready, becomes_ready_async
from stratsweep._status import is_without_server
from stratsweep._values import seconds
from stratsweep.config import Span

_Response = TypeVar("_Response")


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

    @property
    def is_over(self) -> bool:
        """Return whether the call may take no longer."""
        return self.timeout() == 0.0

    def at_most(self, seconds: float) -> float:
        """Return a number of seconds, or those that are left for the call where they are fewer."""
        left = self.timeout()
        return seconds if left is None else min(seconds, left)

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
