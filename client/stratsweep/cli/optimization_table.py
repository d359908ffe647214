"""Optimizations that are kept as a person reads them: a row each, and a line of one alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console

from stratsweep._ranking_columns import RankingColumn
from stratsweep.cli.formatting import counted, format_span, in_lines, listed, wrapped
from stratsweep.cli.heading import describe_started
from stratsweep.cli.ranking_table import fitted_table
from stratsweep.cli.tables import console_of_output, rendered
from stratsweep.optimizations import Optimization

_SYMBOLS = 2
_MADE_ID_LENGTH = 26
_LEAST_ID_LENGTH = 10
"""Of those that are made for people: all of the time at which they were."""


def optimization_table(stands: Sequence[Optimization], *, has_more: bool) -> str:
    """Return a row for each optimization; ids and states are never left out.

    Args:
        stands: Where they stand.
        has_more: Whether there are others, which are older.
    """
    console = console_of_output()
    terminal_width = console.width
    table, hidden = fitted_table(_columns(stands), console)
    count = counted(len(stands), "optimization")
    lines = [f"the newest {count}; --limit {10 * len(stands)} shows more" if has_more else count]
    if hidden:
        lines.append(wrapped(f"not shown in {terminal_width} columns: {listed(hidden)}", None))
    return f"{rendered(console, table)}\n" + "\n".join(lines) + "\n"


def describe_stand(stand: Optimization) -> str:
    """Return what an optimization runs, as above its progress, and where it stands."""
    console = Console(stderr=True)
    width = console.width if sys.stderr.isatty() else None
    parts = [f"{stand.optimization_id} {stand.state.lower()}", f"asked for {_time(stand)}"]
    if stand.running_duration:
        parts.append(f"ran {format_span(stand.running_duration)}")
    parts += [f"{key}={value}" for key, value in stand.started.labels.items()]
    return f"{in_lines(parts, width)}\n{describe_started(stand.started, width)}"


def _columns(stands: Sequence[Optimization]) -> list[RankingColumn]:
    columns = [
        RankingColumn("id", short_ids([each.optimization_id for each in stands]), is_text=True),
        RankingColumn("state", [each.state.lower() for each in stands], is_text=True),
        RankingColumn("done", list(map(_done, stands)), is_needed=False),
        RankingColumn(
            "strategy",
            [each.started.config.strategy for each in stands],
            is_text=True,
            is_needed=False,
        ),
        RankingColumn("symbols", list(map(_symbols, stands)), is_text=True, is_needed=False),
        RankingColumn("asked for", list(map(_time, stands)), is_text=True, is_needed=False),
        RankingColumn(
            "ran", [format_span(each.running_duration) for each in stands], is_needed=False
        ),
    ]
    if any(each.failed_count for each in stands):
        failed = [f"{each.failed_count:,}" for each in stands]
        columns.append(RankingColumn("failed", failed, is_needed=False))
    if any(each.started.labels for each in stands):
        labels = [_labels(each) for each in stands]
        columns.append(RankingColumn("labels", labels, is_text=True, is_needed=False))
    return columns


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return beginnings of ids that tell them apart; those that people have chosen, whole."""
    length = _LEAST_ID_LENGTH
    while len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return [each[:length] if len(each) == _MADE_ID_LENGTH else each for each in ids]


def _done(stand: Optimization) -> str:
    return f"{stand.completed_count:,}/{stand.started.total_count:,}"


def _symbols(stand: Optimization) -> str:
    symbols = stand.started.config.symbols
    more = len(symbols) - _SYMBOLS
    return ", ".join(symbols[:_SYMBOLS]) + (f" and {more:,} more" if more > 0 else "")


def _labels(stand: Optimization) -> str:
    return ", ".join(f"{key}={value}" for key, value in stand.started.labels.items())


def _time(stand: Optimization) -> str:
    return _local(stand.create_time)


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"
