"""`stratsweep resume`: run what is missing of an optimization that did not complete."""

from __future__ import annotations

import click

from stratsweep.cli.connection import ServerChoice, print_above, server_options
from stratsweep.cli.exit_codes import ExitCode
from stratsweep.cli.following import PROGRESS_INTERVAL, kept_note, run_to_end
from stratsweep.cli.kept import find_optimization
from stratsweep.cli.option_types import OptimizationIdType
from stratsweep.cli.output_shape import OutputShape, output_options
from stratsweep.cli.result_report import EXIT_CODES, give_result
from stratsweep.config import RunOptions
from stratsweep.events import OptimizationState
from stratsweep.optimizations import Optimization

_TAKES_OVER = {OptimizationState.CANCELLED, OptimizationState.FAILED}


@click.command(short_help="Run what is missing of one that did not complete.")
@click.argument("optimization_id", metavar="ID", type=OptimizationIdType())
@output_options
@server_options
@click.pass_context
def resume(
    context: click.Context,
    /,
    optimization_id: str,
    *,
    choice: ServerChoice,
    shape: OutputShape,
) -> None:
    """Run what is missing of an optimization, and rank all of it; what has completed is not run.

    ID is its id or a beginning of it that no other has. One that was cancelled, or failed, stays as
    it is: a new one takes its outcomes over. One that was interrupted goes on under its id. Bars,
    code and versions must be those of before; the private server needs the same --data,
    --strategies and --engine.
    """
    note = ""
    with choice.connect(None if shape.quiet else print_above) as client:
        from stratsweep.cli.kept_results import with_rows  # noqa: PLC0415 - slow to import

        stand = find_optimization(client, optimization_id)
        _check(stand, choice)
        run = RunOptions(labels=stand.started.labels, progress_interval=PROGRESS_INTERVAL)
        goes_on = stand.state not in _TAKES_OVER
        run["optimization_id" if goes_on else "resume_from"] = stand.optimization_id
        config = stand.started.config
        result = run_to_end(client, config.strategy, config.as_options(), run, shape, choice)
        result = with_rows(client, result, shape)
        if not shape.quiet:
            note = kept_note(client, choice, result)
    is_written = give_result(result, shape)
    if note:
        click.echo(note, err=True)
    context.exit(EXIT_CODES[result.state] if is_written else ExitCode.FAILURE)


def _check(stand: Optimization, choice: ServerChoice) -> None:
    """Refuse one that has nothing to be resumed.

    Raises:
        click.UsageError: It has succeeded, or it runs.
    """
    name = stand.optimization_id
    if stand.state is OptimizationState.SUCCEEDED:
        raise click.UsageError(f"{name} has succeeded; see it with: {choice.command('show', name)}")
    if stand.holder_address and not stand.state.is_ended:
        raise click.UsageError(
            f"{name} is {stand.state.lower()}, at {stand.holder_address}; follow it with: "
            f"{choice.command('watch', name)}"
        )
