"""`stratsweep optimize --each-symbol`: one optimization per symbol, a ranking each, a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stratsweep.cli.connection import ServerChoice
from stratsweep.cli.documents import EachDocument
from stratsweep.cli.each_progress import EachDisplay, each_display
from stratsweep.cli.exit_codes import ExitCode, exit_code_of
from stratsweep.cli.following import is_kept
from stratsweep.cli.interrupts import INTERRUPTED, stopping_on_interrupt
from stratsweep.cli.output_files import write_files
from stratsweep.cli.output_shape import OutputShape
from stratsweep.cli.ranking_table import next_step, ranking_table, summary_table
from stratsweep.cli.tables import failure_summary
from stratsweep.cli.violations import given_by, in_command_line_words
from stratsweep.config import ConfigOptions, RunOptions
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

_STOP_TIMEOUT = 2.0
"""Seconds for the server's answer: whoever waits for it has pressed Ctrl-C."""


def optimize_each(
    client: Client,
    strategy: str,
    config: ConfigOptions,
    run: RunOptions,
    shape: OutputShape,
    choice: ServerChoice,
    command: click.Command,
) -> ExitCode:
    """Optimize each symbol alone, print and write what came of them.

    A Ctrl-C stops what runs; what has completed of it, and what has ended, is printed and written.

    Args:
        client: Of the server.
        strategy: The strategy's id.
        config: What to optimize, with all of the symbols.
        run: How each optimization runs.
        shape: What to print and write.
        choice: Which server that is.
        command: The command, whose options name the fields of refused configs.

    Raises:
        StratsweepError: The server is gone; what had ended is printed and written.
        SystemExit: It was interrupted twice.
    """
    symbols = tuple(dict.fromkeys(config["symbols"]))
    ends: dict[str, SymbolResult] = {}
    lost: StratsweepError | None = None
    try:
        with each_display(symbols, quiet=shape.quiet) as display:
            running = _Running(client, display, shape)
            many = client.optimize_many(
                strategy,
                on_event=running.hear,
                labels=run["labels"],
                reuse=bool(run["reuse"]),
                **config,
            )
            with closing(many), stopping_on_interrupt(running.stop, lambda: running.has_some):
                for end in many:
                    if running.note_end(end):
                        ends[end.symbol] = _translated(end, config, command)
                        display.show_end(end)
                    if running.is_over:
                        break
    except KeyboardInterrupt:
        _tell_interruption(ends, symbols)
        raise SystemExit(ExitCode.INTERRUPTED) from None
    except StratsweepError as error:
        lost = error
    if running.is_stopping:
        _tell_interruption(ends, symbols)
    ordered = [ends[symbol] for symbol in symbols if symbol in ends]
    is_written = _give_with_note(client, choice, ordered, shape)
    if lost is not None:
        raise lost
    if not is_written:
        return ExitCode.FAILURE
    return ExitCode.INTERRUPTED if running.is_stopping else _exit_code(ordered)


def _give_with_note(
    client: Client, choice: ServerChoice, ends: Sequence[SymbolResult], shape: OutputShape
) -> bool:
    """Print and write what has ended, and say where it is kept; whether all could be written."""
    note = "" if shape.quiet else _kept_note(client, choice, ends)
    is_written = _give(ends, shape) if ends else True
    if note:
        click.echo(note, err=True)
    return is_written


class _Running:
    """The optimizations that run at a time: hears their events, and stops them at a Ctrl-C."""

    def __init__(self, client: Client, display: EachDisplay, shape: OutputShape) -> None:
        self.is_stopping = False
        self._client = client
        self._display = display
        self._shape = shape
        self._ids: dict[str, str] = {}
        self._stopped: set[str] = set()

    @property
    def has_some(self) -> bool:
        """Return whether any runs."""
        return bool(self._ids)

    @property
    def is_over(self) -> bool:
        """Return whether all that were stopped have ended: what has begun since is not wanted."""
        return self.is_stopping and not self._stopped & self._ids.keys()

    def hear(self, symbol: str, event: OptimizationEvent) -> None:
        """Show an event; refuse columns that do not exist."""
        if isinstance(event, OptimizationStarted):
            self._shape.check_columns(event)
            self._ids[symbol] = event.optimization_id
            if self.is_stopping:
                self._cancel(event.optimization_id)
            else:
                self._display.show_started(symbol, event)
        elif isinstance(event, Progress) and not self.is_stopping:
            self._display.show_progress(symbol, event)

    def stop(self) -> bool:
        """Stop what runs; what has completed of it is ranked. Returns whether that is so of all."""
        ids = dict(self._ids)
        self._stopped = set(ids)
        self.is_stopping = True
        stopped = [self._cancel(each) for each in ids.values()]
        return all(stopped)

    def note_end(self, end: SymbolResult) -> bool:
        """Note the end of one; returns whether it is wanted."""
        self._ids.pop(end.symbol, None)
        return not self.is_stopping or end.symbol in self._stopped

    def _cancel(self, optimization_id: str) -> bool:
        try:
            self._client.cancel_optimization(
                optimization_id, reason=INTERRUPTED, timeout=_STOP_TIMEOUT
            )
        except StratsweepError:
            return False
        return True


def _tell_interruption(ends: Mapping[str, SymbolResult], symbols: Sequence[str]) -> None:
    completed = [each for each in ends.values() if not _is_partial(each)]
    click.echo(f"interrupted after {len(completed):,} of {len(symbols):,} symbols", err=True)


def _is_partial(end: SymbolResult) -> bool:
    return end.result is not None and end.result.state is OptimizationState.CANCELLED


def _kept_note(client: Client, choice: ServerChoice, ends: Sequence[SymbolResult]) -> str:
    results = [end.result for end in ends if end.result is not None]
    if not results or not is_kept(client, results[0].optimization_id):
        return ""
    return f"kept, each under an id of its own: {choice.command('list')}"


def _translated(end: SymbolResult, config: ConfigOptions, command: click.Command) -> SymbolResult:
    """Return an end whose refusal, if it is one, speaks of the command's options."""
    if isinstance(end.error, InvalidConfigError | NotFoundError):
        given = given_by(config) | {"symbols": [end.symbol]}
        end.error.violations = in_command_line_words(end.error.violations, given, command)
    return end


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
            reason = end.result.message
            if end.result.state is OptimizationState.CANCELLED:
                reason = f"stopped{': ' if reason else ''}{reason}; the ranking is partial"
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
