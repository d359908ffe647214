"""The synchronous client."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from types import TracebackType
from typing import Self, Unpack

from stratsweep._calls import Calls, known_errors
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
    ends_of,
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
from stratsweep._streams import OptimizationStream
from stratsweep.config import ConfigOptions, OptimizeOptions, RunOptions, Span
from stratsweep.events import OptimizationResult, OptimizationStarted, SymbolResult
from stratsweep.optimizations import Optimization, ResultList
from stratsweep.repeats import RepeatCheck, repeat_check, repeat_options, rows_to_repeat
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import StrategyList
from stratsweep.v1 import optimization_service_pb2


class Client:
    """Call a Stratsweep server; the connection is made when it is first needed.

    Args:
        address: `host:port`, or `unix:/path` for a Unix socket.
        connect_timeout: How long a call waits for a server that is not there, such as one that is
            being restarted, in seconds or as a timedelta; 0 is not at all. After it the call raises
            `ServerUnavailableError`. No call waits beyond its own timeout.
        reconnect_timeout: How long a stream that has begun tries to go on where the connection was
            lost or the server is started again, likewise; 0 is not at all. Any event begins it
            anew. After it iterating raises `StreamInterruptedError`.
        on_reconnect: Is called whenever a stream begins to do so, with the error that it would
            raise, by the thread that waits for an event.
        channel_options: Options of the gRPC channel, as pairs of name and value such as
            `[("grpc.keepalive_time_ms", 60_000)]`. They take the place of this client's own of the
            same names: keepalive every 30 s, messages of at most 16 MB, reconnecting within 1 s,
            three attempts where a server is unavailable, no proxy on this machine.

    Raises:
        TypeError: `channel_options` are no such pairs, or a timeout is no span.
        ValueError: a timeout is negative.

    Example:
        >>> from stratsweep import Client
        >>> with Client("127.0.0.1:50051") as client:
        ...     result = client.optimize(
        ...         "sma_cross",
        ...         symbols="SPY",
        ...         parameters={"fast": range(5, 55, 5), "slow": [50, 100, 200]},
        ...         constraints="fast < slow",
        ...     ).result()
        ...     print(result.best)
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
        self._calls = Calls(
            address, connect_timeout, reconnect_timeout, on_reconnect, channel_options
        )

    def optimize(
        self,
        strategy: str,
        *,
        timeout: Span | None = None,
        wait_when_busy: Span | None = None,
        **options: Unpack[OptimizeOptions],
    ) -> OptimizationStream:
        """Start an optimization and return its stream; the server's refusals come out of that.

        Args:
            strategy: The id of a strategy that `list_strategies` names.
            timeout: Deadline of the whole call; None has none. Spans are seconds or timedeltas.
            wait_when_busy: How long to ask a busy server again before `ServerBusyError`.
            **options: What to optimize, and how.

                - `symbols` (required): a name or several; each gets an equal share of the cash.
                - `parameters`: what to try, by parameter name, in grid order (the last varies
                  fastest): a `range`, a list, a numpy array, an `IntegerRange` or `DoubleRange`
                  (both include their end), or one value. Default: none; what is not named keeps
                  the strategy's default.
                - `constraints`: SQL boolean expressions such as "fast < slow".
                - `requirements`: the same over metrics; only results that meet them are ranked.
                - `start_date`, `end_date`: first and last day, both included; a date, a time of
                  that day (datetime, `numpy.datetime64`, `pandas.Timestamp`) or "YYYY-MM-DD".
                  Default: all bars.
                - `timezone`: IANA name, such as "America/New_York", of the zone of these days, and
                  of times in price files that have none. Default: the data directory's, else the
                  server's.
                - `optimization_target`: the metric to rank by. Default: "sharpe_ratio".
                - `minimize`, `maximize`: which end is first. Default: the metric's better one.
                - `backtest_timeout`: how long one backtest may run; positive. Default: 300 s.
                - `starting_cash`: positive, in the prices' currency. Default: 10,000.
                - `commission`, `slippage`: fractions per side in [0, 1). Default: 0.
                - `max_ranked_results`: keep only the best so many. Default: 0, all.
                - `warm_up_bar_count`: bars before `start_date` that indicators may use, as far as
                  there are so many; nothing trades on them. Default: 0.
                - `seed`: what random numbers in backtests follow from, together with each one's
                  parameter values; 0 to 2^64 - 1. Default: 0.
                - `labels`, `progress_interval`, `optimization_id`, `detached`, `abandon_grace`,
                  `reuse`, `resume_from`: how it runs; `help(stratsweep.RunOptions)` explains them.

                None leaves a keyword to its default; numbers may be numpy's.

        Raises:
            TypeError: A keyword is unknown, or its value is of no type that it takes; or a
                parameter's values are not of one usable type.
            ValueError: A parameter has no values, a number does not fit, or both ends come first.
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
    ) -> Generator[SymbolResult, None, None]:
        """Optimize each symbol alone, and return an iterator over how each of them ended.

        Leaving the loop early cancels what runs. An iterator that has a name, as in a notebook,
        outlives its loop: its `close()` cancels what runs.
        A symbol that the server refuses, and one whose optimization failed, stops no other; a
        server that is busy is asked again.

        Args:
            strategy: The id of a strategy that `list_strategies` names.
            max_concurrent: How many optimizations run at a time, at least 1.
            on_event: Is called with the symbol and each event, one at a time, in
                threads that are not the caller's.
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

        def start(symbol: str) -> OptimizationStream:
            return self._start(requests[symbol], timeout, math.inf)

        return ends_of(tuple(requests), start, max_concurrent, on_event)

    def validate(
        self,
        strategy: str,
        *,
        labels: Mapping[str, str] | None = None,
        timeout: Span | None = None,
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
            for message in self._calls.stream(follower):
                follower.assembler.feed(message)
        return follower.assembler.started_event()

    def check_repeats(
        self, result: OptimizationResult, *, count: int = 10, timeout: Span | None = None
    ) -> RepeatCheck:
        """Run some combinations of a ranking again, to see whether they give the same results.

        They run one by one, from the last of them to the first, as optimizations of one combination
        each. What differs then, in any bit of any metric, depends on what ran before it: the
        strategy, or the engine, keeps something from one backtest to the next.

        Args:
            result: What was optimized, on this server.
            count: How many of the ranked combinations, spread evenly over the ranking; at least 1.
            timeout: Deadline of each of them, in seconds or as a timedelta; None has none.

        Raises:
            ValueError: `count` is not positive.
            StratsweepError: What `optimize` would raise for the same config.
        """
        rows = rows_to_repeat(result.ranked, count)
        results = [
            self.optimize(
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
    ) -> OptimizationStream:
        """Follow an optimization, past events first; leaving its stream stops nothing.

        Args:
            optimization_id: Names it.
            after_sequence_number: Leave out events up to this number: 1 is the first event, 1 + n
                the n-th outcome. 0, the default, leaves out nothing.
            progress_interval: As in `optimize`.
            timeout: Deadline of the whole call, in seconds or as a timedelta; None has none.

        Raises:
            TypeError: An argument is of no type that it takes.
            ValueError: A number does not fit into its field.
        """
        request = watch_request(optimization_id, after_sequence_number, progress_interval)
        return OptimizationStream(self._calls, self._calls.follower(request, timeout))

    def get_optimization(
        self,
        optimization_id: str,
        *,
        timeout: Span | None = None,
    ) -> Optimization:
        """Return where an optimization stands.

        Args:
            optimization_id: Names it.
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Raises:
            NotFoundError: There is none of that id.
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.GetOptimizationRequest(optimization_id=optimization_id)
        return self._calls.unary(GET_OPTIMIZATION, request, timeout)

    def list_optimizations(
        self,
        *,
        limit: int | None = None,
        timeout: Span | None = None,
        **filters: Unpack[OptimizationFilters],
    ) -> Iterator[Optimization]:
        """Return an iterator over the optimizations that are kept, newest first.

        It asks for them in pages, whenever one is needed.

        Args:
            limit: How many at most; None is all of them.
            timeout: Deadline of each of the calls, in seconds or as a timedelta; None has none.
            **filters: Which are wanted: those that fit all of these.

                - `states`: an `OptimizationState` or several.
                - `strategy`: the strategy's id.
                - `symbol`: one that it has.
                - `labels`: labels that it has, with these values.
                - `created_after`, `created_before`: datetimes; one without a zone is of this
                  machine's.
                - `id_prefix`: the beginning of its id.

        Raises:
            TypeError: A filter is of no type that it takes.
            ValueError: A state is unknown, or the limit is negative.
            StratsweepError: Iterating: a call failed.
        """
        pages = optimization_pages(limit, filters)
        return self._calls.items(LIST_OPTIMIZATIONS, pages, timeout)

    def list_results(
        self,
        optimization_id: str,
        *,
        limit: int | None = None,
        timeout: Span | None = None,
        **options: Unpack[ResultOptions],
    ) -> ResultList:
        """Return results of an optimization, running or ended, sorted by any metric.

        Args:
            optimization_id: Names it.
            limit: How many at most; None is all of them.
            timeout: Deadline of each of the calls, in seconds or as a timedelta; None has none.
            **options: Which are wanted, and in which order.

                - `metric`: what to sort by. Default: the optimization target.
                - `minimize`, `maximize`: which end is first. Default: of the target as it was
                  ranked, of another metric the better one.
                - `requirements`: SQL conditions on metrics, such as "trade_count >= 30", in place
                  of the optimization's own; an empty list leaves out nothing.

        Raises:
            TypeError: An option is of no type that it takes.
            ValueError: The limit is negative.
            NotFoundError: There is no optimization of that id.
            StratsweepError: A call failed.
        """
        pages = result_pages(optimization_id, limit, options)
        optimization = self.get_optimization(optimization_id, timeout=timeout)
        return result_list(optimization, list(self._calls.pages(LIST_RESULTS, pages, timeout)))

    def cancel_optimization(
        self,
        optimization_id: str,
        *,
        reason: str = "",
        timeout: Span | None = None,
    ) -> Optimization:
        """Stop an optimization; what has completed is ranked, and whoever follows gets the result.

        One that has ended stays as it is.

        Args:
            optimization_id: Names it.
            reason: Why, for people; at most 500 characters.
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Returns:
            Where it stands; CANCELLED follows within moments where it ran.

        Raises:
            NotFoundError: There is none of that id.
            OptimizationRunningError: Another server that shares the store runs it.
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.CancelOptimizationRequest(
            optimization_id=optimization_id, reason=reason
        )
        return self._calls.unary(CANCEL_OPTIMIZATION, request, timeout)

    def delete_optimization(self, optimization_id: str, *, timeout: Span | None = None) -> None:
        """Delete what is kept of an optimization that does not run.

        Args:
            optimization_id: Names it.
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Raises:
            NotFoundError: There is none of that id.
            OptimizationRunningError: It is queued or runs.
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.DeleteOptimizationRequest(
            optimization_id=optimization_id
        )
        self._calls.unary(DELETE_OPTIMIZATION, request, timeout)

    def list_strategies(self, *, timeout: Span | None = None) -> StrategyList:
        """Return what the server can run, and from which sources: strategies, metrics, symbols.

        Args:
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Raises:
            StratsweepError: The call failed.
        """
        request = optimization_service_pb2.ListStrategiesRequest()
        return self._calls.unary(LIST_STRATEGIES, request, timeout)

    def server_info(self, *, timeout: Span | None = None) -> ServerInfo:
        """Return which server this is: its versions, its engine, its workers and limits.

        Warns by `VersionMismatchWarning` where its contract has another major version.

        Args:
            timeout: Deadline of the call, in seconds or as a timedelta; None has none.

        Raises:
            StratsweepError: The call failed; a `ServerError` where the server is too old to know
                it.
        """
        request = optimization_service_pb2.GetServerInfoRequest()
        info = self._calls.unary(GET_SERVER_INFO, request, timeout)
        warn_if_incompatible(info)
        return info

    def close(self) -> None:
        """Close the connection; streams that are open are cancelled."""
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(
        self,
        request: optimization_service_pb2.OptimizeRequest,
        timeout: Span | None,
        wait_when_busy: Span | None,
    ) -> OptimizationStream:
        follower = self._calls.follower(request, timeout, wait_when_busy)
        return OptimizationStream(self._calls, follower)
