"""Say in which fields two configs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import date
from enum import Enum

from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    ParameterValues,
)
from stratsweep_server.texts import listed, quoted

_SHOWN_VALUES = 5


def differences(before: OptimizationConfig, after: OptimizationConfig) -> list[str]:
    """Return a sentence for each field that differs, such as `seed is 7 and was 0`."""
    plain = [
        f"{each.name} is {_text(new)} and was {_text(old)}"
        for each in fields(OptimizationConfig)
        if each.name != "parameters"
        and (new := getattr(after, each.name)) != (old := getattr(before, each.name))
    ]
    old_axes = {axis.name: axis.values for axis in before.axes}
    new_axes = {axis.name: axis.values for axis in after.axes}
    return [*plain, *_axis_differences(old_axes, new_axes)]


def _axis_differences(
    before: Mapping[str, ParameterValues | None], after: Mapping[str, ParameterValues | None]
) -> Iterator[str]:
    for name in {**before, **after}:
        if name not in after:
            yield f"parameter {quoted(name)} is missing"
        elif name not in before:
            yield f"parameter {quoted(name)} is new"
        elif before[name] != after[name]:
            old, new = _values_text(before[name]), _values_text(after[name])
            yield f"parameter {quoted(name)} is {new} and was {old}"
    if before.keys() == after.keys() and list(before) != list(after):
        yield f"the parameters are in the order {listed(after)} and were in {listed(before)}"


def _values_text(values: ParameterValues | None) -> str:
    if isinstance(values, IntegerRange):
        return f"{values.start} to {values.stop} by {values.step}"
    if isinstance(values, DoubleRange):
        spacing = f"by {values.step:g}" if values.step is not None else f"at {values.point_count}"
        return f"{values.start:g} to {values.stop:g} {spacing}"
    return _text(values)


def _text(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, date):
        return value.isoformat()
    if value is None:
        return "not given"
    if isinstance(value, Sequence):
        return listed([str(each) for each in value[: _SHOWN_VALUES + 1]], _SHOWN_VALUES) or "none"
    return str(value)
