"""The optimizer's own types to protobuf responses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    outcome_pb2,
    parameter_pb2,
    strategy_pb2,
)

from stratsweep_server.backtest import (
    EngineDescription,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.market_data.data_directory import SymbolCoverage
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    OptimizationDirection,
    Parameter,
)
from stratsweep_server.optimization.outcome_log import OutcomeRow
from stratsweep_server.optimization.preparation import MarketDataSummary, PreparedOptimization
from stratsweep_server.optimization.result import (
    OptimizationResult,
    OptimizationState,
    ParameterResult,
)

MAX_PART_BYTES = 1_000_000

_FAILURE_KINDS = {
    FailureKind.ERROR: outcome_pb2.FAILURE_KIND_ERROR,
    FailureKind.TIMED_OUT: outcome_pb2.FAILURE_KIND_TIMED_OUT,
    FailureKind.CRASHED: outcome_pb2.FAILURE_KIND_CRASHED,
}
_STATES = {
    OptimizationState.SUCCEEDED: optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED,
    OptimizationState.FAILED: optimization_event_pb2.OPTIMIZATION_STATE_FAILED,
    OptimizationState.CANCELLED: optimization_event_pb2.OPTIMIZATION_STATE_CANCELLED,
}
_DIRECTIONS = {
    OptimizationDirection.MAXIMIZE: optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE,
    OptimizationDirection.MINIMIZE: optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE,
}
_PARAMETER_TYPES = {
    ParameterType.INTEGER: strategy_pb2.PARAMETER_TYPE_INTEGER,
    ParameterType.DOUBLE: strategy_pb2.PARAMETER_TYPE_DOUBLE,
    ParameterType.STRING: strategy_pb2.PARAMETER_TYPE_STRING,
    ParameterType.BOOL: strategy_pb2.PARAMETER_TYPE_BOOL,
}
_LIST_FIELDS = {
    bool: "bool_list",
    int: "integer_list",
    float: "double_list",
    str: "string_list",
}


def duration(seconds: float) -> Duration:
    """Seconds as a duration."""
    whole, fraction = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=fraction)


def timestamp(nanoseconds: int) -> Timestamp:
    """Nanoseconds since the epoch as a timestamp."""
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


def now() -> Timestamp:
    """The server's clock."""
    return timestamp(time.time_ns())


def parameter_value(value: ParameterValue) -> parameter_pb2.ParameterValue:
    """A value in the field of its type."""
    if isinstance(value, bool):
        return parameter_pb2.ParameterValue(bool_value=value)
    if isinstance(value, int):
        return parameter_pb2.ParameterValue(integer_value=value)
    if isinstance(value, float):
        return parameter_pb2.ParameterValue(double_value=value)
    return parameter_pb2.ParameterValue(string_value=value)


def started(
    optimization_id: str, worker_count: int, prepared: PreparedOptimization
) -> optimization_event_pb2.OptimizationStarted:
    """What is about to run."""
    return optimization_event_pb2.OptimizationStarted(
        optimization_id=optimization_id,
        total_count=prepared.total_count,
        rejected_count=prepared.rejected_count,
        worker_count=worker_count,
        market_data=_market_data(prepared.summary) if prepared.summary is not None else None,
        config=config(prepared.config),
    )


def config(value: OptimizationConfig) -> optimization_config_pb2.OptimizationConfig:
    """The effective config."""
    return optimization_config_pb2.OptimizationConfig(
        strategy=value.strategy,
        symbols=value.symbols,
        date_range=optimization_config_pb2.DateRange(
            start_date=_iso(value.start_date), end_date=_iso(value.end_date)
        ),
        parameters=[_parameter(axis) for axis in value.axes],
        constraints=value.constraints,
        optimization_target=value.optimization_target,
        direction=_DIRECTIONS[value.direction],
        backtest_timeout=duration(value.backtest_timeout),
        starting_cash=value.starting_cash,
        commission=value.commission,
        slippage=value.slippage,
        max_ranked_results=value.max_ranked_results,
    )


def outcome(row: OutcomeRow, plan: BacktestPlan) -> outcome_pb2.Outcome:
    """One outcome of the log."""
    parameters = plan.combination(row.combination_index)
    if row.failure is not None:
        return outcome_pb2.Outcome(failure=_failure(row.failure, parameters))
    return outcome_pb2.Outcome(result=row_result(row, parameters))


def row_result(
    row: OutcomeRow, parameters: Mapping[str, ParameterValue]
) -> outcome_pb2.ParameterResult:
    """A successful outcome, without a rank."""
    return outcome_pb2.ParameterResult(
        combination_index=row.combination_index,
        parameters=_parameters(parameters),
        metrics=row.metrics,
        backtest_duration=duration(row.duration),
    )


def result_parts(
    result: OptimizationResult, plan: BacktestPlan
) -> Iterator[optimization_event_pb2.OptimizationResult]:
    """The result in parts of at most about 1 MB; the last one says so."""
    part, size, part_index = _part(result, 0), 0, 0
    for row in _result_rows(result, plan):
        row_size = row.ByteSize()
        if size and size + row_size > MAX_PART_BYTES:
            yield part
            part_index += 1
            part, size = _part(result, part_index), 0
        if isinstance(row, outcome_pb2.ParameterResult):
            part.ranked_results.append(row)
        else:
            part.failures.append(row)
        size += row_size
    part.is_last_part = True
    yield part


def _part(result: OptimizationResult, part_index: int) -> optimization_event_pb2.OptimizationResult:
    return optimization_event_pb2.OptimizationResult(
        state=_STATES[result.state],
        total_count=result.total_count,
        succeeded_count=result.succeeded_count,
        failed_count=result.failed_count,
        execution_duration=duration(result.execution_time),
        message=result.message,
        part_index=part_index,
    )


def _result_rows(
    result: OptimizationResult, plan: BacktestPlan
) -> Iterator[outcome_pb2.ParameterResult | outcome_pb2.BacktestFailure]:
    for row in result.ranked_results:
        yield _ranked(row)
    for failure in result.failures:
        yield _failure(failure, plan.combination(failure.combination_index))


def _ranked(row: ParameterResult) -> outcome_pb2.ParameterResult:
    return outcome_pb2.ParameterResult(
        combination_index=row.combination_index,
        parameters=_parameters(row.parameters),
        metrics=row.metrics,
        rank=row.rank,
        backtest_duration=duration(row.duration),
    )


def strategies(description: EngineDescription) -> list[strategy_pb2.Strategy]:
    """The declared strategies, by name."""
    return [_strategy(each) for each in sorted(description.strategies, key=lambda each: each.name)]


def metrics(description: EngineDescription) -> list[strategy_pb2.Metric]:
    """The declared metrics, in the engine's order."""
    return [
        strategy_pb2.Metric(name=each.name, description=each.description)
        for each in description.metrics
    ]


def symbols(coverage: Iterable[SymbolCoverage]) -> list[strategy_pb2.Symbol]:
    """The symbols with the dates they cover; a bad file with its error."""
    return [_symbol(each) for each in coverage]


def _strategy(strategy: Strategy) -> strategy_pb2.Strategy:
    return strategy_pb2.Strategy(
        name=strategy.name,
        description=strategy.description,
        parameters=[_strategy_parameter(parameter) for parameter in strategy.parameters],
    )


def _strategy_parameter(parameter: StrategyParameter) -> strategy_pb2.StrategyParameter:
    default = parameter.default
    return strategy_pb2.StrategyParameter(
        name=parameter.name,
        type=_PARAMETER_TYPES[parameter.type],
        default_value=None if default is None else parameter_value(default),
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        choices=parameter.choices,
        description=parameter.description,
    )


def _symbol(coverage: SymbolCoverage) -> strategy_pb2.Symbol:
    if coverage.first_time is None or coverage.last_time is None:
        return strategy_pb2.Symbol(name=coverage.name, error=coverage.error)
    return strategy_pb2.Symbol(
        name=coverage.name,
        bar_count=coverage.bar_count,
        first_bar_time=timestamp(coverage.first_time),
        last_bar_time=timestamp(coverage.last_time),
    )


def _market_data(summary: MarketDataSummary) -> optimization_event_pb2.MarketDataSummary:
    return optimization_event_pb2.MarketDataSummary(
        bar_count=summary.bar_count,
        first_bar_time=timestamp(summary.first_time),
        last_bar_time=timestamp(summary.last_time),
        periods_per_year=summary.periods_per_year,
    )


def _parameter(axis: Parameter) -> parameter_pb2.Parameter:
    values = axis.values
    message = parameter_pb2.Parameter(name=axis.name)
    if isinstance(values, IntegerRange):
        message.integer_range.start = values.start
        message.integer_range.stop = values.stop
        message.integer_range.step = values.step
    elif isinstance(values, DoubleRange):
        message.double_range.start = values.start
        message.double_range.stop = values.stop
        if values.step is not None:
            message.double_range.step = values.step
        elif values.point_count is not None:
            message.double_range.point_count = values.point_count
    elif values:
        getattr(message, _list_field(values)).values.extend(values)
    return message


def _list_field(values: Sequence[ParameterValue]) -> str:
    types = {type(value) for value in values}
    return _LIST_FIELDS[float if types == {int, float} else types.pop()]


def _parameters(
    values: Mapping[str, ParameterValue],
) -> dict[str, parameter_pb2.ParameterValue]:
    return {name: parameter_value(value) for name, value in values.items()}


def _failure(
    failure: BacktestFailure, parameters: Mapping[str, ParameterValue]
) -> outcome_pb2.BacktestFailure:
    return outcome_pb2.BacktestFailure(
        combination_index=failure.combination_index,
        parameters=_parameters(parameters),
        kind=_FAILURE_KINDS[failure.kind],
        message=failure.message,
        traceback=failure.traceback,
        backtest_duration=duration(failure.duration),
    )


def _iso(day: date | None) -> str:
    return day.isoformat() if day is not None else ""
