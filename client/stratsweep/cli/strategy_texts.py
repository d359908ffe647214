"""One strategy in words: which one a name means, what its parameters are."""

from __future__ import annotations

import difflib

import click

from stratsweep._formatting import format_value
from stratsweep.strategies import Strategy, StrategyList, StrategyParameter


def find_strategy(catalogue: StrategyList, name: str) -> Strategy:
    """Return the strategy of a name.

    Raises:
        click.BadParameter: There is none; the message names the nearest.
    """
    strategies = {each.name: each for each in catalogue.strategies}
    if name in strategies:
        return strategies[name]
    if catalogue.accepts_any_strategy:
        raise click.BadParameter(
            "the engine does not say which strategies it has", param_hint="NAME"
        )
    near = difflib.get_close_matches(name, strategies, n=3)
    hint = f"the nearest: {', '.join(near)}" if near else f"there are {', '.join(strategies)}"
    raise click.BadParameter(f"there is no strategy {name!r}; {hint}", param_hint="NAME")


def default_text(parameter: StrategyParameter) -> str:
    """Return the default as one would type it, or "required"."""
    return "required" if parameter.default is None else format_value(parameter.default)


def bounds_text(parameter: StrategyParameter) -> str:
    """Return what the values may be: `1 to 10`, `1 or more`, `a, b`; empty for all of the type."""
    if parameter.choices:
        return ", ".join(parameter.choices)
    low, high = (
        "" if bound is None else f"{bound:.12g}" for bound in (parameter.minimum, parameter.maximum)
    )
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if low else f"up to {high}" if high else ""


def parameter_facts(parameter: StrategyParameter) -> str:
    """Return all about a parameter but its name, in one line."""
    bounds = bounds_text(parameter)
    values = f"{parameter.type.lower()}: {bounds}" if bounds else parameter.type.lower()
    default = default_text(parameter)
    facts = f"[{values}; {default if parameter.default is None else f'default {default}'}]"
    return f"{parameter.description}  {facts}".strip()
