"""The stream of an optimization, in both faces: its events, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

from stratsweep._assembler import EventAssembler
from stratsweep._calls import known_errors
from stratsweep._patience import AsyncStreamCall, StreamCall
from stratsweep.events import OptimizationEvent, OptimizationResult


class OptimizationStream:
    """Follow a running optimization: iterate over its events, or ask for its `result`.

    Leaving the loop or the `with` block before the end cancels the optimization. Events are
    `OptimizationStarted`, any number of `Progress`, and `OptimizationResult` last.

    Iterating raises the errors of `stratsweep.errors`: refusals before the first event,
    `StreamInterruptedError` where the stream breaks off. An optimization that failed is a result
    with the state FAILED, not an exception.
    """

    def __init__(
        self,
        call: StreamCall[Any],
        given: frozenset[str] = frozenset(),
    ) -> None:
        self._call = call
        self._assembler = EventAssembler(given)

    def __iter__(self) -> Iterator[OptimizationEvent]:
        try:
            with known_errors(self._assembler):
                for message in self._call:
                    event = self._assembler.feed(message)
                    if event is not None:
                        yield event
                self._assembler.finished_result()
        finally:
            self.cancel()

    def result(self) -> OptimizationResult:
        """Run to the end and return the result.

        Returns:
            The result in whatever state it ended; where it FAILED, `best` is None.

        Raises:
            StratsweepError: The server refused the request, or the stream broke off.
        """
        if self._assembler.result is None:
            for _ in self:
                pass
        return self._assembler.finished_result()

    def cancel(self) -> None:
        """Stop the optimization: iterating raises `OptimizationCancelledError`, unless it ended."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()


class AsyncOptimizationStream:
    """Follow a running optimization: `async for` over its events, or await its `result`.

    Leaving the loop or the `async with` block before the end, and cancelling the task, cancel the
    optimization. Events and errors are those of `OptimizationStream`.
    """

    def __init__(
        self,
        call: AsyncStreamCall[Any],
        given: frozenset[str] = frozenset(),
    ) -> None:
        self._call = call
        self._assembler = EventAssembler(given)

    async def __aiter__(self) -> AsyncIterator[OptimizationEvent]:
        try:
            with known_errors(self._assembler):
                async for message in self._call:
                    event = self._assembler.feed(message)
                    if event is not None:
                        yield event
                self._assembler.finished_result()
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
        if self._assembler.result is None:
            async for _ in self:
                pass
        return self._assembler.finished_result()

    def cancel(self) -> None:
        """Stop the optimization: iterating raises `OptimizationCancelledError`, unless it ended."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
