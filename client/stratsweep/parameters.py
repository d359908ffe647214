"""What to try for a parameter: ranges, lists, and how a caller's values become one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from stratsweep._values import is_numpy_time, plain

ParameterValue: TypeAlias = int | float | str | bool

_INT64_MINIMUM, _INT64_MAXIMUM = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """Try whole numbers: start, start + step, … including stop where a step lands on it.

    Attributes:
        start: The first value.
        stop: The inclusive upper end, at least `start`.
        step: The distance between neighbours, positive.

    Raises:
        TypeError: A bound is not a whole number.
        ValueError: A bound does not fit into 64 bits.
    """

    start: int
    stop: int
    step: int = 1

    def __post_init__(self) -> None:
        for name in ("start", "stop", "step"):
            value = plain(getattr(self, name))
            if type(value) is not int:
                raise TypeError(f"IntegerRange: {name} must be a whole number, not {value!r}")
            _check_int64(value, f"IntegerRange: {name}")
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class DoubleRange:
    """Try numbers from start to stop, both included, without drift: 0.1 to 0.5 by 0.1 is five.

    Attributes:
        start: The first value, finite.
        stop: The inclusive upper end, finite, at least `start`.
        step: The distance between neighbours, positive; `stop` is a point only where a step lands
            on it. Either this or `point_count`.
        point_count: The number of evenly spaced points, both ends included, at least 2.

    Raises:
        TypeError: A bound is not a number.
        ValueError: Neither or both of `step` and `point_count` are given, or the count is negative.
    """

    start: float
    stop: float
    step: float | None = field(default=None, kw_only=True)
    point_count: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.step is None) == (self.point_count is None):
            raise ValueError("DoubleRange: give either step or point_count")
        for name in ("start", "stop", "step"):
            value = plain(getattr(self, name))
            if value is not None and type(value) not in (int, float):
                raise TypeError(f"DoubleRange: {name} must be a number, not {value!r}")
            object.__setattr__(self, name, None if value is None else float(value))
        count = plain(self.point_count)
        if count is not None and type(count) is not int:
            raise TypeError(f"DoubleRange: point_count must be a whole number, not {count!r}")
        if count is not None and not 0 <= count < 2**32:
            raise ValueError(f"DoubleRange: point_count must be at least 2, not {count}")
        object.__setattr__(self, "point_count", count)


class ArrayLike(Protocol):
    """Stand for a numpy array of one dimension, a pandas Series, or what else has `tolist()`."""

    def tolist(self) -> object:
        """Return the elements as plain Python values."""
        ...


ValueList: TypeAlias = tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | tuple[bool, ...]
GridValues: TypeAlias = IntegerRange | DoubleRange | ValueList
ParameterValues: TypeAlias = (
    IntegerRange | DoubleRange | range | Sequence[ParameterValue] | ArrayLike | ParameterValue
)


def grid_values(name: str, values: ParameterValues) -> GridValues:
    """Return what a caller gave for a parameter as a range, or as a list of one type.

    Args:
        name: The parameter's name, for messages.
        values: A range, a sequence, an array, or a single value. A `range` keeps exactly its
            values; numbers that are not all whole become floats; bools are not numbers.

    Raises:
        TypeError: The values are not of one usable type.
        ValueError: There are none, or one does not fit into 64 bits.
    """
    if isinstance(values, IntegerRange | DoubleRange):
        return values
    if isinstance(values, range) and values and values.step > 0:
        return IntegerRange(values.start, values[-1], values.step)
    return _value_list(name, [plain(value) for value in _elements(name, values)])


def _elements(name: str, values: object) -> Sequence[object]:
    if isinstance(values, int | float | str):
        return [values]
    if hasattr(values, "tolist") and not is_numpy_time(values):
        values = values.tolist()
        return values if isinstance(values, list) else [values]
    if isinstance(values, Sequence) and not isinstance(values, bytes | bytearray):
        return values
    raise TypeError(
        f"parameter {name!r}: expected a range, a list or an array of values, or one value, "
        f"not {type(values).__name__}"
    )


def _value_list(name: str, values: Sequence[Any]) -> ValueList:
    if not values:
        raise ValueError(f"parameter {name!r}: no values to try; name at least one")
    types = {type(value) for value in values}
    if types == {int}:
        for value in values:
            _check_int64(value, f"parameter {name!r}: value")
        return tuple(values)
    if types <= {int, float}:
        return tuple(float(value) for value in values)
    if types in ({str}, {bool}):
        return tuple(values)
    raise TypeError(
        f"parameter {name!r}: values must be all numbers, all texts or all bools, "
        f"not a mix of {', '.join(sorted(each.__name__ for each in types))}"
        if len(types) > 1
        else f"parameter {name!r}: values must be numbers, texts or bools, "
        f"not {types.pop().__name__}"
    )


def _check_int64(value: int, label: str) -> None:
    if not _INT64_MINIMUM <= value <= _INT64_MAXIMUM:
        raise ValueError(f"{label} {value} does not fit into 64 bits")
