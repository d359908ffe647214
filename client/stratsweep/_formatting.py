"""Parameter values and metrics as people write them: one format for all figures of a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stratsweep.parameters import ParameterValue
from stratsweep.strategies import MetricUnit

_DECIMALS = {
    MetricUnit.FRACTION: 2,  # of percents
    MetricUnit.CURRENCY: 2,
    MetricUnit.COUNT: 2,
    MetricUnit.DAYS: 1,
    MetricUnit.RATIO: 4,
    MetricUnit.UNSPECIFIED: 4,
}
_WITHOUT_DECIMALS = (MetricUnit.COUNT, MetricUnit.DAYS, MetricUnit.UNSPECIFIED)
_MAX_DECIMALS = 12
_TOO_LARGE = 1e15
ABSENT = "-"


def format_value(value: ParameterValue) -> str:
    """Return a parameter's value as one would type it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def format_parameters(parameters: Mapping[str, ParameterValue]) -> str:
    """Return `fast=10, slow=80`."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in parameters.items())


def format_figures(values: Sequence[float | None], unit: MetricUnit) -> list[str]:
    """Return a metric's values with the same number of decimals each; "-" for None.

    Fractions are percents, thousands have separators. There are as many decimals as the unit
    usually has; more where the largest would have less than three digits, fewer beyond a thousand.
    """
    scale, suffix = (100, "%") if unit is MetricUnit.FRACTION else (1, "")
    numbers = [None if value is None else scale * value for value in values]
    decimals = _decimals([number for number in numbers if number is not None], unit)
    return [ABSENT if number is None else _fixed(number, decimals) + suffix for number in numbers]


def format_figure(value: float, unit: MetricUnit) -> str:
    """Return a single value of a metric."""
    return format_figures([value], unit)[0]


def _decimals(numbers: Sequence[float], unit: MetricUnit) -> int | None:
    """Return how many decimals numbers need; None where only an exponent shows them."""
    largest = max(map(abs, numbers), default=0.0)
    if largest >= _TOO_LARGE:
        return None
    if unit in _WITHOUT_DECIMALS and all(float(number).is_integer() for number in numbers):
        return 0
    usual = _DECIMALS[unit]
    if largest >= 1000:
        return min(usual, 2)
    needed = usual if largest == 0 else max(usual, 2 - math.floor(math.log10(largest)))
    return needed if needed <= _MAX_DECIMALS else None


def _fixed(number: float, decimals: int | None) -> str:
    if decimals is None:
        return f"{number:.4g}"
    return f"{round(number, decimals) + 0.0:,.{decimals}f}"  # + 0.0: -0.0 becomes 0.0
