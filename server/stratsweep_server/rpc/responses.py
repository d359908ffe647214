"""Convert the optimizer's own types to protobuf responses."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    parameter_pb2,
    strategy_pb2,
)

from stratsweep_server.backtest import (
    EngineDescription,
    Metric,
    MetricUnit,
    OptimizationDirection,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.execution.generation import LoadedSource
from stratsweep_server.market_data.data_directory import SymbolCoverage
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
)
from stratsweep_server.optimization.preparation import MarketDataSummary, PreparedOptimization
from stratsweep_server.rpc.config_fields import PLAIN_FIELDS

_DIRECTIONS = {
    OptimizationDirection.MAXIMIZE: optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE,
    OptimizationDirection.MINIMIZE: optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE,
    OptimizationDirection.BEST: optimization_config_pb2.OPTIMIZATION_DIRECTION_BEST,
    None: optimization_config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED,
}
_PARAMETER_TYPES = {
    ParameterType.INTEGER: strategy_pb2.PARAMETER_TYPE_INTEGER,
    ParameterType.DOUBLE: strategy_pb2.PARAMETER_TYPE_DOUBLE,
    ParameterType.STRING: strategy_pb2.PARAMETER_TYPE_STRING,
    ParameterType.BOOL: strategy_pb2.PARAMETER_TYPE_BOOL,
}
_METRIC_UNITS = {
    MetricUnit.UNSPECIFIED: strategy_pb2.METRIC_UNIT_UNSPECIFIED,
    MetricUnit.RATIO: strategy_pb2.METRIC_UNIT_RATIO,
    MetricUnit.FRACTION: strategy_pb2.METRIC_UNIT_FRACTION,
    MetricUnit.CURRENCY: strategy_pb2.METRIC_UNIT_CURRENCY,
    MetricUnit.COUNT: strategy_pb2.METRIC_UNIT_COUNT,
    MetricUnit.DAYS: strategy_pb2.METRIC_UNIT_DAYS,
}
_LIST_FIELDS = {
    bool: "bool_list",
    int: "integer_list",
    float: "double_list",
    str: "string_list",
}
_BLOCK = 10_000


def duration(seconds: float) -> Duration:
    """Return seconds as a duration, rounded to nanoseconds."""
    whole, fraction = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=fraction)


def timestamp(nanoseconds: int) -> Timestamp:
    """Return nanoseconds since the epoch as a timestamp."""
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


def parameter_value(value: ParameterValue) -> parameter_pb2.ParameterValue:
    """Return a value in the field of its type."""
    if isinstance(value, bool):
        return parameter_pb2.ParameterValue(bool_value=value)
    if isinstance(value, int):
        return parameter_pb2.ParameterValue(integer_value=value)
    if isinstance(value, float):
        return parameter_pb2.ParameterValue(double_value=value)
    return parameter_pb2.ParameterValue(string_value=value)


def started(
    optimization_id: str,
    worker_count: int,
    prepared: PreparedOptimization,
    labels: Mapping[str, str],
) -> optimization_event_pb2.OptimizationStarted:
    """Return the event that says what is about to run."""
    return optimization_event_pb2.OptimizationStarted(
        optimization_id=optimization_id,
        total_count=prepared.total_count,
        rejected_count=prepared.rejected_count,
        worker_count=worker_count,
        market_data=_market_data(prepared.summary) if prepared.summary is not None else None,
        config=config(prepared.config),
        labels=labels,
        metrics=metrics(prepared.metrics),
    )


def config(value: OptimizationConfig) -> optimization_config_pb2.OptimizationConfig:
    """Return the effective config as a message."""
    return optimization_config_pb2.OptimizationConfig(
        **{name: getattr(value, name) for name in PLAIN_FIELDS},
        symbols=value.symbols,
        date_range=optimization_config_pb2.DateRange(
            start_date=_iso(value.start_date), end_date=_iso(value.end_date)
        ),
        parameters=[_parameter(axis) for axis in value.axes],
        constraints=value.constraints,
        requirements=value.requirements,
        direction=_DIRECTIONS[value.direction],
        backtest_timeout=duration(value.backtest_timeout),
    )


def strategies(
    description: EngineDescription, loaded: Iterable[LoadedSource]
) -> list[strategy_pb2.Strategy]:
    """Return the declared strategies, by name; each with its module where that was loaded."""
    modules = {each.source.module for each in loaded}
    ordered = sorted(description.strategies, key=lambda each: each.name)
    return [_strategy(each, each.module if each.module in modules else "") for each in ordered]


def sources(loaded: Iterable[LoadedSource]) -> list[strategy_pb2.Source]:
    """Return the modules that were loaded, without the directories in which they are."""
    return [
        strategy_pb2.Source(
            module=each.source.module,
            file=each.source.file,
            digest=each.source.digest,
            load_time=timestamp(each.load_time),
            modification_time=timestamp(each.source.modification_time),
            is_stale=each.is_stale,
        )
        for each in loaded
    ]


def metrics(declared: Iterable[Metric]) -> list[strategy_pb2.Metric]:
    """Return the declared metrics, in the engine's order."""
    return [
        strategy_pb2.Metric(
            name=each.name,
            description=each.description,
            unit=_METRIC_UNITS[each.unit],
            best_direction=_DIRECTIONS[each.best_direction],
        )
        for each in declared
    ]


def symbols(coverage: Iterable[SymbolCoverage]) -> list[strategy_pb2.Symbol]:
    """Return the symbols with the dates that they cover; a bad file with its error."""
    return [_symbol(each) for each in coverage]


def _strategy(strategy: Strategy, source: str) -> strategy_pb2.Strategy:
    return strategy_pb2.Strategy(
        name=strategy.name,
        description=strategy.description,
        parameters=[_strategy_parameter(parameter) for parameter in strategy.parameters],
        source=source,
        takes_columns=strategy.takes_columns,
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
        notes=coverage.notes,
        timezone=coverage.timezone,
    )


def _market_data(summary: MarketDataSummary) -> optimization_event_pb2.MarketDataSummary:
    return optimization_event_pb2.MarketDataSummary(
        bar_count=summary.bar_count,
        first_bar_time=timestamp(summary.first_time),
        last_bar_time=timestamp(summary.last_time),
        periods_per_year=summary.periods_per_year,
        timezone=summary.timezone,
        symbols=symbols(summary.symbols),
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
        items = getattr(message, _list_field(values)).values
        for start in range(0, len(values), _BLOCK):  # between which other threads get their turns
            items.extend(values[start : start + _BLOCK])
    return message


def _list_field(values: Sequence[ParameterValue]) -> str:
    types = {type(value) for value in (values[:1] if isinstance(values, array) else values)}
    return _LIST_FIELDS[float if types == {int, float} else types.pop()]


def _iso(day: date | None) -> str:
    return day.isoformat() if day is not None else ""
