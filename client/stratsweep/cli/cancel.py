"""`stratsweep cancel` and `stratsweep delete`: stop optimizations, and forget them."""

from __future__ import annotations

import click

from stratsweep.cli.connection import ServerChoice, store_options
from stratsweep.cli.kept import described, find_optimization, where_it_runs
from stratsweep.cli.option_types import OptimizationIdType

_IDS = click.argument(
    "optimization_ids", metavar="ID…", nargs=-1, required=True, type=OptimizationIdType()
)


@click.command(short_help="Stop one that runs; what has completed is kept.")
@_IDS
@click.option("--reason", metavar="TEXT", default="", help="Why, for people; it is kept.")
@store_options
def cancel(*, optimization_ids: tuple[str, ...], reason: str, choice: ServerChoice) -> None:
    """Stop optimizations. What has completed is ranked, and whoever follows gets the ranking.

    ID is an id or a beginning of it that no other has. One that has ended stays as it is.
    """
    with choice.connect() as client:
        for beginning in optimization_ids:
            stand = find_optimization(client, beginning)
            name = stand.optimization_id
            if stand.state.is_ended:
                click.echo(f"{name} has ended already: {stand.state.lower()}", err=True)
                continue
            stand = where_it_runs(
                client,
                lambda holder, name=name: holder.cancel_optimization(name, reason=reason),  # type: ignore[misc]
            )
            click.echo(f"cancelled {name}: {described(stand)}")
            click.echo(f"what has completed: {choice.command('show', name)}", err=True)


@click.command(short_help="Forget one that does not run.")
@_IDS
@store_options
def delete(*, optimization_ids: tuple[str, ...], choice: ServerChoice) -> None:
    """Delete all that is kept of optimizations that do not run. It cannot be undone.

    ID is an id or a beginning of it that no other has.
    """
    with choice.connect() as client:
        for beginning in optimization_ids:
            stand = find_optimization(client, beginning)
            client.delete_optimization(stand.optimization_id)
            click.echo(f"deleted {stand.optimization_id}: {described(stand)}")
