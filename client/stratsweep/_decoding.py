"""Messages of the contract to what callers see. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from google.protobuf import duration_pb2, timestamp_pb2

from stratsweep._encoding import plain_values
from stratsweep._rows import Block
from stratsweep.config import OptimizationConfig, OptimizationDirection
from stratsweep.errors import ServerError
from stratsweep.events import (
    MarketDataSummary,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    Progress,
)
from stratsweep.outcomes import BacktestFailure, FailureKind, Outcome, ParameterResult
from stratsweep.parameters import DoubleRange, GridValues, IntegerRange, ParameterValue
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

_Enum = TypeVar("_Enum", bound=StrEnum)


def _members(
    enum: type[_Enum], prefix: str, numbers: Iterable[tuple[str, int]]
) -> dict[int, _Enum]:
    return {number: enum(name.removeprefix(prefix)) for name, number in numbers}


# A number that is in none of these is a newer server's.
_FAILURE_KINDS = _members(FailureKind, "FAILURE_KIND_", outcome_pb2.FailureKind.items())
STATES = _members(
    OptimizationState, "OPTIMIZATION_STATE_", optimization_event_pb2.OptimizationState.items()
)
_DIRECTIONS = {
    optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE: OptimizationDirection.MAXIMIZE,
    optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE: OptimizationDirection.MINIMIZE,
}
_TYPES = _members(ParameterType, "PARAMETER_TYPE_", strategy_pb2.ParameterType.items())
_UNITS = _members(MetricUnit, "METRIC_UNIT_", strategy_pb2.MetricUnit.items())


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
        uptime=span_of(response.uptime),
    )


def started_event(message: optimization_event_pb2.OptimizationStarted) -> OptimizationStarted:
    """Decode the first event."""
    return OptimizationStarted(
        optimization_id=message.optimization_id,
        total_count=message.total_count,
        rejected_count=message.rejected_count,
        worker_count=message.worker_count,
        config=_config(message.config),
        market_data=_market_data(message.market_data) if message.HasField("market_data") else None,
        labels=dict(sorted(message.labels.items())),
        metrics=tuple(map(_metric, message.metrics)),
        state=(
            STATES.get(message.state, OptimizationState.UNSPECIFIED)
            if message.state  # a server that has no queue does not say
            else OptimizationState.RUNNING
        ),
        reused_count=message.reused_count,
    )


def progress_event(
    message: optimization_event_pb2.Progress,
    started: OptimizationStarted,
    outcomes: Sequence[Outcome],
    best: ParameterResult | None,
) -> Progress:
    """Decode a progress event, given its outcomes and the best one so far."""
    has_remaining = message.HasField("estimated_remaining_duration")
    return Progress(
        completed_count=message.completed_count,
        total_count=message.total_count,
        failed_count=message.failed_count,
        outcomes=outcomes,
        best=best,
        elapsed_duration=span_of(message.elapsed_duration),
        estimated_remaining_duration=(
            span_of(message.estimated_remaining_duration) if has_remaining else None
        ),
        optimization_id=started.optimization_id,
    )


def optimization_result(
    last_part: optimization_event_pb2.OptimizationResult,
    started: OptimizationStarted,
    ranked: Sequence[ParameterResult],
    failures: Sequence[BacktestFailure],
) -> OptimizationResult:
    """Decode the last part of a result, given the rows of all."""
    return OptimizationResult(
        optimization_id=started.optimization_id,
        state=STATES.get(last_part.state, OptimizationState.UNSPECIFIED),
        config=started.config,
        ranked=ranked,
        failures=failures,
        total_count=last_part.total_count,
        succeeded_count=last_part.succeeded_count,
        failed_count=last_part.failed_count,
        execution_duration=span_of(last_part.execution_duration),
        message=last_part.message,
        labels=started.labels,
        market_data=started.market_data,
        metrics=started.metrics,
        unqualified_count=last_part.unqualified_count,
        without_target_count=last_part.without_target_count,
    )


def outcome(message: outcome_pb2.Outcome, names: Iterable[str]) -> Outcome:
    """Decode how a backtest ended, given the names of the parameters in grid order."""
    if message.HasField("failure"):
        return failure(message.failure, names)
    return parameter_result(message.result, names)


def parameter_result(message: outcome_pb2.ParameterResult, names: Iterable[str]) -> ParameterResult:
    """Decode a result, given the names of the parameters in grid order."""
    return ParameterResult(
        combination_index=message.combination_index,
        parameters=_parameters(message.parameters, names),
        metrics=dict(sorted(message.metrics.items())),
        rank=message.rank or None,
        backtest_duration=span_of(message.backtest_duration),
    )


def failure(message: outcome_pb2.BacktestFailure, names: Iterable[str]) -> BacktestFailure:
    """Decode a failure, given the names of the parameters in grid order."""
    return BacktestFailure(
        combination_index=message.combination_index,
        parameters=_parameters(message.parameters, names),
        kind=_FAILURE_KINDS.get(message.kind, FailureKind.UNSPECIFIED),
        message=message.message,
        traceback=message.traceback,
        backtest_duration=span_of(message.backtest_duration),
    )


def result_blocks(stream: bytes) -> Sequence[Block[ParameterResult]]:
    """Return the results that came as Arrow; none where nothing did.

    Raises:
        ServerError: The bytes are no such results.
    """
    if not stream:
        return ()
    from stratsweep._arrow import arrow_blocks  # noqa: PLC0415 - imports nanoarrow

    try:
        return arrow_blocks(stream)
    except ValueError as error:
        raise ServerError(f"the server sent results that cannot be read: {error}") from error


def _metric(message: strategy_pb2.Metric) -> Metric:
    return Metric(
        message.name,
        message.description,
        _UNITS.get(message.unit, MetricUnit.UNSPECIFIED),
        _DIRECTIONS.get(message.best_direction),
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
        load_time=time_of(message.load_time),
        modification_time=time_of(message.modification_time),
        is_stale=message.is_stale,
    )


def _symbol(message: strategy_pb2.Symbol) -> Symbol:
    return Symbol(
        name=message.name,
        bar_count=message.bar_count,
        first_bar_time=time_of(message.first_bar_time, message.timezone)
        if message.HasField("first_bar_time")
        else None,
        last_bar_time=time_of(message.last_bar_time, message.timezone)
        if message.HasField("last_bar_time")
        else None,
        error=message.error,
        notes=tuple(message.notes),
        timezone=message.timezone or "UTC",
    )


def _market_data(message: optimization_event_pb2.MarketDataSummary) -> MarketDataSummary:
    return MarketDataSummary(
        bar_count=message.bar_count,
        first_bar_time=time_of(message.first_bar_time, message.timezone),
        last_bar_time=time_of(message.last_bar_time, message.timezone),
        periods_per_year=message.periods_per_year,
        timezone=message.timezone or "UTC",
        symbols=tuple(map(_symbol, message.symbols)),
    )


def _config(message: optimization_config_pb2.OptimizationConfig) -> OptimizationConfig:
    return OptimizationConfig(
        **plain_values(message),
        symbols=tuple(message.symbols),
        start_date=_date(message.date_range.start_date),
        end_date=_date(message.date_range.end_date),
        parameters={each.name: _grid_values(each) for each in message.parameters},
        constraints=tuple(message.constraints),
        requirements=tuple(message.requirements),
        direction=_DIRECTIONS.get(message.direction, OptimizationDirection.MAXIMIZE),
        backtest_timeout=span_of(message.backtest_timeout),
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


def _parameters(
    values: Mapping[str, parameter_pb2.ParameterValue], names: Iterable[str]
) -> dict[str, ParameterValue]:
    """Return the values in grid order: a protobuf map has none."""
    return {name: _value(values[name]) for name in names if name in values}


def _value(message: parameter_pb2.ParameterValue) -> ParameterValue:
    value: ParameterValue = getattr(message, message.WhichOneof("kind") or "integer_value")
    return value


def span_of(message: duration_pb2.Duration) -> timedelta:
    return timedelta(0, message.seconds, (message.nanos + 500) // 1000)


def time_of(message: timestamp_pb2.Timestamp, timezone: str = "") -> datetime:
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
