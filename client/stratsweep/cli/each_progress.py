"""Progress of one optimization per symbol: a line as each ends, and a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as RichProgress

from stratsweep.cli.heading import describe_each, describe_end
from stratsweep.events import OptimizationStarted, Progress, SymbolResult


class EachDisplay:
    """Shows the events of several optimizations, for the length of a `with` block; quietly.

    Args:
        symbols: What is optimized.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self._is_described = False
        self._ended_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""

    def show_started(self, symbol: str, started: OptimizationStarted) -> None:  # noqa: ARG002
        """Say once what is about to run."""
        if not self._is_described:
            self._is_described = True
            self._tell(describe_each(started, self._symbols, self._width()))

    def show_progress(self, symbol: str, progress: Progress) -> None:
        """Say how far one is."""

    def show_end(self, end: SymbolResult) -> None:
        """Say how one ended."""
        self._ended_count += 1
        share = 100 * self._ended_count // len(self._symbols)
        count = f"{self._ended_count:,}/{len(self._symbols):,}"
        prefix = f"{share:3d} %  {count}  "
        width = self._width()
        text = describe_end(end, None if width is None else width - len(prefix))
        self._tell(prefix + text.replace("\n", "\n" + " " * len(prefix)))

    def _width(self) -> int | None:
        return None

    def _tell(self, text: str) -> None:
        pass


class _PlainDisplay(EachDisplay):
    def _tell(self, text: str) -> None:
        click.echo(text, err=True)


class _BarDisplay(EachDisplay):
    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__(symbols)
        self._bar = RichProgress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}", markup=False),
            console=Console(stderr=True),
        )
        self._shares: dict[str, float] = {}
        self._task = self._bar.add_task("", total=len(symbols), status="starting")

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

    def show_progress(self, symbol: str, progress: Progress) -> None:
        """Move the bar."""
        self._shares[symbol] = progress.completed_count / max(progress.total_count, 1)
        self._move()

    def show_end(self, end: SymbolResult) -> None:
        """Print how one ended above the bar, and move it."""
        super().show_end(end)
        self._shares[end.symbol] = 1.0
        self._move()

    def _move(self) -> None:
        status = f"{self._ended_count:,}/{len(self._symbols):,} symbols"
        self._bar.update(self._task, completed=sum(self._shares.values()), status=status)

    def _width(self) -> int | None:
        return self._bar.console.width

    def _tell(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def each_display(symbols: Sequence[str], *, quiet: bool) -> EachDisplay:
    """Return the display that suits standard error."""
    if quiet:
        return EachDisplay(symbols)
    return (_BarDisplay if sys.stderr.isatty() else _PlainDisplay)(symbols)
