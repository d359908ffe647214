"""The asyncio client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Self, Unpack

from stratsweep._assembler import EventAssembler
from stratsweep._calls import (
    GET_SERVER_INFO,
    LIST_STRATEGIES,
    AsyncCalls,
    known_errors,
)
from stratsweep._channel import (
    DEFAULT_ADDRESS,
    DEFAULT_CONNECT_TIMEOUT,
    ChannelOptions,
)
from stratsweep._compatibility import given_fields, warn_if_incompatible
from stratsweep._encoding import optimization_config, optimize_request
from stratsweep._many import (
    DEFAULT_MAX_CONCURRENT,
    DEFAULT_PROGRESS_INTERVAL,
    OnEvent,
    ends_of_async,
    requests_of_many,
)
from stratsweep._patience import AsyncStreamCall
from stratsweep.config import ConfigOptions, Span
from stratsweep.events import (
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    SymbolResult,
)
from stratsweep.repeats import RepeatCheck, repeat_check, repeat_options, rows_to_repeat
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import StrategyList
from stratsweep.v1 import optimization_service_pb2


class AsyncClient:
    """Call a Stratsweep server from asyncio; a client belongs to the loop that first uses it.

    Args:
        address: `host:port`, or `unix:/path` for a Unix socket.
        connect_timeout: How long a call waits for a server that is not there; as in `Client`.
        channel_options: Options of the gRPC channel, over this client's own; as in `Client`.

    Raises:
        TypeError: `channel_options` are no such pairs, or `connect_timeout` is no span.
        ValueError: `connect_timeout` is negative.

    Example:
        >>> import asyncio
        >>> from stratsweep import AsyncClient
        >>> async def main():
        ...     async with AsyncClient("127.0.0.1:50051") as client:
        ...         async for event in client.optimize(
        ...             "sma_cross", symbols="SPY", parameters={"fast": [5, 10], "slow": [50, 100]}
        ...         ):
        ...             print(event)
        >>> asyncio.run(main())
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        connect_timeout: Span = DEFAULT_CONNECT_TIMEOUT,
        channel_options: ChannelOptions = (),
    ) -> None:
        self.address = address
        self._calls = AsyncCalls(address, connect_timeout, channel_options)

    def optimize(
        self,
        strategy: str,
        *,
        labels: Mapping[str, str] | None = None,
        progress_interval: Span | None = None,
        timeout: Span | None = None,
        **config: Unpack[ConfigOptions],
    ) -> AsyncOptimizationStream:
        """Start an optimization and return its stream; arguments as in `Client.optimize`.

        Raises:
            TypeError: A keyword is unknown, or its value is of no type that it takes; or a
                parameter's values are not of one usable type.
            ValueError: A parameter has no values, or a number does not fit into its field.
        """
        request = optimize_request(
            optimization_config(strategy, **config),
            labels=labels,
            progress_interval=progress_interval,
        )
        return self._start(request, timeout)

    def optimize_many(
        self,
        strategy: str,
        *,
        max_concurrent: int = DEFAULT_MAX_CONCURRENT,
        on_event: OnEvent | None = None,
        labels: Mapping[str, str] | None = None,
        progress_interval: Span | None = DEFAULT_PROGRESS_INTERVAL,
        timeout: Span | None = None,
        **config: Unpack[ConfigOptions],
    ) -> AsyncGenerator[SymbolResult, None]:
        """Optimize each symbol alone, and return an iterator over how each of them ended.

        Close the iterator (`contextlib.aclosing`) where the loop may be left early: that
        cancels what runs.
        A symbol that the server refuses, and one whose optimization failed, stops no other; a
        server that is busy is asked again.

        Args:
            strategy: The id of a strategy that `list_strategies` names.
            max_concurrent: How many optimizations run at a time, at least 1.
            on_event: Is called with the symbol and each event.
            labels: What you call each of the optimizations; as in `optimize`.
            progress_interval: As in `optimize`; applies to each optimization.
            timeout: Deadline of each optimization; as in `optimize`.
            **config: What to optimize, as in `optimize`, for each of `symbols`.

        Yields:
            A `SymbolResult` for each symbol, in the order in which they end.

        Raises:
            TypeError: As in `optimize`.
            ValueError: As in `optimize`; there is no symbol, or `max_concurrent` is below 1.
            ServerUnavailableError: Iterating: the server cannot be reached or works no more.
            StreamInterruptedError: Iterating: the connection was lost.
        """
        requests = requests_of_many(strategy, config, max_concurrent, labels, progress_interval)

        def start(symbol: str) -> AsyncOptimizationStream:
            return self._start(requests[symbol], timeout)

        return ends_of_async(tuple(requests), start, max_concurrent, on_event)

    async def validate(
        self,
        strategy: str,
        *,
        labels: Mapping[str, str] | None = None,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
        **config: Unpack[ConfigOptions],
    ) -> OptimizationStarted:
        """Check a config and count its grid without running anything; arguments as in `optimize`.

        Returns:
            The event that would begin the stream: the effective config, counts, and bars.

        Raises:
            StratsweepError: The server would refuse to optimize it, or the call failed.
            TypeError: As in `optimize`.
            ValueError: As in `optimize`.
        """
        request = optimize_request(
            optimization_config(strategy, **config), labels=labels, validate_only=True
        )
        assembler = EventAssembler(given_fields(request))
        with known_errors():
            async for message in self._calls.stream("Optimize", request, timeout):
                assembler.feed(message)
        return assembler.started_event()

    async def check_repeats(
        self,
        result: OptimizationResult,
        *,
        count: int = 10,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> RepeatCheck:
        """Run some combinations of a ranking again, to see whether they give the same results.

        As `Client.check_repeats` does.

        Raises:
            ValueError: `count` is not positive.
            StratsweepError: What `optimize` would raise for the same config.
        """
        rows = rows_to_repeat(result.ranked, count)
        results = [
            await self.optimize(
                result.config.strategy,
                labels=result.labels,
                timeout=timeout,
                **repeat_options(result.config, row),
            ).result()
            for row in rows
        ]
        return repeat_check(rows, results)

    async def list_strategies(
        self,
        *,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> StrategyList:
        """Return what the server can run, and from which sources: strategies, metrics, symbols.

        Args:
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Raises:
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.ListStrategiesRequest()
        return await self._calls.unary(LIST_STRATEGIES, request, timeout)

    async def server_info(
        self,
        *,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> ServerInfo:
        """Return which server this is: its versions, its engine, its workers and limits.

        Warns by `VersionMismatchWarning` where its contract has another major version.

        Args:
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Raises:
            StratsweepError: The call failed; a `ServerError` where the server is too old to know
                it.
        """
        request = optimization_service_pb2.GetServerInfoRequest()
        info = await self._calls.unary(GET_SERVER_INFO, request, timeout)
        warn_if_incompatible(info)
        return info

    async def close(self) -> None:
        """Close the connection; streams that are open are cancelled."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _start(
        self, request: optimization_service_pb2.OptimizeRequest, timeout: Span | None
    ) -> AsyncOptimizationStream:
        call = self._calls.stream("Optimize", request, timeout)
        return AsyncOptimizationStream(call, given_fields(request))


class AsyncOptimizationStream:
    """Follow a running optimization: `async for` over its events, or await its `result`.

    Leaving the loop or the `async with` block before the end, and cancelling the task, cancel the
    optimization. Events and errors are those of `OptimizationStream`.
    """

    def __init__(
        self,
        call: AsyncStreamCall[optimization_service_pb2.OptimizeResponse],
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
