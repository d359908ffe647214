"""The bars of several files in one series, each time once; where files overlap they must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.errors import MarketDataError
from stratsweep_server.market_data.importing.moments import are_dates, moment_text
from stratsweep_server.market_data.importing.source_file import SourceFile

_Indices: TypeAlias = NDArray[np.int64]

_VALUES = ("open", "high", "low", "close", "volume")
_ADVICE = "leave out one of the files, or cut off what both have"
_SEPARATELY = "import daily bars and bars within the day as two symbols"


class DisagreementError(MarketDataError):
    """Report files that cannot be of one series; the text says which, where, and what to do."""


@dataclass(frozen=True, slots=True)
class JoinedBars:
    """Hold one series of several files.

    Attributes:
        files: In the order of their first bars.
        bars: Of all of them, ascending.
        overlap_count: How many bars of the files were left out since another file has them.
    """

    files: tuple[SourceFile, ...]
    bars: Bars
    overlap_count: int


def join(files: Sequence[SourceFile]) -> JoinedBars:
    """Join files by time, in whatever order they are.

    Args:
        files: At least one, of one symbol.

    Raises:
        DisagreementError: One has dates and another times of day; they differ in a bar that both
            have; or one lacks a bar that another has from its own time. A file may lack as many as
            it has rows that were left out.
    """
    ordered = tuple(sorted(files, key=lambda file: (int(file.bars.time[0]), len(file.bars))))
    _check_zones(ordered)
    series = [file.bars for file in ordered]
    columns = {
        name: np.concatenate([getattr(bars, name) for bars in series])
        for name in ("time", *_VALUES)
    }
    of_file = np.repeat(np.arange(len(series)), [len(bars) for bars in series])
    order = np.lexsort((of_file, columns["time"]))
    columns, of_file = {name: each[order] for name, each in columns.items()}, of_file[order]
    again = np.flatnonzero(np.diff(columns["time"]) == 0) + 1
    _check_values(ordered, columns, of_file, again)
    is_first = np.ones(len(of_file), dtype=bool)
    is_first[again] = False
    kept: dict[str, Any] = {name: each[is_first] for name, each in columns.items()}
    _check_times(ordered, kept["time"], of_file[is_first])
    bars = Bars(series[0].symbol, **kept, timezone=series[0].timezone)
    bars.make_read_only()
    return JoinedBars(ordered, bars, len(again))


def _check_zones(files: Sequence[SourceFile]) -> None:
    # A single bar at midnight may be within the day as well.
    daily = [file for file in files if are_dates(file.bars) and len(file.bars) > 1]
    within_the_day = [file for file in files if not are_dates(file.bars)]
    if daily and within_the_day:
        raise DisagreementError(
            f"{daily[0].name} has dates, and {within_the_day[0].name} has times of day; "
            f"{_SEPARATELY}"
        )
    for first, second in pairwise(files):
        if first.bars.timezone != second.bars.timezone:
            dates, times = (first, second) if first.bars.timezone == UTC else (second, first)
            raise DisagreementError(
                f"{dates.name} has times without a zone or dates, and {times.name} has times of "
                f"{times.bars.timezone}; {_SEPARATELY}"
            )


def _check_values(
    files: Sequence[SourceFile],
    columns: dict[str, NDArray[Any]],
    of_file: _Indices,
    again: _Indices,
) -> None:
    """Refuse bars that differ from the one before them, which has the same time."""
    values = {name: columns[name] for name in _VALUES}
    differs = {
        name: (each[again] != each[again - 1])
        & ~(np.isnan(each[again]) & np.isnan(each[again - 1]))
        for name, each in values.items()
    }
    is_different = np.logical_or.reduce(list(differs.values()))
    if not is_different.any():
        return
    first = int(np.flatnonzero(is_different)[0])
    index = int(again[first])
    name = next(name for name in _VALUES if differs[name][first])
    one, other = files[of_file[index - 1]], files[of_file[index]]
    raise DisagreementError(
        f"{one.name} and {other.name} disagree: at {moment_text(one.bars, columns['time'][index])} "
        f"the {name} is {values[name][index - 1]} and {values[name][index]}"
        f"{_first_of(int(is_different.sum()))}; {_ADVICE}"
    )


def _first_of(count: int) -> str:
    return f", the first of {count:,} such bars" if count > 1 else ""


def _check_times(files: Sequence[SourceFile], time: _Indices, of_file: _Indices) -> None:
    """Refuse files that lack what another has within their first and last bar.

    Args:
        files: All of them.
        time: Of all bars, each once.
        of_file: Which file, of those that have it, is the first.
    """
    for file in files:
        own = file.bars.time
        within = slice(*np.searchsorted(time, [own[0], own[-1] + 1]))
        lacking = np.setdiff1d(time[within], own, assume_unique=True)
        if len(lacking) > len(file.left_out):
            first = int(lacking[0])
            other = files[of_file[np.searchsorted(time, first)]]
            span = " to ".join(moment_text(file.bars, int(own[end])) for end in (0, -1))
            raise DisagreementError(
                f"{file.name} is from {span}, but lacks {moment_text(other.bars, first)}, which "
                f"{other.name} has{_first_of(len(lacking))}; {_ADVICE}"
            )
