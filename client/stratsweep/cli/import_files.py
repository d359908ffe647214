"""`stratsweep import`: become the program that makes one clean price file of several."""

from __future__ import annotations

import os

import click

from stratsweep.server_process import importing_command


@click.command(
    "import",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Join and clean price files.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def import_files(arguments: tuple[str, ...]) -> None:
    """Join and clean price files; the options are the program's: `stratsweep import --help`."""
    command = importing_command(arguments)
    os.execv(command[0], command)  # noqa: S606 - our own program, no shell
