"""What to write instead, beside what click says of a command line that it cannot take."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import click

_SIMILAR = 0.7
_MISSING = {
    "symbols": "Name what to trade, such as --symbol SPY; `stratsweep strategies` lists all.",
    "optimization_id": "Name one by its id, or the beginning of it; `stratsweep list` lists all.",
    "optimization_ids": "Name some by their ids, or beginnings; `stratsweep list` lists all.",
    "strategy": "Name what to optimize, such as sma_cross; `stratsweep strategies` lists all.",
}
_EXTRA_ARGUMENTS = re.compile(r"unexpected extra arguments? \((.*)\)")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}([,'_ ]\d{3})+(\.\d+)?")
_AMOUNT = re.compile(r"([-+]?[\d.]+)\s*(k|m|%)", re.IGNORECASE)
_FACTORS = {"k": 1e3, "m": 1e6, "%": 0.01}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def explained(error: click.UsageError) -> click.UsageError:
    """Return a usage error that says what to do, where that can be told."""
    match error:
        case click.NoSuchOption():
            return _explained_option(error)
        case click.MissingParameter(param=param, ctx=ctx) if param is not None:
            return click.MissingParameter(_MISSING.get(param.name or ""), ctx, param)
        case click.BadParameter(message=text, param=param) if param is not None:
            message = _explained_value(text, param)
            return click.BadParameter(message, error.ctx, param, error.param_hint)
    extra = _EXTRA_ARGUMENTS.search(error.message)
    if extra is None or not _is_of_optimize(error):
        return error
    return click.UsageError(f"{error.message}; {_option_for(extra[1])}", error.ctx)


def plain_number(text: str) -> str | None:
    """Return an amount as a plain number, if it is one that people write: `10k`, `0.1%`, `1,5`."""
    text = text.strip().strip("$€£").strip()
    if _THOUSANDS.fullmatch(text):
        return re.sub(r"[,'_ ]", "", text)
    if match := _AMOUNT.fullmatch(text):
        return _as_number(match[1], _FACTORS[match[2].lower()])
    return _as_number(text.replace(",", ".", 1), 1.0)


def _explained_option(error: click.NoSuchOption) -> click.UsageError:
    """`--fast 5` is meant as a parameter of the strategy where no option is named like it."""
    name = error.option_name.lstrip("-")
    options = {each.lstrip("-"): each for each in error.possibilities or ()}
    near = [options[each] for each in difflib.get_close_matches(name, options, cutoff=_SIMILAR)]
    if near or not name.isidentifier() or not _is_of_optimize(error):
        return click.NoSuchOption(error.option_name, possibilities=near, ctx=error.ctx)
    return click.UsageError(
        f"No such option '{error.option_name}'; a parameter of the strategy is given as "
        f"--param {name}=VALUES",
        error.ctx,
    )


def _option_for(arguments: str) -> str:
    first, *_ = arguments.split()
    if "=" in first:
        return f"write --param {first}"
    return "symbols are given with --symbol, parameters with --param NAME=VALUES"


def _explained_value(message: str, parameter: click.Parameter) -> str:
    value = message.partition(" is not ")[0].strip("'\"")
    advice = None
    if isinstance(parameter.type, click.IntRange):
        least, most = parameter.type.min, parameter.type.max
        bounds = f"from {least} on" if most is None or most >= 2**32 - 1 else f"{least} to {most}"
        return f"{value!r} is not a whole number {bounds}"
    if isinstance(parameter.type, click.types.FloatParamType):
        number = plain_number(value)
        fraction = "the fraction, " if value.endswith("%") else ""
        message = f"{value!r} is not a number"
        advice = None if number is None else f"write {fraction}{number}"
    elif parameter.type.name == "seconds" and (match := _SPAN.fullmatch(value)):
        advice = f"write {float(match[1]) * _SECONDS[match[2].lower()]:g}"
    elif parameter.type.name == "date" and re.fullmatch(r"\d{4}", value):
        advice = (
            f"such as {value}-12-31" if parameter.name == "end_date" else f"such as {value}-01-01"
        )
    elif parameter.name == "data":
        advice = _folder_of(message)
    return message if advice is None else f"{message.rstrip('.')}; {advice}"


def _folder_of(message: str) -> str | None:
    """What to write where a price file was given instead of its folder."""
    match = re.search(r"'(.*)' is a file", message)
    if match is None:
        return None
    path = Path(match[1])
    return f"give its folder: --data {path.parent} --symbol {path.name.partition('.')[0]}"


def _as_number(text: str, factor: float) -> str | None:
    try:
        return f"{float(text) * factor:.12g}"
    except ValueError:
        return None


def _is_of_optimize(error: click.UsageError) -> bool:
    return error.ctx is not None and error.ctx.command.name == "optimize"
