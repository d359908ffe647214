"""Messages of the contract to events: decoding, and putting a result's parts together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TypeVar

from google.protobuf import duration_pb2, timestamp_pb2

from stratsweep._compatibility import warn_if_ignored
from stratsweep._requests import plain_values
from stratsweep._rows import Block, MessageBlock, Rows
from stratsweep.config import OptimizationConfig, OptimizationDirection
from stratsweep.errors import ServerError, StratsweepError, StreamInterruptedError
from stratsweep.parameters import DoubleRange, GridValues, IntegerRange, ParameterValue
from stratsweep.results import (
    BacktestFailure,
    FailureKind,
    MarketDataSummary,
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    Outcome,
    ParameterResult,
    Progress,
)
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import (
    Metric,
    MetricUnit,
    ParameterType,
    Source,
    Strategy,
    StrategyList,
    StrategyParameter,
    Symbol,
)
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
    parameter_pb2,
    strategy_pb2,
)

_Error = TypeVar("_Error", bound=StratsweepError)
_Enum = TypeVar("_Enum", bound=StrEnum)


def _members(
    enum: type[_Enum], prefix: str, numbers: Iterable[tuple[str, int]]
) -> dict[int, _Enum]:
    return {number: enum(name.removeprefix(prefix)) for name, number in numbers}


# A number that is in none of these is a newer server's.
_FAILURE_KINDS = _members(FailureKind, "FAILURE_KIND_", outcome_pb2.FailureKind.items())
_STATES = _members(
    OptimizationState, "OPTIMIZATION_STATE_", optimization_event_pb2.OptimizationState.items()
)
_TYPES = _members(ParameterType, "PARAMETER_TYPE_", strategy_pb2.ParameterType.items())
_UNITS = _members(MetricUnit, "METRIC_UNIT_", strategy_pb2.MetricUnit.items())


class EventAssembler:
    """Turns the messages of one stream into events; a result becomes one when it is complete.

    Args:
        given: The fields of the request that the started event must repeat.

    Attributes:
        started: The first event, once it has come.
        result: The last event, once its last part has come.
        message_received: Whether any message has come.
    """

    def __init__(self, given: frozenset[str] = frozenset()) -> None:
        self._given = given
        self.started: OptimizationStarted | None = None
        self.result: OptimizationResult | None = None
        self.message_received = False
        self._names: tuple[str, ...] = ()
        self._decode_outcome = partial(_outcome, names=self._names)
        self._best: ParameterResult | None = None
        self._completed_count = 0
        self._part_count = 0
        self._ranked: list[Block[ParameterResult]] = []
        self._failures: list[Block[BacktestFailure]] = []

    def feed(self, response: optimization_service_pb2.OptimizeResponse) -> OptimizationEvent | None:
        """Return the event of a message; None for a heartbeat and a part that is not the last.

        Raises:
            StreamInterruptedError: A part of the result is missing.
            ServerError: An event came before the stream's started event.
        """
        self.message_received = True
        try:
            return self._event(response.event)
        except StratsweepError as error:
            raise self.located(error) from error.__cause__

    def located(self, error: _Error) -> _Error:
        """Return an error of this stream that says how far the optimization had come."""
        if self.started is not None:
            error.optimization_id = self.started.optimization_id
            error.completed_count = self._completed_count
            error.total_count = self.started.total_count
        return error

    def finished_result(self) -> OptimizationResult:
        """Return the result of a stream that has ended.

        Raises:
            StreamInterruptedError: The stream ended without its last part.
        """
        if self.result is None:
            raise self.located(
                StreamInterruptedError("the stream ended before the last part of the result")
            )
        return self.result

    def started_event(self) -> OptimizationStarted:
        """Return the only event of a `validate_only` stream that has ended.

        Raises:
            StreamInterruptedError: The stream ended without it.
        """
        if self.started is None:
            raise StreamInterruptedError("the stream ended before its started event")
        return self.started

    def _event(self, event: optimization_event_pb2.OptimizationEvent) -> OptimizationEvent | None:
        match event.WhichOneof("kind"):
            case "started":
                self.started = _started(event.started)
                self._names = tuple(self.started.config.parameters)
                self._decode_outcome = partial(_outcome, names=self._names)
                warn_if_ignored(self._given, event.started)
                return self.started
            case "progress":
                return self._progress(event.progress)
            case "result":
                return self._feed_part(event.result)
            case _:
                return None

    def _feed_part(
        self, part: optimization_event_pb2.OptimizationResult
    ) -> OptimizationResult | None:
        if part.part_index != self._part_count:
            raise StreamInterruptedError(f"part {self._part_count} of the result is missing")
        started = self._first_event()
        names = self._names
        self._part_count += 1
        # A block keeps all of its message in memory: a part that came as Arrow is to be let go.
        self._ranked += _arrow_blocks(part.arrow_ranked_results)
        if part.ranked_results:
            decode = partial(_parameter_result, names=names)
            self._ranked.append(MessageBlock(list(part.ranked_results), decode))
        if part.failures:
            self._failures.append(MessageBlock(list(part.failures), partial(_failure, names=names)))
        if part.is_last_part:
            self.result = _result(part, started, Rows(self._ranked), Rows(self._failures))
        return self.result

    def _progress(self, message: optimization_event_pb2.Progress) -> Progress:
        started = self._first_event()
        blocks: list[Block[Outcome]] = [MessageBlock(message.outcomes, self._decode_outcome)]
        if message.arrow_results:
            blocks = [*_arrow_blocks(message.arrow_results), *blocks]
        self._completed_count = message.completed_count
        has_remaining = message.HasField("estimated_remaining_duration")
        return Progress(
            completed_count=message.completed_count,
            total_count=message.total_count,
            failed_count=message.failed_count,
            outcomes=Rows(blocks),
            best=self._best_of(message),
            elapsed_duration=_span(message.elapsed_duration),
            estimated_remaining_duration=(
                _span(message.estimated_remaining_duration) if has_remaining else None
            ),
            optimization_id=started.optimization_id,
        )

    def _best_of(self, message: optimization_event_pb2.Progress) -> ParameterResult | None:
        """Decode the best so far, which is the same in most messages, only when it is another."""
        if not message.HasField("best"):
            return None
        best = message.best
        if self._best is None or self._best.combination_index != best.combination_index:
            self._best = _parameter_result(best, self._names)
        return self._best

    def _first_event(self) -> OptimizationStarted:
        if self.started is None:
            raise ServerError("the server sent an event before the started event")
        return self.started


def strategy_list(response: optimization_service_pb2.ListStrategiesResponse) -> StrategyList:
    """Decode the answer of `ListStrategies`."""
    return StrategyList(
        strategies=tuple(
            Strategy(
                each.name,
                each.description,
                tuple(map(_strategy_parameter, each.parameters)),
                each.source,
                each.takes_columns if each.HasField("takes_columns") else None,
            )
            for each in response.strategies
        ),
        metrics=tuple(map(_metric, response.metrics)),
        symbols=tuple(map(_symbol, response.symbols)),
        accepts_any_strategy=response.accepts_any_strategy,
        sources=tuple(map(_source, response.sources)),
    )


def server_info(response: optimization_service_pb2.GetServerInfoResponse) -> ServerInfo:
    """Decode the answer of `GetServerInfo`."""
    return ServerInfo(
        server_version=response.server_version,
        contract_version=response.contract_version,
        engine=response.engine,
        worker_count=response.worker_count,
        max_combinations=response.max_combinations,
        max_optimizations=response.max_optimizations,
        uptime=_span(response.uptime),
    )


def _metric(message: strategy_pb2.Metric) -> Metric:
    return Metric(
        message.name, message.description, _UNITS.get(message.unit, MetricUnit.UNSPECIFIED)
    )


def _strategy_parameter(message: strategy_pb2.StrategyParameter) -> StrategyParameter:
    return StrategyParameter(
        name=message.name,
        type=_TYPES.get(message.type, ParameterType.UNSPECIFIED),
        default=_value(message.default_value) if message.HasField("default_value") else None,
        minimum=message.minimum if message.HasField("minimum") else None,
        maximum=message.maximum if message.HasField("maximum") else None,
        choices=tuple(message.choices),
        description=message.description,
    )


def _source(message: strategy_pb2.Source) -> Source:
    return Source(
        module=message.module,
        file=message.file,
        digest=message.digest,
        load_time=_time(message.load_time),
        modification_time=_time(message.modification_time),
        is_stale=message.is_stale,
    )


def _symbol(message: strategy_pb2.Symbol) -> Symbol:
    return Symbol(
        name=message.name,
        bar_count=message.bar_count,
        first_bar_time=_time(message.first_bar_time, message.timezone)
        if message.HasField("first_bar_time")
        else None,
        last_bar_time=_time(message.last_bar_time, message.timezone)
        if message.HasField("last_bar_time")
        else None,
        error=message.error,
        notes=tuple(message.notes),
        timezone=message.timezone or "UTC",
    )


def _started(message: optimization_event_pb2.OptimizationStarted) -> OptimizationStarted:
    return OptimizationStarted(
        optimization_id=message.optimization_id,
        total_count=message.total_count,
        rejected_count=message.rejected_count,
        worker_count=message.worker_count,
        config=_config(message.config),
        market_data=_market_data(message.market_data) if message.HasField("market_data") else None,
        labels=dict(sorted(message.labels.items())),
        metrics=tuple(map(_metric, message.metrics)),
    )


def _market_data(message: optimization_event_pb2.MarketDataSummary) -> MarketDataSummary:
    return MarketDataSummary(
        bar_count=message.bar_count,
        first_bar_time=_time(message.first_bar_time, message.timezone),
        last_bar_time=_time(message.last_bar_time, message.timezone),
        periods_per_year=message.periods_per_year,
        timezone=message.timezone or "UTC",
        symbols=tuple(map(_symbol, message.symbols)),
    )


def _config(message: optimization_config_pb2.OptimizationConfig) -> OptimizationConfig:
    minimize = message.direction == optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE
    return OptimizationConfig(
        **plain_values(message),
        symbols=tuple(message.symbols),
        start_date=_date(message.date_range.start_date),
        end_date=_date(message.date_range.end_date),
        parameters={each.name: _grid_values(each) for each in message.parameters},
        constraints=tuple(message.constraints),
        direction=OptimizationDirection.MINIMIZE if minimize else OptimizationDirection.MAXIMIZE,
        backtest_timeout=_span(message.backtest_timeout),
    )


def _grid_values(message: parameter_pb2.Parameter) -> GridValues:
    match message.WhichOneof("values"):
        case "integer_range":
            integers = message.integer_range
            step = integers.step if integers.HasField("step") else 1
            return IntegerRange(integers.start, integers.stop, step)
        case "double_range":
            doubles = message.double_range
            spacing = doubles.WhichOneof("spacing") or "step"
            return DoubleRange(doubles.start, doubles.stop, **{spacing: getattr(doubles, spacing)})
        case None:
            return ()
        case kind:
            return tuple(getattr(message, kind).values)


def _arrow_blocks(stream: bytes) -> Sequence[Block[ParameterResult]]:
    if not stream:
        return ()
    from stratsweep._arrow import arrow_blocks  # noqa: PLC0415 - imports nanoarrow

    try:
        return arrow_blocks(stream)
    except ValueError as error:
        raise ServerError(f"the server sent results that cannot be read: {error}") from error


def _result(
    last_part: optimization_event_pb2.OptimizationResult,
    started: OptimizationStarted,
    ranked: Rows[ParameterResult],
    failures: Rows[BacktestFailure],
) -> OptimizationResult:
    return OptimizationResult(
        optimization_id=started.optimization_id,
        state=_STATES.get(last_part.state, OptimizationState.UNSPECIFIED),
        config=started.config,
        ranked=ranked,
        failures=failures,
        total_count=last_part.total_count,
        succeeded_count=last_part.succeeded_count,
        failed_count=last_part.failed_count,
        execution_duration=_span(last_part.execution_duration),
        message=last_part.message,
        labels=started.labels,
        market_data=started.market_data,
        metrics=started.metrics,
    )


def _outcome(message: outcome_pb2.Outcome, names: Iterable[str]) -> Outcome:
    if message.HasField("failure"):
        return _failure(message.failure, names)
    return _parameter_result(message.result, names)


def _parameter_result(
    message: outcome_pb2.ParameterResult, names: Iterable[str]
) -> ParameterResult:
    return ParameterResult(
        combination_index=message.combination_index,
        parameters=_parameters(message.parameters, names),
        metrics=dict(sorted(message.metrics.items())),
        rank=message.rank or None,
        backtest_duration=_span(message.backtest_duration),
    )


def _failure(message: outcome_pb2.BacktestFailure, names: Iterable[str]) -> BacktestFailure:
    return BacktestFailure(
        combination_index=message.combination_index,
        parameters=_parameters(message.parameters, names),
        kind=_FAILURE_KINDS.get(message.kind, FailureKind.UNSPECIFIED),
        message=message.message,
        traceback=message.traceback,
        backtest_duration=_span(message.backtest_duration),
    )


def _parameters(
    values: Mapping[str, parameter_pb2.ParameterValue], names: Iterable[str]
) -> dict[str, ParameterValue]:
    """Return the values in grid order: a protobuf map has none."""
    return {name: _value(values[name]) for name in names if name in values}


def _value(message: parameter_pb2.ParameterValue) -> ParameterValue:
    value: ParameterValue = getattr(message, message.WhichOneof("kind") or "integer_value")
    return value


def _span(message: duration_pb2.Duration) -> timedelta:
    return timedelta(0, message.seconds, (message.nanos + 500) // 1000)


def _time(message: timestamp_pb2.Timestamp, timezone: str = "") -> datetime:
    """Return a time in a zone, or in UTC where there is none or this machine does not know it."""
    time = message.ToDatetime(tzinfo=UTC)
    if timezone in {"", "UTC"}:
        return time
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - seldom needed

    try:
        return time.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError):
        return time


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
