"""Read the server program's options from flags, the environment and a TOML file, each named.

It imports nothing heavy: the program's start waits for it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

_HOST_AND_PORT = re.compile(r"(?:\[[^\s/\[\]]+\]|[^\s/:\[\]]+):([0-9]{1,5})")
_FILE = "stratsweep_server.options_file"


class ServerCommand(click.Command):
    """Say in the error of a bad value whether a flag, an environment variable or a file gave it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the flags, and what the environment and a file say beside them."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param is not None and error.param_hint is None:
                error.param_hint = _origin(ctx, error.param)
            raise


class ListenAddress(click.ParamType[str]):
    """Parse where to listen: host:port, or unix:PATH."""

    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check the form of the address; whether it is free turns out later.

        Raises:
            click.BadParameter: It has neither form, or the port is out of range.
        """
        address = str(value)
        match = _HOST_AND_PORT.fullmatch(address)
        is_port = match is not None and int(match[1]) < 65_536
        if not is_port and not (address.startswith("unix:") and len(address) > len("unix:")):
            self.fail(
                f"{address!r} is not an address; write host:port, such as 127.0.0.1:50051, "
                "or unix:PATH",
                param,
                ctx,
            )
        return address


class WholeNumber(click.IntRange):
    """Parse a whole number that has a least value."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Parse the number.

        Raises:
            click.BadParameter: It is none, or below the least.
        """
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{str(value)!r} is not a whole number from {self.min} on", param, ctx)


class SecondsRange(click.FloatRange):
    """Parse a number of seconds within bounds."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Parse the number.

        Raises:
            click.BadParameter: It is none, or out of bounds.
        """
        try:
            seconds = float(super().convert(value, param, ctx))
        except click.BadParameter:
            seconds = math.nan
        if math.isnan(seconds):
            bound = "above" if self.min_open else "from"
            self.fail(f"{str(value)!r} is not a number of seconds {bound} {self.min}", param, ctx)
        return seconds


def read_options_file(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> None:
    """Make a TOML file's keys the defaults of the options of the same name.

    Raises:
        click.BadParameter: It is not TOML, or a key or its value is not for an option.
    """
    if path is None:
        return
    import tomllib  # noqa: PLC0415 - most servers have no such file

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}") from error
    options = {
        each.name: each
        for each in context.command.params
        if each.name and each is not parameter and isinstance(each, click.Option)
    }
    context.meta[_FILE] = path
    context.default_map = _defaults(path, values, options)


def bad_value(name: str, reason: str) -> click.BadParameter:
    """Return the error for the value of an option that turned out bad after all were read."""
    context = click.get_current_context()
    parameter = next(each for each in context.command.params if each.name == name)
    return click.BadParameter(reason, context, parameter, _origin(context, parameter))


def _defaults(
    path: Path, values: Mapping[str, Any], options: Mapping[str, click.Option]
) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in options:
            raise click.BadParameter(_unknown(path, key, value, options))
        if name in defaults:
            raise click.BadParameter(f"{path} has {_key(name)!r} twice; keep one of them")
        defaults[name] = _checked(path, key, value, options[name])
    return defaults


def _unknown(path: Path, key: str, value: object, options: Mapping[str, click.Option]) -> str:
    if isinstance(value, dict):
        return f"{path} has a table, [{key}]; write the options without one, such as `workers = 4`"
    keys = [_key(name) for name in options]
    near = difflib.get_close_matches(_key(key), keys, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(keys)}"
    return f"{path} has the key {key!r}, which is no option; {hint}"


def _checked(path: Path, key: str, value: object, option: click.Option) -> object:
    """Return a value as click takes it; refuse one that click would turn into something else."""
    if option.multiple and isinstance(value, str):
        return [value]
    items = value if option.multiple and isinstance(value, list) else [value]
    wanted, types = _wanted(option)
    for item in items:
        if type(item) not in types:
            raise click.BadParameter(
                f"{_as_toml(item)} is not {wanted}", param=option, param_hint=f"{key} in {path}"
            )
    return value


def _wanted(option: click.Option) -> tuple[str, tuple[type, ...]]:
    """Return what a TOML file has to say for an option, in words and types."""
    if option.is_flag:
        return "true or false", (bool,)
    if isinstance(option.type, click.types.IntParamType):
        return "a whole number", (int,)
    if isinstance(option.type, click.types.FloatParamType):
        return "a number", (int, float)
    return 'a text in quotes, such as "text"', (str,)


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float | str) else f"a {type(value).__name__}"


def _origin(context: click.Context, parameter: click.Parameter) -> str | None:
    """Return what gave a value, for a message; None: a flag, which click names itself."""
    name = parameter.name or ""
    source = context.get_parameter_source(name)
    if source is ParameterSource.ENVIRONMENT:
        variable = f"{context.auto_envvar_prefix}_{name.upper()}"
        return f"{parameter.opts[0]}, from the environment variable {variable}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"{_key(name)} in {context.meta[_FILE]}"
    return None


def _key(name: str) -> str:
    return name.replace("_", "-")
