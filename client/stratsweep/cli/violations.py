"""Violations of a config in words of the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stratsweep.errors import Violation

_OPTIONS = {
    "strategy": "STRATEGY",
    "symbols": "--symbol",
    "parameters": "--param",
    "constraints": "--where",
    "optimization_target": "--target",
    "direction": "--minimize",
    "date_range": "--from/--to",
    "date_range.start_date": "--from",
    "date_range.end_date": "--to",
    "backtest_timeout": "--timeout",
    "starting_cash": "--cash",
    "commission": "--commission",
    "slippage": "--slippage",
    "max_ranked_results": "--top",
    "warm_up_bar_count": "--warm-up",
    "seed": "--seed",
}
_ELEMENT = re.compile(r"(\w+)\[(\d+)\]\.?(.*)")
_RANGE_FIELDS = ("start", "stop", "step")


def in_command_line_words(
    violations: Sequence[Violation], elements: Mapping[str, Sequence[str]]
) -> tuple[Violation, ...]:
    """Replace the paths of fields by the options that set them.

    Args:
        violations: What the server refused.
        elements: What was given, in order, for each repeated field: `symbols`, `parameters` (their
            names) and `constraints`.
    """
    return tuple(Violation(*_translate(each, elements)) for each in violations)


def _translate(violation: Violation, elements: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    path = violation.field.removeprefix("config.")
    match = _ELEMENT.fullmatch(path)
    if match is None:
        return _OPTIONS.get(path, violation.field), violation.description
    field, index, rest = match[1], int(match[2]), match[3]
    given = elements.get(field, ())
    if index >= len(given):
        return violation.field, violation.description
    leaf = rest.rpartition(".")[2]
    prefix = f"{leaf} " if leaf in _RANGE_FIELDS else ""
    return f"{_OPTIONS[field]} {_quoted(given[index])}", prefix + violation.description


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"\S+", text) else f'"{text}"'
