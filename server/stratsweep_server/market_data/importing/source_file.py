"""One of the files to import: its bars, what was left out of it, and what is wrong with it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.price_content import read_table
from stratsweep_server.market_data.price_file import checked
from stratsweep_server.market_data.price_numbers import number_type_problems
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.price_times import bar_times, time_type_problems
from stratsweep_server.market_data.price_zone import in_timezone, shown

_Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Hold what one file has.

    Attributes:
        name: The file's, for messages.
        bars: Its bars, at least one, ascending.
        notes: As in `PriceFile`.
        duplicate_count: How many rows were left out since another of the file is the same.
        left_out: The rows that were left out since they are bad: number in the file, and reason.
    """

    name: str
    bars: Bars
    notes: tuple[str, ...] = ()
    duplicate_count: int = 0
    left_out: tuple[tuple[int, str], ...] = ()


def read_source_file(
    symbol: str,
    name: str,
    content: bytes,
    *,
    layout: FileLayout,
    timezone: str = UTC,
    skips_bad_rows: bool = False,
) -> SourceFile:
    """Read a file, without exact duplicates.

    Args:
        symbol: The symbol's name.
        name: The file's, for its extension and for messages.
        content: The whole file.
        layout: What is known of its columns.
        timezone: As in `read_price_file`.
        skips_bad_rows: Whether bad rows are left out, as long as they are not most of the file.

    Raises:
        InvalidBarsError: As `read_price_file` does; with `skips_bad_rows` only where more than half
            of the rows are bad, or what is wrong concerns the whole file.
    """
    table = read_table(name, content, layout)
    row_count = len(table)
    table = _without_duplicates(table, timezone)
    duplicate_count = row_count - len(table)
    left_out: list[tuple[int, str]] = []
    if skips_bad_rows:
        table, left_out = _without_unordered(table, timezone)
    while True:
        price_file = checked(symbol, table, timezone)
        bad = table.bad_rows.indices
        if not len(bad):
            break
        if not skips_bad_rows:
            table.bad_rows.refuse()
        left_out.extend(table.bad_rows.each())
        if len(bad) == len(table):
            break
        table = table.without(bad)
    if 2 * len(left_out) > row_count:
        raise _too_many(name, left_out, row_count)
    return SourceFile(
        name, price_file.bars, price_file.notes, duplicate_count, tuple(sorted(left_out))
    )


# What is wrong with most rows is wrong with the file, or with what it is taken for.
def _too_many(name: str, left_out: list[tuple[int, str]], row_count: int) -> InvalidBarsError:
    row, reason = min(left_out)
    return InvalidBarsError(
        name,
        row,
        f"{reason}; so many rows cannot be left out: {len(left_out):,} of {row_count:,} are bad",
        bad_row_count=len(left_out),
    )


@dataclass(frozen=True, slots=True)
class _Moments:
    """The times of a table's rows, as far as they have one.

    Attributes:
        rows: The positions of rows that have a time, ascending.
        time: Of these, nanoseconds since 1970-01-01 UTC.
        written: Of these, as the file has it.
    """

    rows: _Indices
    time: _Indices
    written: _Indices


def _moments(table: PriceTable, timezone: str) -> _Moments:
    """Read the times of a table, which stays unchecked.

    Raises:
        InvalidBarsError: A column is stored as what is no time or number.
    """
    if problems := [*time_type_problems(table), *number_type_problems(table)]:
        raise InvalidBarsError(table.file_name, None, "; ".join(problems))
    attempt = table.without(np.empty(0, dtype=np.int64))
    file_times = bar_times(attempt)
    time, _ = in_timezone(attempt, file_times, timezone)
    rows = attempt.bad_rows.without("time")
    return _Moments(rows, time[rows], file_times.nanoseconds[rows])


def _without_duplicates(table: PriceTable, timezone: str) -> PriceTable:
    """Leave out rows that are those of another, at the same moment, cell by cell.

    In the hour that clocks show twice, rows that look the same may be an hour apart.
    """
    moments = _moments(table, timezone)
    is_twice = pl.Series(moments.time).is_duplicated().to_numpy()
    rows, time = moments.rows[is_twice], moments.time[is_twice]
    cells = pl.DataFrame({**table.columns}).select(pl.all().gather(rows))
    is_first = cells.with_columns(moment=time).select(pl.struct(pl.all()).is_first_distinct())
    repeated = rows[~is_first.to_series().to_numpy()]
    return table.without(repeated) if len(repeated) else table


def _without_unordered(
    table: PriceTable, timezone: str
) -> tuple[PriceTable, list[tuple[int, str]]]:
    """Leave out the fewest rows that leave the times of the others in order; tell which.

    A check that goes from row to row would blame all rows after one that is too late.
    """
    moments = _moments(table, timezone)
    steps = np.diff(moments.time)
    is_descending = np.count_nonzero(steps < 0) > np.count_nonzero(steps > 0)
    is_ordered = np.zeros(len(moments.rows), dtype=bool)
    is_ordered[longest_ascending(-moments.time if is_descending else moments.time)] = True
    is_twice = np.isin(moments.time, moments.time[is_ordered])
    left_out = [
        (
            int(table.bad_rows.rows[moments.rows[index]]),
            f"the time {shown(moments.written[index])} is "
            + ("there twice" if is_twice[index] else "not in order with the others"),
        )
        for index in np.flatnonzero(~is_ordered).tolist()
    ]
    return table.without(moments.rows[~is_ordered]), left_out


def longest_ascending(values: _Indices) -> _Indices:
    """Return the positions of a longest strictly ascending subsequence, ascending.

    By patience sorting: the smallest end of a subsequence of each length is kept.
    """
    if (np.diff(values) > 0).all():
        return np.arange(len(values))
    ends: list[int] = []
    places: list[int] = []
    before = np.full(len(values), -1)
    for index, value in enumerate(values.tolist()):
        length = bisect_left(ends, value)
        before[index] = places[length - 1] if length else -1
        ends[length : length + 1] = [value]
        places[length : length + 1] = [index]
    chosen = []
    index = places[-1]
    while index >= 0:
        chosen.append(index)
        index = int(before[index])
    return np.array(chosen[::-1], dtype=np.int64)
