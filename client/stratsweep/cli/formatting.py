"""Spans, amounts and lines as people read them on the command line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import timedelta

from stratsweep._formatting import format_figure
from stratsweep.strategies import MetricUnit

_SEPARATOR = " · "
_MAX_NAMES = 5


def format_span(span: timedelta) -> str:
    """Return a span: `0.42 s` when short, `1:02:03` otherwise."""
    seconds = span.total_seconds()
    return f"{seconds:.2g} s" if seconds < 1 else str(timedelta(seconds=round(seconds)))


def format_amount(value: float) -> str:
    """Return an amount of money; without decimals where it is whole."""
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return format_figure(value, MetricUnit.CURRENCY)


def counted(count: int, thing: str) -> str:
    """Return `1 worker`, `2 workers`."""
    return f"{count:,} {thing}{'s' if count != 1 else ''}"


def listed(names: Sequence[str]) -> str:
    """Return the first few of some names, and how many more there are."""
    more = len(names) - _MAX_NAMES
    shown = ", ".join(names[:_MAX_NAMES])
    return f"{shown} and {more:,} more" if more > 0 else shown


def wrapped(text: str, width: int | None) -> str:
    """Break a text between words into lines of at most that width."""
    if width is None:
        return text
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def in_lines(parts: Iterable[str], width: int | None) -> str:
    """Join parts with dots between, in lines of at most that width where each part fits one."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{_SEPARATOR}{part}" if lines else ""
        if lines and (width is None or len(longer) <= width):
            lines[-1] = longer
        else:
            lines.append(part)
    return "\n".join(lines)
