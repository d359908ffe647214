"""Parse texts in the time column of a price file, in the spellings that people use.

Understood are ISO dates and date-times (a space or a T between them, with or without seconds, a
fraction, an offset, Z or UTC), `/` and `.` for `-`, `YYYYMMDD` with a time of day, 12-hour clocks,
and the English names of months.

- Times with a zone are converted to UTC. A file has zones or none.
- A file with a zone in which every bar is at midnight, local time, is daily: its bars keep their
  dates.
- Month and day before the year are told apart by a day above 12 somewhere in the file; a file
  without one is refused. With dots between them the day is first.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.texts import quoted

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
_YEAR_LAST = r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4})"
_YEAR_LAST_WITH_DOTS = r"^(\d{1,2})\.(\d{1,2})\.(\d{4})"
# What is looked for before it is replaced, since that takes longer.
_RARE_SPELLINGS = (
    (["  "], r" {2,}", " "),
    (["-AM", "-PM", "-am", "-pm"], r"(?i) (\d{1,2})-([ap]m)$", " ${1}:00 ${2}"),
    (["GMT", "UTC"], r" (?:GMT|UTC)([+-]\d)", " ${1}"),
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"(?:uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?"
)
_NAMED_MONTHS = (
    rf"(?i)^(?<day>\d{{1,2}})[ /-]{_MONTH}[ /,-]+(?<year>\d{{4}})(?<rest>\D.*)?$",
    rf"(?i)^{_MONTH}\.? +(?<day>\d{{1,2}}),? +(?<year>\d{{4}})(?<rest>\D.*)?$",
)
_MONTH_LETTERS = r"[a-zA-Z]{3}"
_LOCAL_MIDNIGHT = r"[ T]00:00(:00(\.0+)?)? ?((GMT|UTC)?[+-]\d{2}(:?\d{2})?|Z|UTC|GMT)$"


def times_of_text(table: PriceTable, text: pl.Series) -> tuple[pl.Series, bool]:
    """Parse texts to Datetime; null where there is none, or none that is understood.

    Args:
        table: Where they are from.
        text: One for each row, or null.

    Rows are reported as bad where some have a zone and some have none, or days and months look
    alike.

    Returns:
        The times, and whether they are local times of a zone that the file does not name; else
        they are UTC.
    """
    if text.str.contains(_LOCAL_MIDNIGHT).all():
        text = text.str.replace(_LOCAL_MIDNIGHT, "")
    times, has_zone = _by_formats(text)
    if times.null_count() > text.null_count():
        spelled = _year_first(table, _months_as_numbers(text))
        again, has_zone_again = _by_formats(_iso_spelling(spelled))
        times, has_zone = times.fill_null(again), has_zone | has_zone_again
    _report_mixed_zones(table, text, has_zone, times.is_not_null().to_numpy() & ~has_zone)
    return times, not has_zone.any()


def _report_mixed_zones(
    table: PriceTable, text: pl.Series, has_zone: NDArray[np.bool_], has_none: NDArray[np.bool_]
) -> None:
    if has_zone.any() and has_none.any():
        zones_are_rare = has_zone.sum() < has_none.sum()
        table.bad_rows.report(
            has_zone if zones_are_rare else has_none,
            lambda index: (
                f"{quoted(text[index])} has {'a' if zones_are_rare else 'no'} time zone, unlike "
                "other times of the file"
            ),
            "write all with one, or all without",
            "time",
        )


def _by_formats(text: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Parse what is in one of the spellings; also tell what has a zone."""
    times = pl.repeat(None, len(text), dtype=pl.Datetime("us"), eager=True)
    has_zone = np.zeros(len(text), dtype=bool)
    for spelling in _FORMATS:
        is_zoned = spelling.endswith("z")
        # With nanoseconds polars wraps years that do not fit; microseconds hold every year.
        parsed = text.str.to_datetime(
            spelling, time_unit="us", time_zone="UTC" if is_zoned else None, strict=False
        ).dt.replace_time_zone(None)
        if is_zoned:
            has_zone |= parsed.is_not_null().to_numpy()
        times = times.fill_null(parsed)
        if times.null_count() == text.null_count():
            break
    return times, has_zone


def _iso_spelling(text: pl.Series) -> pl.Series:
    for literals, pattern, value in _RARE_SPELLINGS:
        if text.str.contains_any(literals).any():
            text = text.str.replace(pattern, value)
    return (
        text.str.replace(r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", "${1}-${2}-${3}")
        .str.replace(r"^(\d{4})(\d{2})(\d{2})([ T]|$)", "${1}-${2}-${3}${4}")
        .str.replace(r"^([\d-]+)T", "${1} ")
        .str.replace(r" ?(UTC|GMT)$", "Z")
    )


def _months_as_numbers(text: pl.Series) -> pl.Series:
    """Spell dates such as 02-Jan-2024 or Jan 2, 2024 as ISO does."""
    if not text.str.contains(_MONTH_LETTERS).any():
        return text
    numbers = {name: f"{number:02}" for number, name in enumerate(_MONTHS, start=1)}
    for pattern in _NAMED_MONTHS:
        parts = text.str.extract_groups(pattern).struct.unnest()
        month = parts["month"].str.to_lowercase().replace_strict(numbers, default=None)
        spelled = parts["year"] + "-" + month + "-" + parts["day"].str.zfill(2)
        text = (spelled + parts["rest"].fill_null("")).fill_null(text)
    return text


def _year_first(table: PriceTable, text: pl.Series) -> pl.Series:
    """Put the year of dates such as 12/31/2024 or 31.12.2024 first.

    They are reported where no date in the file tells the day from the month.
    """
    text = _with_dots_year_first(table, text)
    first, second = _day_and_month(text, _YEAR_LAST)
    if not first.count():
        return text
    days_first, days_second = (first > 12).sum(), (second > 12).sum()
    if not days_first and not days_second and not table.writes_month_first:
        table.bad_rows.report(
            first.is_not_null().to_numpy(),
            lambda index: (
                f"{quoted(text[index])} may have the day or the month first, and no date in the "
                "file tells"
            ),
            "write dates as 2024-01-31",
            "time",
        )
    is_day_first = days_first > days_second and not table.writes_month_first
    return text.str.replace(_YEAR_LAST, "${3}-${2}-${1}" if is_day_first else "${3}-${1}-${2}")


def _with_dots_year_first(table: PriceTable, text: pl.Series) -> pl.Series:
    """Put the year of dates such as 31.12.2024 first; the day is in front of the month."""
    if not text.str.contains(_YEAR_LAST_WITH_DOTS).any():
        return text
    first, second = _day_and_month(text, _YEAR_LAST_WITH_DOTS)
    table.bad_rows.report(
        ((first <= 12) & (second > 12)).fill_null(value=False).to_numpy(),
        lambda index: (
            f"{quoted(text[index])} has the month first, but in dates with dots that is the day"
        ),
        "write dates as 2024-01-31",
        "time",
    )
    return text.str.replace(_YEAR_LAST_WITH_DOTS, "${3}-${2}-${1}")


def _day_and_month(text: pl.Series, pattern: str) -> tuple[pl.Series, pl.Series]:
    """Return the first and the second number of dates, null where there is no such date."""
    parts = text.str.extract_groups(pattern).struct.unnest().cast(pl.Int64)
    return parts.to_series(0), parts.to_series(1)
