"""`stratsweep watch`: follow an optimization that runs, without having a part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stratsweep.cli.connection import ServerChoice, print_above, store_options
from stratsweep.cli.exit_codes import ExitCode
from stratsweep.cli.following import PROGRESS_INTERVAL
from stratsweep.cli.kept import find_optimization, where_it_runs
from stratsweep.cli.option_types import OptimizationIdType
from stratsweep.cli.output_shape import OutputShape, output_options
from stratsweep.cli.result_report import EXIT_CODES, give_result
from stratsweep.errors import StreamInterruptedError
from stratsweep.events import OptimizationResult

if TYPE_CHECKING:  # gRPC is slow to import: a private server gets ready meanwhile
    from stratsweep.client import Client


@click.command(short_help="Follow one that runs.")
@click.argument("optimization_id", metavar="ID", type=OptimizationIdType())
@output_options
@store_options
@click.pass_context
def watch(
    context: click.Context,
    /,
    optimization_id: str,
    *,
    choice: ServerChoice,
    shape: OutputShape,
) -> None:
    """Follow an optimization as `optimize` does: its progress, then its ranking.

    ID is its id or a beginning of it that no other has. Ctrl-C leaves it, and stops nothing. One
    that has ended is shown at once.
    """
    with choice.connect(print_above) as client:
        stand = find_optimization(client, optimization_id)
        try:
            result = where_it_runs(
                client, lambda holder: _watched(holder, stand.optimization_id, shape, choice)
            )
        except StreamInterruptedError as error:
            if error.reason == "OPTIMIZATION_INTERRUPTED":
                error.add_note(f"go on with it: {choice.command('resume', stand.optimization_id)}")
            raise
    is_written = give_result(result, shape)
    context.exit(EXIT_CODES[result.state] if is_written else ExitCode.FAILURE)


def _watched(
    client: Client, optimization_id: str, shape: OutputShape, choice: ServerChoice
) -> OptimizationResult:
    from stratsweep.cli.kept_results import with_rows  # noqa: PLC0415 - slow to import
    from stratsweep.cli.progress import follow, progress_display  # noqa: PLC0415 - rich is slow

    result = follow(
        client.watch_optimization(optimization_id, progress_interval=PROGRESS_INTERVAL),
        progress_display(quiet=shape.quiet),
        on_start=shape.check_columns,
        stops=False,
        hint=f"it goes on; follow it again: {choice.command('watch', optimization_id)}",
    )
    return with_rows(client, result, shape)
