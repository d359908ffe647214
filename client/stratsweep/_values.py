"""What callers give, numpy's and pandas' kinds included, to plain Python: texts, numbers, times.

A TypeError names the keyword, what it takes, and what it was given.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, NoReturn, SupportsFloat

_SHOWN_AS_THEY_ARE = (str, bytes, int, float, type(None))


def plain(value: Any) -> Any:  # noqa: ANN401 - what it is, the callers find out
    """Return what a numpy scalar holds, and anything else as it is."""
    is_scalar = hasattr(value, "item") and getattr(value, "ndim", 0) == 0
    return value.item() if is_scalar and not is_numpy_time(value) else value


def is_numpy_time(value: object) -> bool:
    """Return whether a value is numpy's kind of times or of spans of time."""
    return _numpy_kind(value) in {"m", "M"}


def text(name: str, value: object) -> str:
    """Return a text.

    Raises:
        TypeError: It is none.
        ValueError: It has half of a surrogate pair, which cannot be sent.
    """
    if not isinstance(value, str):
        _refuse(name, "a text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: {value!r} has half of a surrogate pair") from None
    return value


def texts(name: str, values: object, example: str) -> list[str]:
    """Return one text or several as a list.

    Raises:
        TypeError: They are none.
        ValueError: One has half of a surrogate pair, which cannot be sent.
    """
    if isinstance(values, str):
        return [text(name, values)]
    wanted = f"a text such as {example!r}, or several"
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        _refuse(name, wanted, values)
    items = list(values)
    for each in items:
        if not isinstance(each, str):
            _refuse(name, wanted, each)
    return [text(name, each) for each in items]


def number(name: str, value: object, wanted: str = "a number") -> float:
    """Return a number; a bool is none.

    Raises:
        TypeError: It is none.
    """
    value = plain(value)
    is_alone = getattr(value, "ndim", 0) == 0 and not is_numpy_time(value)
    if isinstance(value, bool) or not (is_alone and isinstance(value, SupportsFloat)):
        _refuse(name, wanted, value)
    return float(value)


def whole_number(name: str, value: object) -> int:
    """Return a whole number; a bool is none.

    Raises:
        TypeError: It is none.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(name, "a whole number", value)
    return value


def switch(name: str, value: object) -> bool:
    """Return True or False.

    Raises:
        TypeError: It is neither.
    """
    value = plain(value)
    if not isinstance(value, int):
        _refuse(name, "True or False", value)
    return bool(value)


def day(name: str, value: object) -> str:
    """Return a day as YYYY-MM-DD, of a time its day; a text as it is.

    Raises:
        TypeError: It is no day.
        ValueError: It is a NaT.
    """
    if isinstance(value, str):
        return text(name, value)
    given = value
    if _is_one(value, "M"):
        value = value.astype("datetime64[D]").item()  # type: ignore[attr-defined] # numpy's
    is_nat = isinstance(value, datetime) and value != value  # noqa: PLR0124 - pandas' is not itself
    if value is None or is_nat:
        raise ValueError(f"{name}: {given} is no day")
    if isinstance(value, datetime):
        value = value.date()
    if not isinstance(value, date):
        _refuse(name, "a date or a text YYYY-MM-DD", value)
    return value.isoformat()


def span(name: str, value: object) -> timedelta:
    """Return a span of time, which may be given in seconds.

    Raises:
        TypeError: It is no span.
        ValueError: It is not finite, or longer than a timedelta can be.
    """
    interval = _interval(value)
    try:
        if not isinstance(interval, timedelta):
            return timedelta(seconds=_seconds(name, interval))
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: {value} is not a span of time that fits its field") from None
    return interval


def seconds(name: str, value: object) -> float:
    """Return a span of time in seconds; it may be infinite.

    Raises:
        TypeError: It is no span.
    """
    interval = _interval(value)
    if isinstance(interval, timedelta):
        return interval.total_seconds()
    return _seconds(name, interval)


def seconds_from_zero(name: str, value: object) -> float:
    """Return a span of time in seconds that is not negative; it may be infinite.

    Raises:
        TypeError: It is no span.
        ValueError: It is negative.
    """
    found = seconds(name, value)
    if not found >= 0:
        raise ValueError(f"{name} must be 0 or more, not {value}")
    return found


def _seconds(name: str, value: object) -> float:
    return number(name, value, "seconds or a timedelta")


def _interval(value: object) -> object:
    """Return numpy's time span, whatever its unit, as a timedelta."""
    if _is_one(value, "m"):
        return value.astype("timedelta64[us]").item()  # type: ignore[attr-defined] # numpy's
    return value


def _is_one(value: object, kind: str) -> bool:
    """Return whether a value is a single one of a numpy kind."""
    return _numpy_kind(value) == kind and getattr(value, "ndim", 0) == 0


def _numpy_kind(value: object) -> str:
    return str(getattr(getattr(value, "dtype", None), "kind", "-"))


def _refuse(name: str, wanted: str, value: object) -> NoReturn:
    is_simple = isinstance(value, _SHOWN_AS_THEY_ARE)
    shown = reprlib.repr(value) if is_simple else type(value).__name__
    raise TypeError(f"{name}: expected {wanted}, not {shown}")
