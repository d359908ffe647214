"""Protobuf requests to the optimizer's own types."""

from __future__ import annotations

from datetime import date
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from stratsweep.v1 import optimization_config_pb2 as config_pb2
from stratsweep.v1 import parameter_pb2

from stratsweep_server.optimization.config import (
    DEFAULT_BACKTEST_TIMEOUT_SECONDS,
    DEFAULT_OPTIMIZATION_TARGET,
    DEFAULT_STARTING_CASH,
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    OptimizationDirection,
    Parameter,
    ParameterValues,
)
from stratsweep_server.optimization.validation import Violation

_DIRECTIONS = {
    config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED: OptimizationDirection.MAXIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE: OptimizationDirection.MAXIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE: OptimizationDirection.MINIMIZE,
}


def read_config(
    message: config_pb2.OptimizationConfig,
) -> tuple[OptimizationConfig, list[Violation]]:
    """Read a config; what cannot be read is reported and left at its default.

    Returns:
        The config, and the violations that only the wire form can have: values of no kind, dates
        and directions that do not parse.
    """
    violations: list[Violation] = []
    direction = _DIRECTIONS.get(message.direction)
    if direction is None:
        violations.append(Violation("direction", f"{message.direction} is no direction"))
    config = OptimizationConfig(
        strategy=message.strategy,
        symbols=tuple(message.symbols),
        parameters=tuple(
            _read_parameter(f"parameters[{number}]", parameter, violations)
            for number, parameter in enumerate(message.parameters)
        ),
        start_date=_read_date("start_date", message.date_range.start_date, violations),
        end_date=_read_date("end_date", message.date_range.end_date, violations),
        constraints=tuple(message.constraints),
        optimization_target=message.optimization_target or DEFAULT_OPTIMIZATION_TARGET,
        direction=direction or OptimizationDirection.MAXIMIZE,
        backtest_timeout=(
            seconds(message.backtest_timeout)
            if message.HasField("backtest_timeout")
            else DEFAULT_BACKTEST_TIMEOUT_SECONDS
        ),
        starting_cash=_or_default(message, "starting_cash", DEFAULT_STARTING_CASH),
        commission=message.commission,
        slippage=message.slippage,
        max_ranked_results=message.max_ranked_results,
        warm_up_bar_count=message.warm_up_bar_count,
        seed=message.seed,
    )
    return config, violations


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def _read_parameter(
    path: str, message: parameter_pb2.Parameter, violations: list[Violation]
) -> Parameter:
    kind = message.WhichOneof("values")
    values: ParameterValues | None = None
    if kind is None:
        violations.append(Violation(path, "has no values; give a range or a list"))
    elif kind == "integer_range":
        integers = message.integer_range
        step = integers.step if integers.HasField("step") else 1
        values = IntegerRange(integers.start, integers.stop, step)
    elif kind == "double_range":
        values = _read_double_range(message.double_range)
    else:
        values = tuple(getattr(message, kind).values)
    return Parameter(message.name, values)


def _read_double_range(message: parameter_pb2.DoubleRange) -> DoubleRange:
    spacing = message.WhichOneof("spacing")
    return DoubleRange(
        message.start,
        message.stop,
        step=message.step if spacing == "step" else None,
        point_count=message.point_count if spacing == "point_count" else None,
    )


def _read_date(name: str, text: str, violations: list[Violation]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        path = f"date_range.{name}"
        violations.append(Violation(path, f"{text[:40]!r} is no date; write it as YYYY-MM-DD"))
        return None


_Default = TypeVar("_Default")


def _or_default(message: config_pb2.OptimizationConfig, name: str, default: _Default) -> _Default:
    value: _Default = getattr(message, name)
    return value if message.HasField(name) else default  # type: ignore[arg-type]
