"""Turn the time columns of a price file into nanoseconds: text, numbers, and what Parquet stores.

A date and a time beside it are one text. Times without a zone stay local times, counts since 1970
are UTC. Times with a zone are converted to UTC, but for those of
daily bars: where every bar of a file is at midnight, local time, the bars keep their dates, at
midnight UTC, so that days of different zones line up. Where rows differ in kind, the rarer kind is
what is wrong.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.price_time_numbers import (
    NOT_A_TIME,
    NumberTimes,
    TimeNumbers,
    times_of_numbers,
)
from stratsweep_server.market_data.price_time_text import times_of_text
from stratsweep_server.texts import quoted

_DECIMAL = r"^(?<whole>[+-]?[0-9]+)\.(?<decimals>[0-9]*)$"
# With fewer decimals than its power of ten, a number was rounded: 1.70407E+12, in a spreadsheet.
_EXPONENT = r"^[+-]?[0-9]\.(?<decimals>[0-9]+)[eE]\+?(?<power>[0-9]{1,2})$"
# What the columns may hold in Parquet, beside numbers.
_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Null)
_STORED_TYPES = {
    "time": (*_TEXT_TYPES, pl.Date, pl.Datetime),
    "date": (*_TEXT_TYPES, pl.Date, pl.Datetime),
    "clock": (*_TEXT_TYPES, pl.Time),
}
_SECOND = 10**9
# Nanoseconds in what Parquet counts times and dates in.
_STORED_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "days": 86_400 * _SECOND}
_INT64_MAX = np.iinfo(np.int64).max
_HOW_TO_WRITE = "write times as 2024-01-31 or 2024-01-31 15:30:00, from 1678 to 2261"
_WEEKS_OF_LOST_UNITS = 50 * 86_400 * _SECOND


@dataclass(frozen=True, slots=True)
class FileTimes:
    """Hold the time of each row of a file.

    Attributes:
        nanoseconds: int64, since 1970-01-01 UTC, or since 1970-01-01 00:00 by local clocks.
        are_local: Whether they are by local clocks of a zone that the file does not name.
    """

    nanoseconds: NDArray[np.int64]
    are_local: bool


def bar_times(table: PriceTable) -> FileTimes:
    """Return the time of each row.

    Rows are reported as bad whose time is missing, is not understood, can be read in two ways, or
    is outside 1677-09-21 to 2262-04-11, what 64 bits of nanoseconds hold; there it means nothing.

    Args:
        table: Of columns that have no `time_type_problems`.
    """
    column = _one_column(table)
    table.bad_rows.report(
        column.is_null().to_numpy(), "the time is missing", "fill it or delete the row", "time"
    )
    parsed, are_local = _parsed(table, column)
    parsed = parsed.cast(pl.Datetime("ns"), strict=False)
    table.bad_rows.report(
        parsed.is_null().to_numpy(),
        lambda index: _not_understood(column[index]),
        _HOW_TO_WRITE,
        "time",
    )
    nanoseconds = parsed.to_physical()
    if nanoseconds.has_nulls():
        nanoseconds = nanoseconds.fill_null(NOT_A_TIME)
    times = nanoseconds.to_numpy()
    table.bad_rows.report(
        (times >= 0) & (times < _WEEKS_OF_LOST_UNITS) & (times % _SECOND != 0),
        lambda index: (
            f"{quoted(column[index])} is what a later time becomes when its number since 1970 is "
            "taken in a wrong unit"
        ),
        "make the file again with the right one",
        "time",
    )
    return FileTimes(times, are_local and not table.names_utc)


def time_type_problems(table: PriceTable) -> list[str]:
    """Say which columns are stored as what no time can be made of."""
    return [
        problem
        for role in _STORED_TYPES
        if role in table.columns and (problem := _type_problem(table.columns[role].dtype, role))
    ]


def _type_problem(dtype: pl.DataType, role: str) -> str:
    name = "time" if role == "clock" else role
    if not (dtype.is_numeric() or dtype in _STORED_TYPES[role]):
        return f"the {name} column holds {dtype.base_type()}, not times"
    if dtype == pl.Float32:
        return f"the {name} column holds Float32, too short for times; store them as Int64"
    return ""


def _not_understood(value: object) -> str:
    return f"{quoted(value)} is not a time that is understood"


def _stored(table: PriceTable, role: str) -> pl.Series:
    """Return a column without what no time can be made of; polars or Python would fail at it."""
    column = table.columns[role]
    dtype = column.dtype
    if not isinstance(dtype, pl.Date | pl.Datetime):
        return column
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else "days"
    count = column.to_physical().cast(pl.Int64)
    limit = _INT64_MAX // _STORED_UNITS[unit] - 1
    is_outside = (~count.is_between(-limit, limit)).fill_null(value=False)
    table.bad_rows.report(
        is_outside.to_numpy(),
        lambda index: _not_understood(f"{count[index]} {unit} since 1970"),
        _HOW_TO_WRITE,
        "time",
    )
    return column.set(is_outside, None) if is_outside.any() else column


def _one_column(table: PriceTable) -> pl.Series:
    if "time" in table.columns:
        return _stored(table, "time")
    day, clock = _stored(table, "date"), _stored(table, "clock")
    if isinstance(day.dtype, pl.Datetime):
        local = day.dt.replace_time_zone(None)
        table.bad_rows.report(
            (local.dt.time() != dt.time.min).fill_null(False).to_numpy(),
            lambda index: (
                f"the date {quoted(local[index])} has a time of day, and there is a time beside it"
            ),
            "keep one column",
            "time",
        )
        day = local.cast(pl.Date)
    return day.cast(pl.String) + " " + _clock_text(table, clock)


def _clock_text(table: PriceTable, clock: pl.Series) -> pl.Series:
    """Spell times of day; numbers such as 930 and 93000 get their leading zeros back.

    Those of two digits at most are reported: hours, or the first minutes of a day?
    """
    text = clock.cast(pl.String)
    is_number = text.str.contains(r"^[0-9]+$").fill_null(False)
    longest = text.filter(is_number).str.len_chars().max()
    if not isinstance(longest, int):
        return text
    if longest <= 2:
        table.bad_rows.report(
            (is_number & (text.str.strip_chars("0") != "")).fill_null(value=False).to_numpy(),
            lambda index: f"the time {quoted(text[index])} may be an hour or a minute",
            "write it as 09:30",
            "time",
        )
    return text.zip_with(~is_number, text.str.zfill(6 if longest > 4 else 4))


def _parsed(table: PriceTable, column: pl.Series) -> tuple[pl.Series, bool]:
    """Parse a column to Datetime; null where it is not understood.

    Also tell whether the times are local, as in `FileTimes`.
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return _without_zone(column), dtype.time_zone is None
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")), True
    if dtype.is_numeric():
        read = _read_numbers(table, column, _split(column))
        return _series(read), read.are_dates
    return _from_text_or_numbers(table, column.cast(pl.String))


def _without_zone(column: pl.Series) -> pl.Series:
    wall = column.dt.replace_time_zone(None)
    if (wall.dt.time() == dt.time.min).all():
        return wall
    return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _from_text_or_numbers(table: PriceTable, text: pl.Series) -> tuple[pl.Series, bool]:
    numbers = _numbers_in_text(text)
    if not numbers.is_number.any():
        return times_of_text(table, text)
    read = _read_numbers(table, text, numbers)
    as_numbers = _series(read)
    if numbers.is_number.all():
        return as_numbers, read.are_dates
    as_text, are_local = times_of_text(table, text.set(pl.Series(numbers.is_number), None))
    as_text = as_text.cast(pl.Datetime("ns"), strict=False)
    if read.are_dates:
        return as_numbers.zip_with(as_numbers.is_not_null(), as_text), are_local
    return min((as_numbers, False), (as_text, are_local), key=lambda each: each[0].null_count())


def _numbers_in_text(text: pl.Series) -> TimeNumbers:
    """Find the texts that are numbers; one that was rounded to its exponent is none."""
    whole = text.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return _split(whole)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == len(text):
        return _split(numbers)
    # Decimals are taken as text: a float has too few digits for those of 20240102093000.123.
    decimal = text.str.extract_groups(_DECIMAL).struct.unnest()
    exponent = text.str.extract_groups(_EXPONENT).struct.unnest()
    is_complete = exponent["decimals"].str.len_chars() >= exponent["power"].cast(pl.UInt32)
    numbers = numbers.set(~is_complete.fill_null(False), None)
    sign = 1.0 - 2.0 * text.str.starts_with("-").cast(pl.Float64)
    fraction = ("0." + decimal["decimals"]).cast(pl.Float64, strict=False) * sign
    return _time_numbers(
        whole.fill_null(decimal["whole"].cast(pl.Int64, strict=False)).fill_null(
            numbers.floor().cast(pl.Int64, strict=False)
        ),
        fraction.fill_null(numbers - numbers.floor()),
    )


def _split(numbers: pl.Series) -> TimeNumbers:
    """Split numbers that are stored as such."""
    whole = (numbers if numbers.dtype.is_integer() else numbers.floor()).cast(
        pl.Int64, strict=False
    )
    return _time_numbers(whole, (numbers - whole).cast(pl.Float64))


def _time_numbers(whole: pl.Series, fraction: pl.Series) -> TimeNumbers:
    return TimeNumbers(
        whole.is_not_null().to_numpy(),
        whole.fill_null(0).to_numpy(),
        fraction.fill_null(0.0).to_numpy(),
    )


def _read_numbers(table: PriceTable, column: pl.Series, numbers: TimeNumbers) -> NumberTimes:
    """Read numbers; they are reported where they may be dates and counts."""
    read = times_of_numbers(numbers)
    if read.counts is not None:
        counts = read.counts
        table.bad_rows.report(
            read.nanoseconds != NOT_A_TIME,
            lambda index: (
                f"{quoted(column[index])} may be the time {_shown(read.nanoseconds[index])} in "
                f"digits, or {_shown(counts[index])} as a count since 1970"
            ),
            "write times as 2024-01-31 15:30:00",
            "time",
        )
    return read


def _series(read: NumberTimes) -> pl.Series:
    """Return times that numbers are as Datetime, null where one is none."""
    return pl.Series(read.nanoseconds.view("datetime64[ns]"), nan_to_null=True)


def _shown(nanoseconds: np.int64) -> str:
    return str(nanoseconds.astype("datetime64[ns]"))[:19]
