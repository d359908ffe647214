"""An optimization that this command has started: shown while it runs, and where it is kept."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from stratsweep.cli.connection import ServerChoice
from stratsweep.cli.output_shape import OutputShape
from stratsweep.config import ConfigOptions, RunOptions
from stratsweep.errors import StratsweepError, StreamInterruptedError
from stratsweep.events import OptimizationResult, OptimizationState

if TYPE_CHECKING:  # gRPC is slow to import: a private server gets ready meanwhile
    from stratsweep.client import Client

PROGRESS_INTERVAL = timedelta(milliseconds=100)
"""Much faster than a message per backtest, and still smooth to look at."""
_NOTE_TIMEOUT = timedelta(seconds=2)  # a note is not worth more


def run_to_end(
    client: Client,
    strategy: str,
    config: ConfigOptions,
    run: RunOptions,
    shape: OutputShape,
    choice: ServerChoice,
) -> OptimizationResult:
    """Run an optimization of this command to its end, and show it; Ctrl-C stops it.

    Raises:
        StratsweepError: The server refused the request, or the stream broke off.
        SystemExit: It was left.
    """
    from stratsweep.cli.progress import follow, progress_display  # noqa: PLC0415 - rich is slow
    from stratsweep.cli.slowness import SlownessWatch  # noqa: PLC0415 - as that

    stream = client.optimize(strategy, **run, **config)
    display = progress_display(quiet=shape.quiet)
    watch = None if shape.quiet else SlownessWatch(partial(_takes_columns, client, strategy))
    hint = what_has_completed(choice, stream.optimization_id)
    try:
        return follow(stream, display, watch, shape.check_columns, hint=hint)
    except StreamInterruptedError as error:
        if hint:
            resume = choice.command("resume", stream.optimization_id)
            error.add_note(f"What has completed is not lost; go on with: {resume}")
        raise


def what_has_completed(choice: ServerChoice, optimization_id: str) -> str:
    """Return how to see what has completed of an optimization that is left; empty: nowhere."""
    if choice.state == "none":
        return ""
    return f"what has completed: {choice.command('show', optimization_id)}"


def kept_note(client: Client, choice: ServerChoice, result: OptimizationResult) -> str:
    """Return where a result is kept and what to type to see it again; empty where it is not."""
    if not is_kept(client, result.optimization_id):
        return ""
    note = f"kept: {choice.command('show', result.optimization_id)}"
    if result.state in {OptimizationState.CANCELLED, OptimizationState.FAILED}:
        note += f"\nthe rest: {choice.command('resume', result.optimization_id)}"
    return note


def is_kept(client: Client, optimization_id: str) -> bool:
    """Return whether an optimization outlives its server, as far as that can be said."""
    try:
        stand = client.get_optimization(optimization_id, timeout=_NOTE_TIMEOUT)
    except StratsweepError:
        return False
    return stand.stored_bytes > 0


def _takes_columns(client: Client, strategy: str) -> bool | None:
    """Whether a strategy decides for many combinations at once; None where that is not known."""
    try:
        catalogue = client.list_strategies(timeout=_NOTE_TIMEOUT)
    except StratsweepError:
        return None
    declared = (each.takes_columns for each in catalogue.strategies if each.name == strategy)
    return next(declared, None)
