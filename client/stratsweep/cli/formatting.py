"""Numbers, values and spans as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from stratsweep.parameters import ParameterValue


def format_number(value: float) -> str:
    """Return a metric: whole numbers without decimals, others with about four digits."""
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.2f}"
    return f"{value:.4f}" if abs(value) >= 0.001 else f"{value:.3g}"


def format_value(value: ParameterValue) -> str:
    """Return a parameter's value as one would type it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def format_parameters(parameters: Mapping[str, ParameterValue]) -> str:
    """Return `fast=10, slow=80`."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in parameters.items())


def format_span(span: timedelta) -> str:
    """Return a span: `0.42 s` when short, `1:02:03` otherwise."""
    seconds = span.total_seconds()
    return f"{seconds:.2g} s" if seconds < 1 else str(timedelta(seconds=round(seconds)))
