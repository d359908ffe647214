"""`optimize STRATEGY --help`: the command's help, and the parameters of that strategy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import click

from stratsweep.cli.connection import ServerChoice
from stratsweep.errors import StratsweepError
from stratsweep.strategies import Strategy

_ARGUMENTS = f"{__name__}.arguments"


class StrategyHelpCommand(click.Command):
    """A command with an argument `strategy` and the options that choose a server.

    When its help is asked for and a strategy is given, a server is asked for the parameters, or a
    private one started. Otherwise none is.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`: it is in the middle of it that help is shown."""
        ctx.meta[_ARGUMENTS] = [*args]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the parameters of the strategy that is given, then the epilog."""
        # Without complaints, and all of it: options may stand behind --help.
        given = self.make_context(
            ctx.info_name, ctx.meta.get(_ARGUMENTS, []), ctx.parent, resilient_parsing=True
        )
        if name := given.params.get("strategy"):
            try:
                strategy = _load(name, _choice(given.params))
            except (StratsweepError, OSError, click.ClickException) as error:
                reason = getattr(error, "message", "") or error
                click.echo(f"note: the parameters of {name} cannot be shown: {reason}", err=True)
            else:
                _write_parameters(formatter, strategy)
        super().format_epilog(ctx, formatter)


def _choice(values: Mapping[str, Any]) -> ServerChoice:
    chosen: dict[str, Any] = {each.name: values.get(each.name) for each in fields(ServerChoice)}
    return ServerChoice(**chosen | {"strategies": chosen["strategies"] or ()})


def _load(name: str, choice: ServerChoice) -> Strategy:
    from stratsweep.cli.strategy_texts import find_strategy  # noqa: PLC0415 - only help needs it

    choice.check()
    with tempfile.TemporaryDirectory() as empty:  # price files would only take time
        if choice.server is None:
            choice = replace(choice, data=empty, workers=1)
        with choice.connect() as client:
            return find_strategy(client.list_strategies(), name)


def _write_parameters(formatter: click.HelpFormatter, strategy: Strategy) -> None:
    from stratsweep.cli.strategy_texts import parameter_facts  # noqa: PLC0415 - as above

    with formatter.section(f"Parameters of {strategy.name}"):
        if strategy.parameters:
            formatter.write_dl([(each.name, parameter_facts(each)) for each in strategy.parameters])
        else:
            formatter.write_text("none")
