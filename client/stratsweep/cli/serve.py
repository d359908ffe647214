"""`stratsweep serve`: become the server program."""

from __future__ import annotations

import os

import click

from stratsweep.server_process import server_command


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Run a server.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Run a server; the options are the server's own: `stratsweep serve --help`."""
    command = server_command(arguments)
    # Replacing this process hands signals, standard streams and the exit code to the server.
    os.execv(command[0], command)  # noqa: S606 - our own program, no shell
