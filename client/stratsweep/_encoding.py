"""A caller's keywords to the messages of the contract. Pure: nothing is sent here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Unpack, cast

from google.protobuf import duration_pb2
from google.protobuf.descriptor import FieldDescriptor

from stratsweep._identifiers import new_optimization_id
from stratsweep._values import day, number, span, switch, text, texts, whole_number
from stratsweep.config import ConfigOptions, OptimizeOptions, RunOptions, Span
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

_ABANDON_GRACE = 10.0
"""In seconds: a connection that is away for a moment does not cost the night."""
_UNSIGNED_BITS = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}
_PLAIN_FIELDS = {
    field.name: field
    for field in optimization_config_pb2.OptimizationConfig.DESCRIPTOR.fields
    # Of a repeated field the default is a list; protobuf 6.30 has no `is_repeated` yet.
    if field.message_type is None and field.enum_type is None and field.default_value != []
}


_CALL_OPTIONS = (*RunOptions.__annotations__, "timeout", "wait_when_busy")
"""Keywords of `Client.optimize` beside those of the config."""


def optimize_request(
    strategy: str, options: OptimizeOptions
) -> optimization_service_pb2.OptimizeRequest:
    """Return the request of an `Optimize` call; it gets an id where it is given none.

    Raises:
        TypeError: A keyword is unknown, or its value is of no type that it takes.
        ValueError: A parameter has no values, or a number does not fit into its field.
    """
    names = RunOptions.__annotations__
    config = {name: each for name, each in options.items() if name not in names}
    run: dict[str, Any] = {
        name: each for name, each in options.items() if name in names and each is not None
    }
    request = optimization_service_pb2.OptimizeRequest(
        config=optimization_config(strategy, **cast("ConfigOptions", config)),
        labels=encoded_labels(run.get("labels")),
        optimization_id=text("optimization_id", run.get("optimization_id", new_optimization_id())),
        detached=switch("detached", run.get("detached", False)),
        reuse=switch("reuse", run.get("reuse", False)),
        resume_from=text("resume_from", run.get("resume_from", "")),
    )
    grace = run.get("abandon_grace", _ABANDON_GRACE)
    _set_duration("abandon_grace", request.abandon_grace, grace)
    _set_progress(request, run.get("progress_interval"))
    return request


def validate_request(
    strategy: str, labels: Mapping[str, str] | None, config: ConfigOptions
) -> optimization_service_pb2.OptimizeRequest:
    """Return the request of an `Optimize` call that runs nothing, and so needs no id.

    Raises:
        TypeError: As `optimize_request` does.
        ValueError: As `optimize_request` does.
    """
    return optimization_service_pb2.OptimizeRequest(
        config=optimization_config(strategy, **config),
        validate_only=True,
        labels=encoded_labels(labels),
    )


def watch_request(
    optimization_id: str, after_sequence_number: int, progress_interval: Span | None
) -> optimization_service_pb2.WatchOptimizationRequest:
    """Return the request of a `WatchOptimization` call.

    Raises:
        TypeError: An argument is of no type that it takes.
        ValueError: A number does not fit into its field.
    """
    request = optimization_service_pb2.WatchOptimizationRequest(
        optimization_id=text("optimization_id", optimization_id),
        after_sequence_number=whole_number("after_sequence_number", after_sequence_number),
    )
    _set_progress(request, progress_interval)
    return request


def optimization_config(
    strategy: str, **options: Unpack[ConfigOptions]
) -> optimization_config_pb2.OptimizationConfig:
    """Return the config message; what is not given is left to the server's default.

    Raises:
        TypeError: A keyword is unknown, a parameter's values are not of one usable type, or a value
            is not of its field's type.
        ValueError: A parameter has no values, a number does not fit into its field, or `minimize`
            and `maximize` contradict each other.
    """
    _check_names(options)
    given: dict[str, Any] = {name: each for name, each in options.items() if each is not None}
    config = optimization_config_pb2.OptimizationConfig(
        strategy=text("strategy", strategy),
        symbols=texts("symbols", options["symbols"], "SPY"),
        parameters=_parameters(given.get("parameters", {})),
        constraints=texts("constraints", given.get("constraints", ()), "fast < slow"),
        requirements=texts("requirements", given.get("requirements", ()), "trade_count >= 30"),
        direction=chosen_direction(given),
    )
    for name in given.keys() & _PLAIN_FIELDS:
        setattr(config, name, _plain_value(name, given[name]))
    for name in given.keys() & {"start_date", "end_date"}:
        setattr(config.date_range, name, day(name, given[name]))
    if "backtest_timeout" in given:
        _set_duration("backtest_timeout", config.backtest_timeout, given["backtest_timeout"])
    return config


def each_symbol(options: ConfigOptions) -> dict[str, ConfigOptions]:
    """Return the options for each symbol alone, each symbol once.

    Raises:
        TypeError: There is no keyword of symbols.
        ValueError: There is no symbol.
    """
    _check_names(options)
    symbols = dict.fromkeys(texts("symbols", options["symbols"], "SPY"))
    if not symbols:
        raise ValueError("symbols: name at least one")
    return {symbol: {**options, "symbols": symbol} for symbol in symbols}


def plain_values(config: optimization_config_pb2.OptimizationConfig) -> dict[str, Any]:
    """Return the single numbers and texts of a config by name."""
    return {name: getattr(config, name) for name in _PLAIN_FIELDS}


def encoded_labels(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return labels as a message takes them.

    Raises:
        TypeError: They are no texts by key.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels: expected texts by key, not {type(labels).__name__}")
    return {text("labels", key): text(f"labels[{key!r}]", labels[key]) for key in labels}


def chosen_direction(
    given: Mapping[str, Any],
) -> optimization_config_pb2.OptimizationDirection.ValueType:
    """Return the end that is asked for; the metric's better one where none is."""
    ends = {
        switch(name, given[name]) is (name == "maximize")
        for name in ("maximize", "minimize")
        if name in given
    }
    if len(ends) > 1:
        raise ValueError("minimize and maximize contradict each other; give one of them")
    if not ends:
        return optimization_config_pb2.OPTIMIZATION_DIRECTION_BEST
    if ends.pop():
        return optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE
    return optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE


def _parameters(values: Mapping[str, ParameterValues]) -> list[parameter_pb2.Parameter]:
    if not isinstance(values, Mapping):
        raise TypeError(
            "parameters: expected values by name, such as {'fast': [5, 10, 20]}, "
            f"not {type(values).__name__}"
        )
    names = [text("parameters", name) for name in values]
    return [_parameter(name, grid_values(name, values[name])) for name in names]


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


def _plain_value(name: str, value: object) -> str | float:
    field = _PLAIN_FIELDS[name]
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return text(name, value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return number(name, value)
    whole, bits = whole_number(name, value), _UNSIGNED_BITS[field.type]
    if not 0 <= whole < 2**bits:
        raise ValueError(f"{name} must be from 0 to 2^{bits} - 1, not {whole}")
    return whole


def _set_progress(
    request: optimization_service_pb2.OptimizeRequest
    | optimization_service_pb2.WatchOptimizationRequest,
    interval: Span | None,
) -> None:
    if interval is not None:
        _set_duration("progress_interval", request.progress_interval, interval)
        # Pays only for results that come in numbers; a server that does not know it sends rows.
        request.result_format = outcome_pb2.RESULT_FORMAT_ARROW


def _set_duration(name: str, duration: duration_pb2.Duration, value: Span) -> None:
    interval = span(name, value)
    try:
        duration.FromTimedelta(interval)
    except ValueError:
        raise ValueError(f"{name}: {value} is not a span of time that fits its field") from None
