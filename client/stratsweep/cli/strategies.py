"""`stratsweep strategies`: what can be run."""

from __future__ import annotations

import click

from stratsweep.cli.connection import ServerChoice, server_options
from stratsweep.cli.documents import catalogue_json, strategy_json


@click.command(short_help="List strategies, metrics and symbols; or show one strategy.")
@click.argument("name", required=False)
@server_options
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def strategies(name: str | None, choice: ServerChoice, output_format: str) -> None:
    """List the strategies with their parameters, the metrics, and the symbols with their dates.

    For modules of your own, say which file was loaded, when, and whether it has changed since.

    With a NAME, show that strategy alone, and a command that optimizes it.
    """
    from stratsweep.cli.strategy_texts import find_strategy  # noqa: PLC0415 - others need it not

    with choice.connect() as client:
        catalogue = client.list_strategies()
    if output_format == "json":
        click.echo(
            strategy_json(find_strategy(catalogue, name)) if name else catalogue_json(catalogue)
        )
        return
    from stratsweep.cli.tables import (  # noqa: PLC0415 - rich is slow to import
        catalogue_tables,
        strategy_page,
    )

    if name:
        from stratsweep.cli.example_command import example_command  # noqa: PLC0415 - as above

        strategy = find_strategy(catalogue, name)
        command = example_command(catalogue, strategy, choice.options())
        click.echo(strategy_page(catalogue, strategy, command), nl=False)
    else:
        click.echo(catalogue_tables(catalogue), nl=False)
