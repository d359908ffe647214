"""`stratsweep strategies`: what can be run."""

from __future__ import annotations

import click

from stratsweep.cli.connection import ServerChoice, server_options
from stratsweep.cli.documents import catalogue_json


@click.command(short_help="List strategies, metrics and symbols.")
@server_options
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def strategies(choice: ServerChoice, output_format: str) -> None:
    """List the strategies with their parameters, the metrics, and the symbols with their dates.

    Of modules of your own it says which file was loaded, when, and whether it has changed since.
    """
    with choice.connect() as client:
        catalogue = client.list_strategies()
    if output_format == "json":
        click.echo(catalogue_json(catalogue))
        return
    from stratsweep.cli.tables import catalogue_tables  # noqa: PLC0415 - rich is slow to import

    click.echo(catalogue_tables(catalogue), nl=False)
