"""A caller's keywords to the messages of the contract. Pure: nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Required, TypeAlias, TypedDict

from google.protobuf import duration_pb2

from stratsweep.parameters import (
    DoubleRange,
    GridValues,
    IntegerRange,
    ParameterValues,
    ValueList,
    grid_values,
)
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_service_pb2,
    outcome_pb2,
    parameter_pb2,
)

Span: TypeAlias = float | timedelta
"""A span of time: seconds, or a timedelta."""

_UINT32_MAXIMUM = 2**32 - 1
_UINT64_MAXIMUM = 2**64 - 1


class ConfigOptions(TypedDict, total=False):
    """The keywords of `Client.optimize` that say what to optimize; its docstring explains them."""

    symbols: Required[str | Sequence[str]]
    parameters: Required[Mapping[str, ParameterValues]]
    constraints: str | Sequence[str]
    start_date: date | str | None
    end_date: date | str | None
    optimization_target: str | None
    minimize: bool
    backtest_timeout: Span | None
    starting_cash: float | None
    commission: float
    slippage: float
    max_ranked_results: int
    warm_up_bar_count: int
    seed: int


def optimize_request(
    config: optimization_config_pb2.OptimizationConfig,
    *,
    validate_only: bool = False,
    progress_interval: Span | None = None,
) -> optimization_service_pb2.OptimizeRequest:
    """Return the request of an `Optimize` call."""
    request = optimization_service_pb2.OptimizeRequest(config=config, validate_only=validate_only)
    if progress_interval is not None:
        request.progress_interval.CopyFrom(_duration("progress_interval", progress_interval))
        # Pays only for results that come in numbers; a server that does not know it sends rows.
        request.result_format = outcome_pb2.RESULT_FORMAT_ARROW
    return request


def optimization_config(
    strategy: str,
    *,
    symbols: str | Sequence[str],
    parameters: Mapping[str, ParameterValues],
    constraints: str | Sequence[str] = (),
    start_date: date | str | None = None,
    end_date: date | str | None = None,
    optimization_target: str | None = None,
    minimize: bool = False,
    backtest_timeout: Span | None = None,
    starting_cash: float | None = None,
    commission: float = 0.0,
    slippage: float = 0.0,
    max_ranked_results: int = 0,
    warm_up_bar_count: int = 0,
    seed: int = 0,
) -> optimization_config_pb2.OptimizationConfig:
    """Return the config message; what is not given is left to the server's default.

    Raises:
        TypeError: A parameter's values are not of one usable type.
        ValueError: A parameter has no values, or a number does not fit into its field.
    """
    for name, count in (
        ("max_ranked_results", max_ranked_results),
        ("warm_up_bar_count", warm_up_bar_count),
    ):
        if not 0 <= count <= _UINT32_MAXIMUM:
            raise ValueError(f"{name} must be 0 or more, not {count}")
    if not 0 <= seed <= _UINT64_MAXIMUM:
        raise ValueError(f"seed must be from 0 to 2^64 - 1, not {seed}")
    config = optimization_config_pb2.OptimizationConfig(
        strategy=strategy,
        symbols=_texts(symbols),
        parameters=[
            _parameter(name, grid_values(name, values)) for name, values in parameters.items()
        ],
        constraints=_texts(constraints),
        optimization_target=optimization_target or "",
        starting_cash=starting_cash,
        commission=commission,
        slippage=slippage,
        max_ranked_results=max_ranked_results,
        warm_up_bar_count=warm_up_bar_count,
        seed=seed,
    )
    if start_date is not None or end_date is not None:
        config.date_range.start_date = _day(start_date)
        config.date_range.end_date = _day(end_date)
    if minimize:
        config.direction = optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE
    if backtest_timeout is not None:
        config.backtest_timeout.CopyFrom(_duration("backtest_timeout", backtest_timeout))
    return config


def seconds(span: Span | None) -> float | None:
    """Return a span in seconds."""
    return span.total_seconds() if isinstance(span, timedelta) else span


def _parameter(name: str, values: GridValues) -> parameter_pb2.Parameter:
    match values:
        case IntegerRange(start, stop, step):
            integers = parameter_pb2.IntegerRange(start=start, stop=stop, step=step)
            return parameter_pb2.Parameter(name=name, integer_range=integers)
        case DoubleRange():
            doubles = parameter_pb2.DoubleRange(start=values.start, stop=values.stop)
            if values.step is not None:
                doubles.step = values.step
            if values.point_count is not None:
                doubles.point_count = values.point_count
            return parameter_pb2.Parameter(name=name, double_range=doubles)
        case _:
            return _list_parameter(name, values)


def _list_parameter(name: str, values: ValueList) -> parameter_pb2.Parameter:
    parameter = parameter_pb2.Parameter(name=name)
    lists: dict[type, Any] = {
        int: parameter.integer_list,
        float: parameter.double_list,
        str: parameter.string_list,
        bool: parameter.bool_list,
    }
    lists[type(values[0])].values.extend(values)
    return parameter


def _texts(texts: str | Sequence[str]) -> Sequence[str]:
    return (texts,) if isinstance(texts, str) else texts


def _day(day: date | str | None) -> str:
    if isinstance(day, datetime):
        day = day.date()
    return day.isoformat() if isinstance(day, date) else day or ""


def _duration(name: str, span: Span) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    try:
        duration.FromTimedelta(span if isinstance(span, timedelta) else timedelta(seconds=span))
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: {span} is not a span of time that fits its field") from None
    return duration
