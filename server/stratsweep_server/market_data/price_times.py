"""The time columns of a price file to nanoseconds, in the spellings that people have.

Understood are ISO dates and date-times (a space or a T between them, with or without seconds, a
fraction, an offset, Z or UTC), `/` and `.` for `-`, `YYYYMMDD`, 12-hour clocks, numbers of seconds,
milliseconds, microseconds or nanoseconds since 1970, and what Parquet stores as dates and times.

- Times without a zone are taken as UTC; others are converted to it.
- A file with a zone in which every bar is at midnight, local time, is daily: its bars keep their
  dates, at midnight UTC, so that days of different zones line up.
- Month and day before the year are told apart by a day above 12 somewhere in the file; a file
  without one is refused.
- Whole numbers of eight digits are `YYYYMMDD`. Other numbers are taken as the unit that puts the
  largest of the file between 1973 and 5138; smaller ones than eight digits are refused.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.errors import InvalidBarsError, quoted
from stratsweep_server.market_data.price_table import PriceTable

_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f %#z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M %#z",
    "%Y-%m-%d %H%M%S",
    "%Y-%m-%d %H%M",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
)
_YEAR_LAST = r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})"
_LOCAL_MIDNIGHT = r"[ T]00:00(:00(\.0+)?)? ?([+-]\d{2}(:?\d{2})?|Z|UTC)$"

_EIGHT_DIGITS = 10**7, 10**8
# Nanoseconds in the unit of a number, by what the largest number stays below.
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
_INT64_MAX = np.iinfo(np.int64).max


def bar_times(table: PriceTable) -> NDArray[np.int64]:
    """Return the time of each row: nanoseconds since 1970-01-01 UTC.

    Raises:
        InvalidBarsError: A time is missing, is not understood, can be read in two ways, or is
            outside 1677-09-21 to 2262-04-11, what 64 bits of nanoseconds hold.
    """
    column = _one_column(table)
    table.refuse(column.is_null().to_numpy(), "the time is missing; fill it or delete the row")
    times = _parsed(table, column).cast(pl.Datetime("ns"), strict=False)
    table.refuse(
        times.is_null().to_numpy(),
        lambda index: (
            f"{quoted(column[index])} is not a time that is understood; write times as 2024-01-31 "
            "or 2024-01-31 15:30:00, from 1678 to 2261"
        ),
    )
    return times.to_physical().to_numpy()


def _one_column(table: PriceTable) -> pl.Series:
    if "time" in table.columns:
        return table.columns["time"]
    day, clock = table.columns["date"], table.columns["clock"]
    if isinstance(day.dtype, pl.Datetime):
        day = day.cast(pl.Date)
    return day.cast(pl.String) + " " + _clock_text(clock)


def _clock_text(clock: pl.Series) -> pl.Series:
    """Spell times of day; numbers such as 930 and 93000 get their leading zeros back."""
    text = clock.cast(pl.String)
    numbers = text.cast(pl.Int64, strict=False)
    largest = numbers.max()
    if numbers.null_count() > text.null_count() or not isinstance(largest, int):
        return text
    return text.str.zfill(6 if largest > 2359 else 4)


def _parsed(table: PriceTable, column: pl.Series) -> pl.Series:
    """Parse a column without nulls to Datetime in UTC; null where it is not understood."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return _without_zone(column)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if dtype.is_numeric():
        return _from_numbers(table, column)
    if dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise InvalidBarsError(table.file_name, None, f"the time column holds {dtype}, not times")
    text = column.cast(pl.String)
    for number in (pl.Int64, pl.Float64):
        numbers = text.cast(number, strict=False)
        if not numbers.null_count():
            return _from_numbers(table, numbers)
    return _from_text(table, text)


def _without_zone(column: pl.Series) -> pl.Series:
    wall = column.dt.replace_time_zone(None)
    if (wall.dt.time() == dt.time.min).all():
        return wall
    return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _from_numbers(table: PriceTable, numbers: pl.Series) -> pl.Series:
    whole = numbers.floor().cast(pl.Int64, strict=False)
    fractions = (numbers - whole).cast(pl.Float64)
    largest = whole.cast(pl.Float64).abs().max()
    if not isinstance(largest, float) or largest < _EIGHT_DIGITS[0]:
        return pl.repeat(None, len(numbers), dtype=pl.Datetime("ns"), eager=True)
    if largest < _EIGHT_DIGITS[1]:
        return _from_text(table, whole.cast(pl.String).fill_null(""))
    scale = next((scale for bound, scale in _UNITS if largest < bound), 1)
    limit = _INT64_MAX // scale - 1
    nanoseconds = whole * scale + (fractions * scale).round().cast(pl.Int64)
    in_range = pl.when(whole.is_between(-limit, limit)).then(nanoseconds)
    return pl.select(in_range).to_series().cast(pl.Datetime("ns"))


def _from_text(table: PriceTable, text: pl.Series) -> pl.Series:
    if text.str.contains(_LOCAL_MIDNIGHT).all():
        text = text.str.replace(_LOCAL_MIDNIGHT, "")
    times = _by_formats(text)
    if times.null_count():
        again = _by_formats(_iso_spelling(_year_first(table, text)))
        times = times.zip_with(times.is_not_null(), again)
    return times


def _by_formats(text: pl.Series) -> pl.Series:
    times = pl.repeat(None, len(text), dtype=pl.Datetime("us"), eager=True)
    for spelling in _FORMATS:
        # With nanoseconds polars wraps years that do not fit; microseconds hold every year.
        parsed = text.str.to_datetime(
            spelling,
            time_unit="us",
            time_zone="UTC" if spelling.endswith("z") else None,
            strict=False,
        ).dt.replace_time_zone(None)
        if not parsed.null_count():
            return parsed
        times = times.zip_with(times.is_not_null(), parsed)
    return times


def _iso_spelling(text: pl.Series) -> pl.Series:
    return (
        text.str.replace(r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", "${1}-${2}-${3}")
        .str.replace(r"^(\d{4})(\d{2})(\d{2})([ T]|$)", "${1}-${2}-${3}${4}")
        .str.replace(r"^([\d-]+)T", "${1} ")
        .str.replace(r" ?(UTC|GMT)$", "Z")
    )


def _year_first(table: PriceTable, text: pl.Series) -> pl.Series:
    """Put the year of dates such as 12/31/2024 or 31.12.2024 first.

    Raises:
        InvalidBarsError: No date in the file tells the day from the month.
    """
    parts = text.str.extract_groups(_YEAR_LAST).struct.unnest().cast(pl.Int64)
    first, second = (parts[name].max() for name in parts.columns[:2])
    if not isinstance(first, int) or not isinstance(second, int):
        return text
    if first <= 12 and second <= 12:
        table.refuse(
            parts.to_series().is_not_null().to_numpy(),
            lambda index: (
                f"{quoted(text[index])} may have the day or the month first, and no date in the "
                "file tells; write dates as 2024-01-31"
            ),
        )
    return text.str.replace(_YEAR_LAST, "${3}-${2}-${1}" if first > 12 else "${3}-${1}-${2}")
