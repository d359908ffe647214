"""Streams of messages that outlive their calls: one that is lost is made again and goes on.

Before the first message a call waits for a server that is not there, or is busy; afterwards it is
made again where the connection was lost. `Follower` decides, in both faces.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

import grpc
from grpc import aio

from stratsweep._assembler import EventsRequest
from stratsweep._channel import becomes_ready_async
from stratsweep._follower import Follower, Wait
from stratsweep.errors import OptimizationCancelledError


class StreamCall(Protocol):
    """A call with a stream of responses, as a stub makes it."""

    def __iter__(self) -> Iterator[Any]: ...

    def cancel(self) -> object: ...


class AsyncStreamCall(Protocol):
    """A call with a stream of responses, as an asyncio stub makes it."""

    def __aiter__(self) -> AsyncIterator[Any]: ...

    def cancel(self) -> object: ...


class LastingStream:
    """An iterator over the messages of a stream; the first call is made at once.

    Args:
        make_call: Makes a call, given its request and timeout.
        becomes_ready: Waits for a connection, given how long, and what ends the wait.
        renew: Has the next call go through another channel.
        follower: Says what to ask for, and when to ask again.

    Attributes:
        follower: The same.
    """

    def __init__(
        self,
        make_call: Callable[[EventsRequest, float | None], StreamCall],
        becomes_ready: Callable[[float, threading.Event], bool],
        renew: Callable[[], None],
        follower: Follower,
    ) -> None:
        self._make_call = make_call
        self._becomes_ready = becomes_ready
        self._renew = renew
        self.follower = follower
        self._wake = threading.Event()
        self._start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:  # noqa: ANN401 - a response of one of two RPCs
        while True:
            try:
                message = next(self._responses)
            except grpc.RpcError as error:
                self._start_after(error)
            except StopIteration:
                self.follower.has_ended = True
                raise
            except KeyboardInterrupt:
                self._leave_torn_call()
                raise
            else:
                if self.follower.is_lost:
                    self.follower.note_message()
                return message

    def cancel(self) -> None:
        """End the call, and any wait for another one."""
        self.follower.is_left = True
        self._wake.set()
        self._call.cancel()

    def _start_after(self, error: grpc.RpcError) -> None:
        wait = self.follower.wait_after(error)
        is_ready = wait is not None and self._waited(wait)
        if self.follower.is_left:
            raise OptimizationCancelledError("the call was cancelled") from error
        if not is_ready:
            self.follower.note_end(error)
            raise error
        self._start()

    def _waited(self, wait: Wait) -> bool:
        self._wake = threading.Event()
        if self.follower.is_left:  # by another thread, which may have set the one before
            self._wake.set()
        if self._wake.wait(wait.pause):
            return False
        return wait.connect_timeout is None or self._becomes_ready(wait.connect_timeout, self._wake)

    def _leave_torn_call(self) -> None:
        """Have the next message come from another call.

        Ctrl-C comes between any two instructions: gRPC may hold a lock of the call, and of its
        channel, that nobody lets go of.
        """
        if self.follower.can_reattach:
            self._call.cancel()
            self._renew()
            self._responses = self._restarted()

    def _restarted(self) -> Iterator[Any]:
        self._start()
        yield next(self._responses)

    def _start(self) -> None:
        self._call = self._make_call(self.follower.next_request(), self.follower.timeout())
        self._responses = iter(self._call)
        if self.follower.is_left:  # by another thread, while this one waited
            self._call.cancel()


class AsyncLastingStream:
    """An asynchronous iterator over the messages of a stream; as `LastingStream`.

    Args:
        make_call: Makes a call, given its request and timeout.
        channel: What the calls go through.
        follower: Says what to ask for, and when to ask again.

    Attributes:
        follower: The same.
    """

    def __init__(
        self,
        make_call: Callable[[EventsRequest, float | None], AsyncStreamCall],
        channel: aio.Channel,
        follower: Follower,
    ) -> None:
        self._make_call = make_call
        self._channel = channel
        self.follower = follower
        self._wait: asyncio.Task[bool] | None = None
        self._start()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a response of one of two RPCs
        while True:
            try:
                message = await anext(self._responses)
            except grpc.RpcError as error:
                await self._start_after(error)
            except StopAsyncIteration:
                self.follower.has_ended = True
                raise
            else:
                if self.follower.is_lost:
                    self.follower.note_message()
                return message

    def cancel(self) -> None:
        """End the call, and any wait for another one."""
        self.follower.is_left = True
        if self._wait is not None:
            self._wait.cancel()
        self._call.cancel()

    async def _start_after(self, error: grpc.RpcError) -> None:
        wait = self.follower.wait_after(error)
        if self.follower.is_left:
            raise error
        is_ready = wait is not None and await self._cancellable(wait)
        if not is_ready:
            self.follower.note_end(error)
            raise error
        self._start()

    async def _cancellable(self, wait: Wait) -> bool:
        self._wait = asyncio.create_task(self._waited(wait))
        return await self._wait

    async def _waited(self, wait: Wait) -> bool:
        await asyncio.sleep(wait.pause)
        if wait.connect_timeout is None:
            return True
        return await becomes_ready_async(self._channel, wait.connect_timeout)

    def _start(self) -> None:
        self._call = self._make_call(self.follower.next_request(), self.follower.timeout())
        self._responses = aiter(self._call)
        if self.follower.is_left:  # by another task, while this one waited
            self._call.cancel()
