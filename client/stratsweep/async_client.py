"""The asyncio client."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Self, Unpack

from stratsweep._async_calls import AsyncCalls
from stratsweep._calls import known_errors
from stratsweep._catalogue import (
    OptimizationFilters,
    ResultOptions,
    optimization_pages,
    result_list,
    result_pages,
)
from stratsweep._channel import (
    DEFAULT_ADDRESS,
    DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_RECONNECT_TIMEOUT,
    ChannelOptions,
)
from stratsweep._compatibility import warn_if_incompatible
from stratsweep._encoding import (
    optimize_request,
    validate_request,
    watch_request,
)
from stratsweep._follower import OnReconnect
from stratsweep._many import (
    DEFAULT_MAX_CONCURRENT,
    DEFAULT_PROGRESS_INTERVAL,
    OnEvent,
    ends_of_async,
    requests_of_many,
)
from stratsweep._rpcs import (
    CANCEL_OPTIMIZATION,
    DELETE_OPTIMIZATION,
    GET_OPTIMIZATION,
    GET_SERVER_INFO,
    LIST_OPTIMIZATIONS,
    LIST_RESULTS,
    LIST_STRATEGIES,
)
from stratsweep._streams import AsyncOptimizationStream
from stratsweep.config import ConfigOptions, OptimizeOptions, RunOptions, Span
from stratsweep.events import OptimizationResult, OptimizationStarted, SymbolResult
from stratsweep.optimizations import Optimization, ResultList
from stratsweep.repeats import RepeatCheck, repeat_check, repeat_options, rows_to_repeat
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import StrategyList
from stratsweep.v1 import optimization_service_pb2


class AsyncClient:
    """Call a Stratsweep server from asyncio; a client belongs to the loop that first uses it.

    Args:
        address: `host:port`, or `unix:/path` for a Unix socket.
        connect_timeout: How long a call waits for a server that is not there; as in `Client`.
        reconnect_timeout: How long a stream that was lost tries to go on; as in `Client`.
        on_reconnect: Is called whenever a stream begins to do so; as in `Client`.
        channel_options: Options of the gRPC channel, over this client's own; as in `Client`.

    Raises:
        TypeError: `channel_options` are no such pairs, or a timeout is no span.
        ValueError: a timeout is negative.

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
        reconnect_timeout: Span = DEFAULT_RECONNECT_TIMEOUT,
        on_reconnect: OnReconnect | None = None,
        channel_options: ChannelOptions = (),
    ) -> None:
        self.address = address
        self._calls = AsyncCalls(
            address, connect_timeout, reconnect_timeout, on_reconnect, channel_options
        )

    def optimize(
        self,
        strategy: str,
        *,
        timeout: Span | None = None,
        wait_when_busy: Span | None = None,
        **options: Unpack[OptimizeOptions],
    ) -> AsyncOptimizationStream:
        """Start an optimization and return its stream; arguments as in `Client.optimize`.

        Raises:
            TypeError: A keyword is unknown, or its value is of no type that it takes; or a
                parameter's values are not of one usable type.
            ValueError: A parameter has no values, or a number does not fit into its field.
        """
        return self._start(optimize_request(strategy, options), timeout, wait_when_busy)

    def optimize_many(
        self,
        strategy: str,
        *,
        max_concurrent: int = DEFAULT_MAX_CONCURRENT,
        on_event: OnEvent | None = None,
        labels: Mapping[str, str] | None = None,
        progress_interval: Span | None = DEFAULT_PROGRESS_INTERVAL,
        reuse: bool = False,
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
            reuse: As in `optimize`.
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
        run = RunOptions(labels=labels, progress_interval=progress_interval, reuse=reuse)
        requests = requests_of_many(strategy, config, max_concurrent, run)

        def start(symbol: str) -> AsyncOptimizationStream:
            return self._start(requests[symbol], timeout, math.inf)

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
        request = validate_request(strategy, labels, config)
        follower = self._calls.follower(request, timeout)
        with known_errors():
            async for message in self._calls.stream(follower):
                follower.assembler.feed(message)
        return follower.assembler.started_event()

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

    def watch_optimization(
        self,
        optimization_id: str,
        *,
        after_sequence_number: int = 0,
        progress_interval: Span | None = None,
        timeout: Span | None = None,
    ) -> AsyncOptimizationStream:
        """Follow an optimization, past events first; as `Client.watch_optimization`.

        Raises:
            TypeError: An argument is of no type that it takes.
            ValueError: A number does not fit into its field.
        """
        request = watch_request(optimization_id, after_sequence_number, progress_interval)
        return AsyncOptimizationStream(self._calls, self._calls.follower(request, timeout))

    async def get_optimization(
        self,
        optimization_id: str,
        *,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> Optimization:
        """Return where an optimization stands; as `Client.get_optimization`.

        Raises:
            NotFoundError: There is none of that id.
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.GetOptimizationRequest(optimization_id=optimization_id)
        return await self._calls.unary(GET_OPTIMIZATION, request, timeout)

    def list_optimizations(
        self,
        *,
        limit: int | None = None,
        timeout: Span | None = None,
        **filters: Unpack[OptimizationFilters],
    ) -> AsyncIterator[Optimization]:
        """Return an iterator over the optimizations that are kept; as `Client.list_optimizations`.

        Raises:
            TypeError: A filter is of no type that it takes.
            ValueError: A state is unknown, or the limit is negative.
            StratsweepError: Iterating: a call failed.
        """
        pages = optimization_pages(limit, filters)
        return self._calls.items(LIST_OPTIMIZATIONS, pages, timeout)

    async def list_results(
        self,
        optimization_id: str,
        *,
        limit: int | None = None,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
        **options: Unpack[ResultOptions],
    ) -> ResultList:
        """Return results of an optimization by any metric; as `Client.list_results`.

        Raises:
            TypeError: An option is of no type that it takes.
            ValueError: The limit is negative.
            NotFoundError: There is no optimization of that id.
            StratsweepError: A call failed.
        """
        pages = result_pages(optimization_id, limit, options)
        optimization = await self.get_optimization(optimization_id, timeout=timeout)
        return result_list(
            optimization, [page async for page in self._calls.pages(LIST_RESULTS, pages, timeout)]
        )

    async def cancel_optimization(
        self,
        optimization_id: str,
        *,
        reason: str = "",
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> Optimization:
        """Stop an optimization and keep what has completed; as `Client.cancel_optimization`.

        Raises:
            NotFoundError: There is none of that id.
            OptimizationRunningError: Another server that shares the store runs it.
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.CancelOptimizationRequest(
            optimization_id=optimization_id, reason=reason
        )
        return await self._calls.unary(CANCEL_OPTIMIZATION, request, timeout)

    async def delete_optimization(
        self,
        optimization_id: str,
        *,
        timeout: Span | None = None,  # noqa: ASYNC109 - gRPC's deadline: the server keeps it, too
    ) -> None:
        """Delete what is kept of an optimization that does not run.

        Raises:
            NotFoundError: There is none of that id.
            OptimizationRunningError: It is queued or runs.
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.DeleteOptimizationRequest(
            optimization_id=optimization_id
        )
        await self._calls.unary(DELETE_OPTIMIZATION, request, timeout)

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
        self,
        request: optimization_service_pb2.OptimizeRequest,
        timeout: Span | None,
        wait_when_busy: Span | None,
    ) -> AsyncOptimizationStream:
        follower = self._calls.follower(request, timeout, wait_when_busy)
        return AsyncOptimizationStream(self._calls, follower)
