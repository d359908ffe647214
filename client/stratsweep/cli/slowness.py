"""Whether a strategy is slow enough to say so while it runs, and what to say. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import islice

from stratsweep.events import OptimizationEvent, OptimizationStarted, Progress

FIRST_SECONDS = timedelta(seconds=3)
"""Before that nobody waits, and what is known is of the first backtests alone."""
WORTH_A_NOTE = timedelta(seconds=10)
"""What is left must take as long."""
_MANY = 100
"""Combinations from which on it pays to decide for many at once."""
_SAMPLE = 20
_ADVICE = (
    "the strategy decides for one combination at a time, which can be made faster: see "
    '"Many combinations at once" in docs/strategies.md'
)
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_FINE_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


class SlownessWatch:
    """Sees the events of one optimization, and has at most one note on them.

    Args:
        takes_columns: Asked then whether the strategy decides for many combinations at once; None
            where nobody knows.
    """

    def __init__(self, takes_columns: Callable[[], bool | None]) -> None:
        self._takes_columns = takes_columns
        self._started: OptimizationStarted | None = None
        self._has_told = False

    def see(self, event: OptimizationEvent) -> str:
        """Return the note when it is due; empty at all other times."""
        if isinstance(event, OptimizationStarted):
            self._started = event
        if self._has_told or self._started is None or not isinstance(event, Progress):
            return ""
        if not is_slow(event):
            return ""
        self._has_told = True
        return slowness_note(event, self._started.worker_count, self._takes_columns())


def is_slow(progress: Progress) -> bool:
    """Whether people wait, and will, so that they want to know for how long and why."""
    remaining = progress.estimated_remaining_duration
    return (
        progress.completed_count > 0
        and progress.elapsed_duration >= FIRST_SECONDS
        and remaining is not None
        and remaining >= WORTH_A_NOTE
    )


def slowness_note(progress: Progress, worker_count: int, takes_columns: bool | None) -> str:
    """Say what one backtest and all of them take, and what would make that less.

    Args:
        progress: Of an optimization that is slow.
        worker_count: The number of worker processes.
        takes_columns: Whether the strategy decides for many combinations at once.
    """
    total = progress.elapsed_duration + (progress.estimated_remaining_duration or timedelta())
    workers = f"{worker_count} worker{'s' if worker_count != 1 else ''}"
    note = (
        f"one backtest takes {_exactly(_backtest_seconds(progress, worker_count))}; "
        f"{progress.total_count:,} combination{'s' if progress.total_count != 1 else ''} take "
        f"about {_roughly(total)} on {workers}"
    )
    is_helpful = takes_columns is False and progress.total_count >= _MANY
    return f"{note}; {_ADVICE}" if is_helpful else note


def _backtest_seconds(progress: Progress, worker_count: int) -> float:
    """The mean of some that have just completed; else what it must have been."""
    sample = [each.backtest_duration for each in islice(progress.outcomes, _SAMPLE)]
    if sample:
        return sum(sample, timedelta()).total_seconds() / len(sample)
    return progress.elapsed_duration.total_seconds() * worker_count / progress.completed_count


def _exactly(seconds: float) -> str:
    """Return `12 ms`: two digits in the unit that fits."""
    for unit, size in _FINE_UNITS:
        if seconds >= size or unit == _FINE_UNITS[-1][0]:
            break
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def _roughly(span: timedelta) -> str:
    """Return `a minute`, `3 minutes`: in the largest unit of which there is one."""
    seconds = span.total_seconds()
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    count = round(seconds / size)
    if count <= 1:
        return f"{'an' if unit == 'hour' else 'a'} {unit}"
    return f"{count} {unit}s"
