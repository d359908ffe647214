"""A result as a command ends with it: printed, written to files, with remarks and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stratsweep.cli.documents import ResultDocument
from stratsweep.cli.exit_codes import ExitCode
from stratsweep.cli.formatting import counted
from stratsweep.cli.output_files import write_files
from stratsweep.cli.output_shape import OutputShape
from stratsweep.events import OptimizationResult, OptimizationState

if TYPE_CHECKING:
    from stratsweep.repeats import RepeatCheck

EXIT_CODES = {
    OptimizationState.SUCCEEDED: ExitCode.SUCCESS,
    OptimizationState.FAILED: ExitCode.NO_SUCCESS,
    OptimizationState.CANCELLED: ExitCode.INTERRUPTED,
    OptimizationState.UNSPECIFIED: ExitCode.NO_SUCCESS,
}
"""How a command ends that has followed an optimization to its end."""


def give_result(
    result: OptimizationResult, shape: OutputShape, repeats: RepeatCheck | None = None
) -> bool:
    """Write a result to its files and print it, with what is wrong with it.

    Args:
        result: What an optimization has come to.
        shape: What to print and write.
        repeats: What came of running some combinations again.

    Returns:
        Whether every file was written.
    """
    written = write_files(ResultDocument(result, shape.output_top, repeats), shape.outputs)
    _print_result(result, shape, repeats)
    _print_remarks(result, shape, written)
    if repeats is not None and (repeats.differences or not shape.quiet):
        from stratsweep.cli.repeat_report import repeat_report  # noqa: PLC0415 - few ask for it

        click.echo(repeat_report(repeats, result.config.optimization_target), err=True)
    return len(written) == len(shape.outputs)


def _print_result(
    result: OptimizationResult, shape: OutputShape, repeats: RepeatCheck | None
) -> None:
    document = ResultDocument(result, shape.printed_row_count, repeats)
    if shape.output_format == "json":
        click.echo(document.json())
    elif shape.output_format == "csv":
        for text in document.csv():
            click.echo(text, nl=False)
    elif result.ranked:
        from stratsweep.cli.ranking_table import ranking_table  # noqa: PLC0415 - rich is slow

        row_count = shape.printed_row_count or len(result.ranked)
        click.echo(ranking_table(result, row_count, shape.metric_names), nl=False)


def _print_remarks(result: OptimizationResult, shape: OutputShape, written: Sequence[Path]) -> None:
    """Print what is wrong with a result, and what to do next, to standard error."""
    if result.failures and not shape.quiet:
        _print_failures(result)
    if result.state is OptimizationState.FAILED:
        click.echo(f"error: nothing could be ranked: {result.message}", err=True)
    elif result.state is not OptimizationState.SUCCEEDED:
        click.echo(_why_partial(result), err=True)
    if result.ranked and shape.output_format == "table" and not shape.quiet:
        from stratsweep.cli.ranking_table import next_step  # noqa: PLC0415 - rich is slow

        click.echo(next_step(result, shape.metric_names, written), err=True)


def _why_partial(result: OptimizationResult) -> str:
    completed = result.succeeded_count + result.failed_count
    reason = f" ({result.message})" if result.message else ""
    partial = "; the ranking is partial" if result.ranked else ""
    return (
        f"{result.state.lower()}{reason}: {completed:,} of "
        f"{counted(result.total_count, 'backtest')} completed{partial}"
    )


def _print_failures(result: OptimizationResult) -> None:
    from stratsweep.cli.tables import failure_summary  # noqa: PLC0415 - rich is slow to import

    click.echo(failure_summary(result.failures), err=True)
    first = result.failures[0]
    if result.state is OptimizationState.FAILED and first.traceback:
        click.echo(f"The first one's traceback:\n{first.traceback.rstrip()}", err=True)
