"""The stream of an optimization, in both faces: its events, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from stratsweep._async_calls import AsyncCalls
from stratsweep._calls import Calls, known_errors
from stratsweep._follower import Follower
from stratsweep.errors import DeadlineExceededError
from stratsweep.events import OptimizationEvent, OptimizationResult

_INTERRUPTED = "interrupted by Ctrl-C"
_TIMED_OUT = "the timeout of its client passed"


class _Stream:
    """What both faces tell of the optimization that they follow."""

    _follower: Follower

    @property
    def optimization_id(self) -> str:
        """Return the id of the optimization, under which it can be asked for later."""
        return self._follower.optimization_id

    @property
    def reconnect_count(self) -> int:
        """Return how often the connection was lost and the stream has gone on."""
        return self._follower.reconnect_count


class OptimizationStream(_Stream):
    """Follow an optimization: iterate over its events, or ask for its `result`.

    Events are `OptimizationStarted`, any number of `Progress`, and `OptimizationResult` last. Where
    the connection is lost, or the server is started again, iterating goes on as soon as there is a
    connection, without a gap or a repetition.

    Leaving the loop or the `with` block before the end cancels the optimization, unless it is
    detached or only watched. After a Ctrl-C while it waits for an event it can be iterated on, to
    the result of what had completed.

    Iterating raises the errors of `stratsweep.errors`: refusals before the first event,
    `StreamInterruptedError` where the stream breaks off. An optimization that failed is a result
    with the state FAILED, not an exception.
    """

    def __init__(self, calls: Calls, follower: Follower) -> None:
        self._calls = calls
        self._follower = follower
        self._call = calls.stream(follower)

    def __iter__(self) -> Iterator[OptimizationEvent]:
        assembler = self._follower.assembler
        try:
            with known_errors(assembler):
                self._calls.prepare(self._follower)
                for message in self._call:
                    event = assembler.feed(message)
                    if event is not None:
                        yield event
                assembler.finished_result()
        except KeyboardInterrupt:
            if self._follower.owns_work:
                self.stop(_INTERRUPTED)
            elif not (self._follower.is_bystander and self._follower.can_reattach):
                self.cancel()
            raise
        except DeadlineExceededError:
            self.cancel(_TIMED_OUT)
            raise
        except BaseException:  # GeneratorExit is that of a loop that was left
            self.cancel()
            raise

    def result(self) -> OptimizationResult:
        """Run to the end and return the result.

        Returns:
            The result in whatever state it ended; where it FAILED, `best` is None.

        Raises:
            StratsweepError: The server refused the request, or the stream broke off.
        """
        assembler = self._follower.assembler
        if assembler.result is None:
            for _ in self:
                pass
        return assembler.finished_result()

    def stop(self, reason: str = "") -> None:
        """Ask the server to stop it, and return at once; iterating goes on.

        What has completed is ranked: the result comes soon, with the state CANCELLED.

        Args:
            reason: Why, for people; at most 500 characters.
        """
        self._calls.stop_soon(self._follower, reason)

    def cancel(self, reason: str = "") -> None:
        """Leave it before its end: iterating raises `OptimizationCancelledError`.

        The optimization is stopped, and what has completed is kept; one that is detached, or only
        watched, goes on.

        Args:
            reason: Why, for people; at most 500 characters.
        """
        self._calls.leave(self._call, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()


class AsyncOptimizationStream(_Stream):
    """Follow an optimization: `async for` over its events, or await its `result`.

    Leaving the loop or the `async with` block before the end, and cancelling the task, cancel the
    optimization, unless it is detached or only watched. Events and errors are those of
    `OptimizationStream`; it goes on after a lost connection as that does.
    """

    def __init__(self, calls: AsyncCalls, follower: Follower) -> None:
        self._calls = calls
        self._follower = follower
        self._call = calls.stream(follower)

    async def __aiter__(self) -> AsyncIterator[OptimizationEvent]:
        assembler = self._follower.assembler
        try:
            with known_errors(assembler):
                await self._calls.prepare(self._follower)
                async for message in self._call:
                    event = assembler.feed(message)
                    if event is not None:
                        yield event
                assembler.finished_result()
        except DeadlineExceededError:
            self.cancel(_TIMED_OUT)
            raise
        finally:
            # grpc.aio does not notice that a loop was left: without this the server runs on.
            self.cancel()

    async def result(self) -> OptimizationResult:
        """Run to the end and return the result.

        Returns:
            The result in whatever state it ended; where it FAILED, `best` is None.

        Raises:
            StratsweepError: The server refused the request, or the stream broke off.
        """
        assembler = self._follower.assembler
        if assembler.result is None:
            async for _ in self:
                pass
        return assembler.finished_result()

    def stop(self, reason: str = "") -> None:
        """Ask the server to stop it, and return at once; as `OptimizationStream.stop`."""
        self._calls.stop_soon(self._follower, reason)

    def cancel(self, reason: str = "") -> None:
        """Leave it before its end; as `OptimizationStream.cancel`."""
        self._calls.leave(self._call, reason)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
