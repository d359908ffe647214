"""`stratsweep optimize --each-symbol`: one optimization per symbol, a ranking each, a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stratsweep.cli.documents import EachDocument
from stratsweep.cli.each_progress import EachDisplay, each_display
from stratsweep.cli.exit_codes import ExitCode, exit_code_of
from stratsweep.cli.output_files import write_files
from stratsweep.cli.output_shape import OutputShape
from stratsweep.cli.ranking_table import next_step, ranking_table, summary_table
from stratsweep.cli.tables import failure_summary
from stratsweep.cli.violations import given_by, in_command_line_words
from stratsweep.config import ConfigOptions
from stratsweep.errors import InvalidConfigError, NotFoundError, StratsweepError
from stratsweep.events import (
    OptimizationEvent,
    OptimizationStarted,
    OptimizationState,
    Progress,
    SymbolResult,
)

if TYPE_CHECKING:
    from stratsweep.client import Client


def optimize_each(
    client: Client,
    strategy: str,
    config: ConfigOptions,
    labels: Mapping[str, str],
    shape: OutputShape,
    command: click.Command,
) -> ExitCode:
    """Optimize each symbol alone, print and write what came of them.

    Args:
        client: Of the server.
        strategy: The strategy's id.
        config: What to optimize, with all of the symbols.
        labels: What the caller calls each optimization.
        shape: What to print and write.
        command: The command, whose options name the fields of refused configs.

    Raises:
        StratsweepError: The server is gone; what had ended is printed and written.
        SystemExit: It was interrupted.
    """
    symbols = tuple(dict.fromkeys(config["symbols"]))
    ends: dict[str, SymbolResult] = {}
    lost: StratsweepError | None = None
    try:
        with each_display(symbols, quiet=shape.quiet) as display:
            listen = _Listener(display, shape).hear
            for end in client.optimize_many(strategy, on_event=listen, labels=labels, **config):
                _translate(end, config, command)
                ends[end.symbol] = end
                display.show_end(end)
    except KeyboardInterrupt:
        click.echo(f"interrupted after {len(ends):,} of {len(symbols):,} symbols", err=True)
        raise SystemExit(ExitCode.INTERRUPTED) from None
    except StratsweepError as error:
        lost = error
    ordered = [ends[symbol] for symbol in symbols if symbol in ends]
    is_written = _give(ordered, shape) if ordered else True
    if lost is not None:
        raise lost
    return _exit_code(ordered) if is_written else ExitCode.FAILURE


class _Listener:
    """Hears the events of every symbol's optimization."""

    def __init__(self, display: EachDisplay, shape: OutputShape) -> None:
        self._display = display
        self._shape = shape

    def hear(self, symbol: str, event: OptimizationEvent) -> None:
        """Show an event; refuse columns that do not exist."""
        if isinstance(event, OptimizationStarted):
            self._shape.check_columns(event)
            self._display.show_started(symbol, event)
        elif isinstance(event, Progress):
            self._display.show_progress(symbol, event)


def _translate(end: SymbolResult, config: ConfigOptions, command: click.Command) -> None:
    if isinstance(end.error, InvalidConfigError | NotFoundError):
        given = given_by(config) | {"symbols": [end.symbol]}
        end.error.violations = in_command_line_words(end.error.violations, given, command)


def _give(ends: Sequence[SymbolResult], shape: OutputShape) -> bool:
    """Print and write; returns whether every file was written."""
    written = write_files(EachDocument(ends, shape.output_top), shape.outputs)
    _print(ends, shape)
    _print_remarks(ends, shape, written)
    return len(written) == len(shape.outputs)


def _print(ends: Sequence[SymbolResult], shape: OutputShape) -> None:
    document = EachDocument(ends, shape.printed_row_count)
    if shape.output_format == "json":
        click.echo(document.json())
    elif shape.output_format == "csv":
        for text in document.csv():
            click.echo(text, nl=False)
    else:
        for end in ends:
            if end.result is not None and end.result.ranked:
                row_count = shape.printed_row_count or len(end.result.ranked)
                table = ranking_table(end.result, row_count, shape.metric_names)
                click.echo(f"{end.symbol}\n{table}")
        click.echo(summary_table(ends), nl=False)


def _print_remarks(
    ends: Sequence[SymbolResult], shape: OutputShape, written: Sequence[Path]
) -> None:
    for end in ends:
        if end.result is not None and end.result.failures and not shape.quiet:
            click.echo(f"{end.symbol}: {failure_summary(end.result.failures)}", err=True)
    for end in ends:
        if end.error is not None:
            click.echo(f"error: {end.symbol}: {end.error}", err=True)
        elif end.result is not None and end.result.state is not OptimizationState.SUCCEEDED:
            reason = end.result.message or "the server stopped it; the ranking is partial"
            click.echo(f"error: {end.symbol}: {reason}", err=True)
    results = [end.result for end in ends if end.result is not None and end.result.ranked]
    if results and shape.output_format == "table" and not shape.quiet:
        click.echo(next_step(results[0], shape.metric_names, written), err=True)


def _exit_code(ends: Sequence[SymbolResult]) -> ExitCode:
    states = {None if end.result is None else end.result.state for end in ends}
    if OptimizationState.CANCELLED in states:
        return ExitCode.INTERRUPTED
    if states == {OptimizationState.SUCCEEDED}:
        return ExitCode.SUCCESS
    if states == {None} and ends[0].error is not None:
        return exit_code_of(ends[0].error)
    return ExitCode.NO_SUCCESS
