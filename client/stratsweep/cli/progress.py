"""Progress of an optimization on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from stratsweep._formatting import format_figure, format_parameters
from stratsweep._ranking_columns import metric_named
from stratsweep._streams import OptimizationStream
from stratsweep.cli.exit_codes import ExitCode
from stratsweep.cli.formatting import format_span, in_lines
from stratsweep.cli.heading import describe_started
from stratsweep.cli.interrupts import INTERRUPTED, stopping_on_interrupt
from stratsweep.cli.slowness import SlownessWatch
from stratsweep.events import OptimizationResult, OptimizationStarted, Progress
from stratsweep.strategies import Metric

_MAX_BAR_WIDTH = 24
_BETWEEN = 5  # the spinner, and the spaces
_PLAIN_LINE_INTERVAL = timedelta(seconds=10)


class ProgressDisplay(Protocol):
    """Shows the events of one optimization, for the length of a `with` block."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        ...

    def show_started(self, started: OptimizationStarted) -> None:
        """Say what is about to run."""
        ...

    def show_progress(self, progress: Progress) -> None:
        """Say how far it is."""
        ...

    def show_note(self, note: str) -> None:
        """Say something once."""
        ...


def follow(
    stream: OptimizationStream,
    display: ProgressDisplay,
    watch: SlownessWatch | None = None,
    on_start: Callable[[OptimizationStarted], None] = lambda started: None,  # noqa: ARG005
    *,
    stops: bool = True,
    hint: str = "",
) -> OptimizationResult:
    """Follow a stream to its end while showing it.

    The first Ctrl-C stops the optimization, whose stream then ends with what has completed. Where
    nothing has begun, or it is only watched, and at a second one, the stream is left, and it is
    said how far it had come.

    Args:
        stream: What runs.
        display: Shows it.
        watch: Has a note on it that is shown, too.
        on_start: Is told what is about to run; what it raises ends the run.
        stops: Whether Ctrl-C stops it; False where it is only watched.
        hint: What is said to whoever leaves it.

    Raises:
        StratsweepError: The server refused the request, or the stream broke off.
        SystemExit: It was left.
    """
    last = None
    can_stop = False
    optimization_id = stream.optimization_id
    reconnect_count = 0

    def stop() -> bool:
        display.show_note("stopping: what has completed is ranked; Ctrl-C again does not wait")
        stream.stop(INTERRUPTED)
        return True

    try:
        with stream, display, stopping_on_interrupt(stop, lambda: can_stop):
            for event in stream:
                if stream.reconnect_count > reconnect_count:
                    reconnect_count = stream.reconnect_count
                    display.show_note("connected again")
                if isinstance(event, OptimizationStarted):
                    on_start(event)
                    display.show_started(event)
                    # A server that is too old to know ids has given it another one.
                    can_stop = stops and event.optimization_id == optimization_id
                elif isinstance(event, Progress):
                    last = event
                    display.show_progress(event)
                if watch is not None and (note := watch.see(event)):
                    display.show_note(note)
    except KeyboardInterrupt:
        click.echo(f"{'interrupted' if stops else 'left'} {_how_far(last)}", err=True)
        if hint and (can_stop or not stops):
            click.echo(hint, err=True)
        raise SystemExit(ExitCode.INTERRUPTED) from None
    return stream.result()


def progress_display(*, quiet: bool = False) -> ProgressDisplay:
    """Return the display that suits standard error."""
    if quiet:
        return _NoDisplay()
    return BarDisplay() if sys.stderr.isatty() else PlainDisplay()


class _NoDisplay:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def show_started(self, started: OptimizationStarted) -> None:
        """Say nothing."""

    def show_progress(self, progress: Progress) -> None:
        """Say nothing."""

    def show_note(self, note: str) -> None:
        """Say nothing."""


class PlainDisplay(_NoDisplay):
    """A line for every tenth of the way, or every ten seconds, and one at the end."""

    def __init__(self) -> None:
        self._target = Metric("", "")
        self._reused_count = 0
        self._shown_tenth = 0
        self._shown_at = timedelta()

    def show_started(self, started: OptimizationStarted) -> None:
        """Print what is about to run."""
        self._target = metric_named(started.config.optimization_target, started.metrics)
        self._reused_count = started.reused_count
        click.echo(describe_started(started), err=True)

    def show_progress(self, progress: Progress) -> None:
        """Print a line if one is due."""
        tenth = 10 * progress.completed_count // max(progress.total_count, 1)
        quiet_duration = progress.elapsed_duration - self._shown_at
        if tenth == self._shown_tenth and quiet_duration < _PLAIN_LINE_INTERVAL:
            return
        self._shown_tenth, self._shown_at = tenth, progress.elapsed_duration
        percentage = 100 * progress.completed_count // max(progress.total_count, 1)
        count = f"{percentage:3d} %  {progress.completed_count:,}/{progress.total_count:,}"
        status = describe_progress(progress, self._target, self._reused_count)
        click.echo(f"{count}  {status}".rstrip(), err=True)

    def show_note(self, note: str) -> None:
        """Print it."""
        click.echo(note, err=True)


class BarDisplay:
    """A bar that moves."""

    def __init__(self) -> None:
        self._target = Metric("", "")
        self._reused_count = 0
        console = Console(stderr=True)
        self._bar_width = min(_MAX_BAR_WIDTH, console.width // 6)
        self._bar = RichProgress(
            SpinnerColumn(),
            BarColumn(bar_width=self._bar_width),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
        )
        self._task = self._bar.add_task("", total=None, status="starting")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show_started(self, started: OptimizationStarted) -> None:
        """Print what is about to run above the bar."""
        self._target = metric_named(started.config.optimization_target, started.metrics)
        self._reused_count = started.reused_count
        console = self._bar.console
        text = describe_started(started, console.width)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._bar.update(self._task, total=started.total_count, status="")

    def show_progress(self, progress: Progress) -> None:
        """Move the bar."""
        status = describe_progress(
            progress, self._target, self._reused_count, self._room_beside(progress)
        )
        self._bar.update(self._task, completed=progress.completed_count, status=status)

    def show_note(self, note: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(note, markup=False, highlight=False)

    def _room_beside(self, progress: Progress) -> int:
        """How wide a text has room beside spinner, bar and count."""
        count = len(f"{progress.total_count}/{progress.total_count}")
        return self._bar.console.width - self._bar_width - count - _BETWEEN


def describe_progress(
    progress: Progress, target: Metric, reused_count: int, width: int | None = None
) -> str:
    """Return rate, failures, best so far and time remaining, as far as they are known.

    Args:
        progress: How far it is.
        target: What is ranked by.
        reused_count: How many were taken over from earlier ones, which took no time: before more
            have completed, neither rate nor time remaining are known.
        width: What does not fit is left out, the last first; None for all.
    """
    parts = []
    elapsed = progress.elapsed_duration.total_seconds()
    run_count = progress.completed_count - reused_count
    if elapsed > 0 and run_count > 0:
        parts.append(f"{run_count / elapsed:,.0f}/s")
    if progress.failed_count:
        parts.append(f"{progress.failed_count:,} failed")
    if progress.best is not None and target.name in progress.best.metrics:
        figure = format_figure(progress.best.metrics[target.name], target.unit)
        parts.append(f"best {target.name} {figure}")
    if progress.completed_count == progress.total_count:
        parts.append(f"{format_span(progress.elapsed_duration)} elapsed")
    elif run_count > 0 and progress.estimated_remaining_duration is not None:
        seconds = math.ceil(progress.estimated_remaining_duration.total_seconds())
        parts.append(f"{timedelta(seconds=seconds)} left")
    return in_lines(parts, width).partition("\n")[0]


def _how_far(progress: Progress | None) -> str:
    if progress is None:
        return "before the first backtest completed"
    text = (
        f"after {progress.completed_count:,} of {progress.total_count:,} backtests "
        f"({progress.failed_count:,} failed)"
    )
    if progress.best is not None:
        text += f"; best so far: {format_parameters(progress.best.parameters)}"
    return text
