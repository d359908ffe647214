"""`stratsweep list`: the optimizations that are kept."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import click

from stratsweep.cli.connection import ServerChoice, store_options
from stratsweep.cli.option_types import DayType, LabelType
from stratsweep.events import OptimizationState

_TABLE_ROWS = 20
_UINT32_MAXIMUM = 2**32 - 1
_STATES = [each.lower() for each in OptimizationState if each is not OptimizationState.UNSPECIFIED]

_EXAMPLE = """\b
Example:
  stratsweep list --strategy sma_cross --symbol SPY --status succeeded --since 2024-06-01
"""


@click.command("list", short_help="List the optimizations that are kept.", epilog=_EXAMPLE)
@click.option(
    "--status",
    "states",
    type=click.Choice(_STATES, case_sensitive=False),
    multiple=True,
    help="Only those in this state. Repeatable: in any of these.",
)
@click.option("--strategy", metavar="NAME", help="Only those of this strategy.")
@click.option("--symbol", metavar="NAME", help="Only those that have this symbol.")
@click.option(
    "--label",
    "labels",
    type=LabelType(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Only those with this label. Repeatable: with all of them.",
)
@click.option(
    "--since", type=DayType(), metavar="DATE", help="Only those begun on this day or later."
)
@click.option(
    "--until", type=DayType(), metavar="DATE", help="Only those begun on this day or earlier."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=_UINT32_MAXIMUM),
    metavar="N",
    help="Only the newest N. Default: 20 in the table, else all.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    help="What to print on standard output.",
)
@store_options
def list_optimizations(
    *,
    choice: ServerChoice,
    states: tuple[str, ...],
    strategy: str | None,
    symbol: str | None,
    labels: tuple[tuple[str, str], ...],
    since: date | None,
    until: date | None,
    limit: int | None,
    output_format: str,
) -> None:
    """List the optimizations that are kept, newest first, with their ids and how far they are.

    Days are of this machine's time zone.
    """
    is_table = output_format == "table"
    shown_count = limit or (_TABLE_ROWS if is_table else None)
    with choice.connect() as client:
        found = list(
            client.list_optimizations(
                limit=None if shown_count is None else shown_count + 1,
                states=[each.upper() for each in states],
                strategy=strategy,
                symbol=symbol,
                labels=dict(labels),
                created_after=None if since is None else _midnight(since),
                created_before=None if until is None else _midnight(until + timedelta(days=1)),
            )
        )
    shown = found[:shown_count]
    if not is_table:
        from stratsweep.cli.documents import optimizations_json  # noqa: PLC0415 - as below

        click.echo(optimizations_json(shown))
        return
    if not shown:
        is_any = not (states or strategy or symbol or labels or since or until)
        click.echo("no optimization is kept" + ("" if is_any else " that fits"), err=True)
        return
    from stratsweep.cli.optimization_table import (  # noqa: PLC0415 - rich is slow to import
        optimization_table,
    )

    click.echo(optimization_table(shown, has_more=len(found) > len(shown)), nl=False)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time()).astimezone()
