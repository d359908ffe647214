"""The values of options that click has no type for: days, spans, labels, names, addresses, ids."""

from __future__ import annotations

import math
import re
from datetime import date

import click

# The longest span that the contract can carry: 10,000 years.
_MAX_SECONDS = 315_576_000_000
_OPTIMIZATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST_AND_PORT = re.compile(r"[^/]+:(\d{1,5})")


class DayType(click.ParamType[date]):
    """A day, YYYY-MM-DD."""

    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """Parse the text.

        Raises:
            click.BadParameter: It is no day of the calendar in that form.
        """
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a day; write it as YYYY-MM-DD", param, ctx)


class SecondsType(click.ParamType[float]):
    """A span in seconds.

    Args:
        minimum: The shortest.
    """

    name = "seconds"

    def __init__(self, minimum: float = -_MAX_SECONDS) -> None:
        self._minimum = minimum

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text.

        Raises:
            click.BadParameter: It is no number, or not one of a usable span.
        """
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = math.nan
        if not self._minimum <= seconds <= _MAX_SECONDS:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


class LabelType(click.ParamType[tuple[str, str]]):
    """A label, KEY=VALUE."""

    name = "label"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split the text at its first `=`.

        Raises:
            click.BadParameter: There is none, or nothing before it.
        """
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not a label; write KEY=VALUE, such as desk=rates", param, ctx)
        return key, text


class NamesType(click.ParamType[tuple[str, ...]]):
    """Names with commas between."""

    name = "names"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split the text.

        Raises:
            click.BadParameter: A name is missing.
        """
        if isinstance(value, tuple):  # the default
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if "" in names:
            self.fail(f"{value!r}: a name is missing; write a,b,c", param, ctx)
        return tuple(dict.fromkeys(names))


class AddressType(click.ParamType[str]):
    """Where a server listens: host:port, or unix:PATH."""

    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check the form; whether anyone is there turns out later.

        Raises:
            click.BadParameter: It has neither form, or the port is out of range.
        """
        address = str(value)
        match = _HOST_AND_PORT.fullmatch(address)
        if not address.startswith("unix:") and not (match and 0 < int(match[1]) < 65_536):
            self.fail(
                f"{address!r} is not an address; write host:port, such as 127.0.0.1:50051, "
                "or unix:PATH",
                param,
                ctx,
            )
        return address


class OptimizationIdType(click.ParamType[str]):
    """The id of an optimization, or its beginning."""

    name = "id"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check the form; whether there is one of that id turns out later.

        Raises:
            click.BadParameter: It cannot be an id.
        """
        if not _OPTIMIZATION_ID.fullmatch(str(value)):
            self.fail(
                f"{value!r} is not an id; it has 1 to 64 letters, digits, '-', '_' and '.', the "
                "first a letter or digit",
                param,
                ctx,
            )
        return str(value)
