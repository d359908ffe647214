"""The text of `--param`: `name=start:stop:step` or `name=a,b,c`."""

from __future__ import annotations

import re

import click

from stratsweep.cli.parameter_hints import advise, is_no_list
from stratsweep.parameters import DoubleRange, GridValues, IntegerRange, ValueList

_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_BOOLS = {"true": True, "false": False}


class ParameterType(click.ParamType[tuple[str, GridValues]]):
    """Converts the text of one `--param` to its name and values."""

    name = "parameter"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, GridValues]:
        """Parse the text.

        Raises:
            click.BadParameter: It is neither a range nor a list.
        """
        name, equals, text = (part.strip() for part in str(value).partition("="))
        if not name or not equals:
            self.fail(f"{value!r}: {_without_equals(str(value))}", param, ctx)
        try:
            return name, parse_values(text)
        except ValueError as error:
            self.fail(f"{value!r}: {error}; {advise(name, text)}", param, ctx)


def _without_equals(text: str) -> str:
    match = re.fullmatch(r"\s*([^\W\d]\w*)[\s:]+(.+)", text)
    return advise(match[1], match[2]) if match else advise("name", "")


def parse_values(text: str) -> GridValues:
    """Parse what stands behind the `=`.

    Whole numbers give integers, other numbers doubles, `true` and `false` bools, all else texts; a
    list or a range with a single number that is not whole is one of doubles.

    Raises:
        ValueError: It is neither a range nor a list.
    """
    if is_no_list(text):
        raise ValueError("values have no brackets, and numbers no commas")
    if ":" in text and "," not in text:
        return _parse_range(text)
    return _parse_list(text)


def _parse_range(text: str) -> GridValues:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3 or not _all_match(_NUMBER, parts):
        raise ValueError("a range is start:stop:step, both ends included")
    if _all_match(_INTEGER, parts):
        start, stop, step = map(int, parts)
        return IntegerRange(start, stop, step)
    first, last, distance = map(float, parts)
    return DoubleRange(first, last, step=distance)


def _parse_list(text: str) -> ValueList:
    items = [item.strip() for item in text.split(",")]
    if "" in items:
        raise ValueError("a value is missing")
    if _all_match(_INTEGER, items):
        return tuple(map(int, items))
    if _all_match(_NUMBER, items):
        return tuple(map(float, items))
    if all(item.lower() in _BOOLS for item in items):
        return tuple(_BOOLS[item.lower()] for item in items)
    return tuple(items)


def _all_match(pattern: re.Pattern[str], texts: list[str]) -> bool:
    return all(map(pattern.fullmatch, texts))
