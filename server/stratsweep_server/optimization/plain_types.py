"""Convert a config as Python callers write it into the types in which a request comes.

Theirs may have one text for several, numpy's and pandas' kinds of numbers and times, and one value
for a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from typing import Any, SupportsFloat

from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
    ParameterValues,
)
from stratsweep_server.optimization.validation import InvalidConfigError, Violation
from stratsweep_server.texts import quoted

_PLAIN = {bool, int, float, str}
_SHOWN = {bool, int, float, type(None)}


def in_plain_types(config: OptimizationConfig) -> OptimizationConfig:
    """Return an equal config whose values all have plain Python types.

    Raises:
        InvalidConfigError: With every field whose value is of no type that it takes.
    """
    converted: dict[str, Any] = {}
    violations = []
    for field in fields(config):
        convert = _CONVERSIONS.get(field.name) or _CONVERSIONS_BY_TYPE[str(field.type)]
        try:
            converted[field.name] = convert(getattr(config, field.name))
        except _WrongTypeError as error:
            violations.append(Violation(error.path or field.name, str(error)))
    if violations:
        raise InvalidConfigError(violations)
    return replace(config, **converted)


class _WrongTypeError(Exception):
    """Report a value of no type that its field takes: `wanted` says which, `path` where in it."""

    def __init__(self, value: object, wanted: str, path: str = "") -> None:
        shown = str(value) if type(value) in _SHOWN else f"of type {type(value).__name__}"
        shown = quoted(value) if isinstance(value, str) else shown
        super().__init__(f"is {shown}; give {wanted}")
        self.path = path


def _plain(value: Any) -> Any:  # noqa: ANN401 - what it is, the callers find out
    """Return what a numpy scalar holds; anything else as it is."""
    is_scalar = hasattr(value, "item") and getattr(value, "ndim", 0) == 0
    return value.item() if is_scalar and not _is_numpy_time(value) else value


def _is_numpy_time(value: object) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") in {"m", "M"}


def _is_one_numpy_time(value: object) -> bool:
    return _is_numpy_time(value) and getattr(value, "ndim", 0) == 0


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongTypeError(value, "a text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    items = (values,) if isinstance(values, str) else values
    if isinstance(items, bytes) or not isinstance(items, Iterable):
        raise _WrongTypeError(values, "one text or several")
    items = tuple(items)
    for each in items:
        if not isinstance(each, str):
            raise _WrongTypeError(each, "one text or several")
    return items


def _day(value: object) -> date | None:
    if value is None:
        return None
    day = value
    if _is_one_numpy_time(value):
        day = value.astype("datetime64[D]").item()  # type: ignore[attr-defined] # numpy's
    elif isinstance(value, str):
        with suppress(ValueError):
            return date.fromisoformat(value)
    elif isinstance(value, datetime) and value == value:  # noqa: PLR0124 - a NaT is not itself
        return value.date()
    if not isinstance(day, date) or isinstance(day, datetime):
        raise _WrongTypeError(value, "a date, or a text YYYY-MM-DD")
    return day


def _number(value: object) -> int | float:
    value = _plain(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    is_alone = getattr(value, "ndim", 0) == 0 and not _is_numpy_time(value)
    if isinstance(value, bool) or not (is_alone and isinstance(value, SupportsFloat)):
        raise _WrongTypeError(value, "a number")
    return float(value)


def _seconds(value: object) -> float:
    if _is_one_numpy_time(value):
        value = value.astype("timedelta64[us]").item()  # type: ignore[attr-defined] # numpy's
    return value.total_seconds() if isinstance(value, timedelta) else _number(value)


def _direction(value: object) -> OptimizationDirection:
    if not isinstance(value, OptimizationDirection):
        raise _WrongTypeError(value, "one of OptimizationDirection")
    return value


def _parameters(parameters: object) -> Mapping[str, ParameterValues] | Sequence[Parameter]:
    if isinstance(parameters, Mapping):
        return {
            _text(name): _values(f"parameters[{number}]", values)
            for number, (name, values) in enumerate(parameters.items())
        }
    if isinstance(parameters, Sequence) and all(isinstance(each, Parameter) for each in parameters):
        return [
            Parameter(_text(each.name), _values(f"parameters[{number}]", each.values))
            for number, each in enumerate(parameters)
        ]
    raise _WrongTypeError(parameters, "values by name, such as {'fast': [5, 10, 20]}")


def _values(path: str, values: object) -> ParameterValues:
    if isinstance(values, IntegerRange | DoubleRange):
        return replace(
            values, **{each.name: _plain(getattr(values, each.name)) for each in fields(values)}
        )
    if hasattr(values, "tolist") and not _is_numpy_time(values):
        values = values.tolist()
    if type(values) in _PLAIN:
        return [values]  # type: ignore[list-item] # one of those
    if isinstance(values, bytes) or not isinstance(values, Sequence):
        raise _WrongTypeError(values, "a range, a list of values, or one value", path)
    is_plain = isinstance(values, range) or {type(each) for each in values} <= _PLAIN
    return values if is_plain else [_plain(each) for each in values]


_CONVERSIONS: Mapping[str, Callable[[object], object]] = {
    "symbols": _texts,
    "parameters": _parameters,
    "constraints": _texts,
    "requirements": _texts,
    "backtest_timeout": _seconds,
}
_CONVERSIONS_BY_TYPE: Mapping[str, Callable[[object], object]] = {
    "str": _text,
    "int": _number,
    "float": _number,
    "date | None": _day,
    "OptimizationDirection": _direction,
}
"""Of the other fields, by what their annotations say."""
