"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self, Unpack
from weakref import WeakSet

import grpc
from grpc import aio

from stratsweep._assembler import EventAssembler
from stratsweep._calls import (
    AsyncPatientStream,
    AsyncStreamCall,
    Patience,
    is_own_cancellation,
    response_async,
)
from stratsweep._channel import (
    DEFAULT_CONNECT_TIMEOUT,
    ChannelOptions,
    all_channel_options,
    connect_seconds,
)
from stratsweep._compatibility import given_fields, unknown_call_text, warn_if_incompatible
from stratsweep._decoding import server_info, strategy_list
from stratsweep._encoding import optimization_config, optimize_request
from stratsweep._many import (
    DEFAULT_MAX_CONCURRENT,
    DEFAULT_PROGRESS_INTERVAL,
    OnEvent,
    ends_of_async,
    requests_of_many,
)
from stratsweep._status import error_from_rpc, is_unknown_call
from stratsweep.client import DEFAULT_ADDRESS
from stratsweep.config import ConfigOptions, Span
from stratsweep.errors import OptimizationCancelledError, ServerError
from stratsweep.events import (
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    SymbolResult,
)
from stratsweep.repeats import RepeatCheck, repeat_check, repeat_options, rows_to_repeat
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import StrategyList
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc


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
        self._connect_timeout = connect_seconds(connect_timeout)
        self._options = all_channel_options(address, self._connect_timeout, channel_options)
        self._calls: WeakSet[AsyncPatientStream[optimization_service_pb2.OptimizeResponse]] = (
            WeakSet()
        )

    # A channel must be made inside the loop that uses it, and a client may be made outside.
    @cached_property
    def _channel(self) -> aio.Channel:
        return aio.insecure_channel(self.address, self._options)

    @cached_property
    def _stub(self) -> optimization_service_pb2_grpc.OptimizationServiceAsyncStub:
        return optimization_service_pb2_grpc.OptimizationServiceStub(self._channel)

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
        return AsyncOptimizationStream(self._optimize(request, timeout), given_fields(request))

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
            request = requests[symbol]
            return AsyncOptimizationStream(self._optimize(request, timeout), given_fields(request))

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
        try:
            async for message in self._optimize(request, timeout):
                assembler.feed(message)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        except asyncio.CancelledError:
            if not is_own_cancellation():
                raise
            raise _cancelled_error() from None
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
        return strategy_list(await self._response("ListStrategies", request, timeout))

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
        info = server_info(await self._response("GetServerInfo", request, timeout))
        warn_if_incompatible(info)
        return info

    async def close(self) -> None:
        """Close the connection; streams that are open are cancelled."""
        # Before 1.83 gRPC does so only for calls that a task waits for at this moment.
        for call in list(self._calls):
            call.cancel()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _response(self, method: str, request: object, timeout: Span | None) -> Any:  # noqa: ANN401, ASYNC109
        patience = Patience(self._connect_timeout, timeout)
        call = getattr(self._stub, method)
        try:
            return await response_async(call, request, self._channel, patience)
        except grpc.RpcError as error:
            if is_unknown_call(error):
                info = await self._known_info(patience.timeout())
                raise ServerError(unknown_call_text(method, info)) from error
            raise error_from_rpc(error) from error
        except asyncio.CancelledError:
            if not is_own_cancellation():
                raise
            raise _cancelled_error() from None

    async def _known_info(self, timeout: float | None) -> ServerInfo | None:  # noqa: ASYNC109
        request = optimization_service_pb2.GetServerInfoRequest()
        try:
            return server_info(await self._stub.GetServerInfo(request, timeout=timeout))
        except grpc.RpcError:
            return None

    def _optimize(
        self, request: optimization_service_pb2.OptimizeRequest, timeout: Span | None
    ) -> AsyncPatientStream[optimization_service_pb2.OptimizeResponse]:
        call = AsyncPatientStream(
            lambda seconds: self._stub.Optimize(request, timeout=seconds),
            self._channel,
            Patience(self._connect_timeout, timeout),
        )
        self._calls.add(call)
        return call


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
            async for message in self._call:
                event = self._assembler.feed(message)
                if event is not None:
                    yield event
            self._assembler.finished_result()
        except grpc.RpcError as error:
            started = self._assembler.message_received
            known = error_from_rpc(error, stream_started=started)
            raise self._assembler.located(known) from error
        except asyncio.CancelledError:
            if not is_own_cancellation():
                raise
            raise self._assembler.located(_cancelled_error()) from None
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


def _cancelled_error() -> OptimizationCancelledError:
    return OptimizationCancelledError("the call was cancelled")
