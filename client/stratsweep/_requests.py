"""A caller's keywords to the messages of the contract. Pure: nothing is sent here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Unpack

from google.protobuf import duration_pb2
from google.protobuf.descriptor import FieldDescriptor

from stratsweep.config import ConfigOptions, Span
from stratsweep.parameters import (
    DoubleRange,
    GridValues,
    IntegerRange,
    ValueList,
    grid_values,
)
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_service_pb2,
    outcome_pb2,
    parameter_pb2,
)

_CALL_OPTIONS = ("labels", "progress_interval", "timeout")
"""Keywords of `Client.optimize` beside those of the config."""
_UNSIGNED_BITS = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}
_PLAIN_FIELDS = {
    field.name: field
    for field in optimization_config_pb2.OptimizationConfig.DESCRIPTOR.fields
    if field.message_type is None and field.enum_type is None and not field.is_repeated
}


def optimize_request(
    config: optimization_config_pb2.OptimizationConfig,
    *,
    labels: Mapping[str, str] | None = None,
    validate_only: bool = False,
    progress_interval: Span | None = None,
) -> optimization_service_pb2.OptimizeRequest:
    """Return the request of an `Optimize` call.

    Raises:
        TypeError: A label is no text.
        ValueError: The interval does not fit into its field.
    """
    request = optimization_service_pb2.OptimizeRequest(
        config=config, validate_only=validate_only, labels=_labels(labels)
    )
    if progress_interval is not None:
        request.progress_interval.CopyFrom(_duration("progress_interval", progress_interval))
        # Pays only for results that come in numbers; a server that does not know it sends rows.
        request.result_format = outcome_pb2.RESULT_FORMAT_ARROW
    return request


def optimization_config(
    strategy: str, **options: Unpack[ConfigOptions]
) -> optimization_config_pb2.OptimizationConfig:
    """Return the config message; what is not given is left to the server's default.

    Raises:
        TypeError: A keyword is unknown, a parameter's values are not of one usable type, or a value
            is not of its field's type.
        ValueError: A parameter has no values, or a number does not fit into its field.
    """
    _check_names(options)
    config = optimization_config_pb2.OptimizationConfig(
        strategy=strategy,
        symbols=_texts(options["symbols"]),
        parameters=[
            _parameter(name, grid_values(name, values))
            for name, values in options.get("parameters", {}).items()
        ],
        constraints=_texts(options.get("constraints", ())),
    )
    for name, value in options.items():
        if name in _PLAIN_FIELDS and value is not None:
            _set(config, name, value)
    start_date, end_date = options.get("start_date"), options.get("end_date")
    if start_date is not None or end_date is not None:
        config.date_range.start_date = _day(start_date)
        config.date_range.end_date = _day(end_date)
    if options.get("minimize"):
        config.direction = optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE
    backtest_timeout = options.get("backtest_timeout")
    if backtest_timeout is not None:
        config.backtest_timeout.CopyFrom(_duration("backtest_timeout", backtest_timeout))
    return config


def plain_values(config: optimization_config_pb2.OptimizationConfig) -> dict[str, Any]:
    """Return the single numbers and texts of a config by name."""
    return {name: getattr(config, name) for name in _PLAIN_FIELDS}


def seconds(span: Span | None) -> float | None:
    """Return a span in seconds."""
    return span.total_seconds() if isinstance(span, timedelta) else span


def _labels(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels: expected texts by key, not {labels!r}")
    for key, value in labels.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"labels: {key!r}: {value!r} must be a text by a text")
    return labels


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


def _check_names(options: Mapping[str, object]) -> None:
    """Refuse keywords as Python does, and say what may have been meant."""
    known = ConfigOptions.__annotations__
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_CALL_OPTIONS], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"optimize() got an unexpected keyword argument {name!r}{hint}")
    if "symbols" not in options:
        raise TypeError("optimize() missing the keyword argument 'symbols'")


def _set(config: optimization_config_pb2.OptimizationConfig, name: str, value: object) -> None:
    bits = _UNSIGNED_BITS.get(_PLAIN_FIELDS[name].type)
    if bits and isinstance(value, int) and not 0 <= value < 2**bits:
        raise ValueError(f"{name} must be from 0 to 2^{bits} - 1, not {value}")
    try:
        setattr(config, name, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


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
