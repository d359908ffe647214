"""Read numbers in the time column of a price file: the digits of a date, or a count since 1970.

- YYYYMMDD, and with the hour, minute, second and millisecond after it as far as there are any, is a
  date where at least half of the file's numbers are valid ones. Few counts look like that: seconds
  from 2030 to 2036, milliseconds in 1976. Where all of them are whole minutes then, as counts of
  bars are and digits hardly ever, it could be both.
- A count is of seconds, milliseconds, microseconds or nanoseconds, each row's by itself, since
  vendors changed the unit in the middle of a file: the one that makes it a time from 1900 to 2099,
  but for 1967 to 1973. Times from then are small numbers, which may be of a larger unit, or none
  at all; they are taken for such times in a file whose usual unit makes others that are near.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Integers: TypeAlias = NDArray[np.int64]
_Floats: TypeAlias = NDArray[np.float64]
_Bools: TypeAlias = NDArray[np.bool_]

NOT_A_TIME = np.iinfo(np.int64).min
"""In place of a time that is not understood, as in numpy's datetime64."""

_SECOND = 10**9
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, 86_400 * _SECOND

# A year, month and day, then two digits for each smaller unit, three for milliseconds.
_DIGIT_COUNTS = (8, 10, 12, 14, 17)
_YEARS, _YEARS_WITH_HOURS = (1678, 2261), (1900, 2099)

# Nanoseconds in a count's units, and the seconds since 1970 that counts are from and until, but for
# those near zero: so no number is a count of two units.
_UNITS = (10**9, 10**6, 10**3, 1)
_FIRST_SECOND, _END_SECOND, _NEAR_ZERO = -2_208_988_800, 4_102_444_800, 10**8
_LONGEST_GAP = 366 * _DAY


@dataclass(frozen=True, slots=True)
class TimeNumbers:
    """Hold a time column's numbers; where there is none, the values mean nothing.

    Attributes:
        is_number: Whether a row has a number.
        whole: Its largest integer that is not above it.
        fraction: What the number is above that, 0 to 1.
    """

    is_number: _Bools
    whole: _Integers
    fraction: _Floats


@dataclass(frozen=True, slots=True)
class NumberTimes:
    """Hold the times that numbers are.

    Attributes:
        nanoseconds: Since 1970-01-01; `NOT_A_TIME` where a row has none.
        are_dates: Whether they are read as digits of dates, not as counts.
        counts: What they would be as counts, where all of them could be those as well; else None.
    """

    nanoseconds: _Integers
    are_dates: bool
    counts: _Integers | None = None


def times_of_numbers(numbers: TimeNumbers) -> NumberTimes:
    """Read numbers as dates or as counts, whichever the file's numbers are."""
    dates = _dates(numbers)
    is_date = dates != NOT_A_TIME
    counts = _counts(numbers)
    if 2 * is_date.sum() < max(numbers.is_number.sum(), 1):
        return NumberTimes(counts, are_dates=False)
    could_be_both = (counts != NOT_A_TIME) & (counts % _MINUTE == 0)
    return NumberTimes(
        dates, are_dates=True, counts=counts if could_be_both[is_date].all() else None
    )


def _dates(numbers: TimeNumbers) -> _Integers:
    times = np.full(len(numbers.whole), NOT_A_TIME)
    for count in _DIGIT_COUNTS:
        rows = numbers.is_number & (numbers.whole >= 10 ** (count - 1))
        rows = np.flatnonzero(rows & (numbers.whole < 10**count))
        if len(rows):
            times[rows] = _dates_of(numbers.whole[rows], numbers.fraction[rows], count)
    return times


def _dates_of(digits: _Integers, fraction: _Floats, count: int) -> _Integers:
    """Return what numbers of so many digits are as dates; `NOT_A_TIME` where they are none."""
    is_valid = (fraction == 0) | (count == 14)
    since_midnight = np.round(fraction * _SECOND).astype(np.int64)
    if count == 17:
        digits, milliseconds = np.divmod(digits, 1000)
        since_midnight += milliseconds * 10**6
    for limit, unit in ((60, _SECOND), (60, _MINUTE), (24, _HOUR))[max(0, (14 - count) // 2) :]:
        digits, part = np.divmod(digits, 100)
        is_valid &= part < limit
        since_midnight += part * unit
    digits, day = np.divmod(digits, 100)
    year, month = np.divmod(digits, 100)
    first_year, last_year = _YEARS if count == 8 else _YEARS_WITH_HOURS
    is_valid &= (first_year <= year) & (year <= last_year) & (month >= 1) & (month <= 12)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    first_day, next_month = (
        (months + later).astype("datetime64[D]").astype(np.int64) for later in (0, 1)
    )
    is_valid &= (day >= 1) & (day <= next_month - first_day)
    return np.where(is_valid, (first_day + day - 1) * _DAY + since_midnight, NOT_A_TIME)


def _counts(numbers: TimeNumbers) -> _Integers:
    times = np.full(len(numbers.whole), NOT_A_TIME)
    units = np.zeros(len(numbers.whole), dtype=np.int64)
    magnitude = np.abs(numbers.whole)
    for unit in _UNITS:
        per_second = _SECOND // unit
        rows = numbers.is_number & (magnitude >= _NEAR_ZERO * per_second)
        rows &= numbers.whole >= _FIRST_SECOND * per_second
        rows &= numbers.whole < _END_SECOND * per_second
        times[rows] = _nanoseconds(numbers, rows, unit)
        units[rows] = unit
        if rows.all():
            return times
    usual = max(_UNITS, key=lambda unit: np.count_nonzero(units == unit))
    bound = _NEAR_ZERO * _SECOND // usual
    near_zero = numbers.is_number & (units != usual)
    near_zero &= (numbers.whole > -bound) & (numbers.whole < bound)
    if near_zero.any() and (units == usual).any():
        same_series = _nanoseconds(numbers, near_zero, usual)
        goes_on = _go_on(same_series, np.sort(times[units == usual]))
        times[near_zero] = np.where(goes_on, same_series, times[near_zero])
    return times


def _nanoseconds(numbers: TimeNumbers, rows: _Bools, unit: int) -> _Integers:
    fraction = np.round(numbers.fraction[rows] * unit).astype(np.int64)
    times: _Integers = numbers.whole[rows] * unit + fraction
    return times


def _go_on(near_zero: _Integers, others: _Integers) -> _Bools:
    """Return whether times near 1970 are of one series with others: some, in ascending order."""
    places = np.searchsorted(others, near_zero)
    after = others[np.minimum(places, len(others) - 1)]
    before = others[np.maximum(places - 1, 0)]
    distance = np.minimum(np.abs(after - near_zero), np.abs(near_zero - before))
    near: _Bools = distance <= _NEAR_ZERO * _SECOND + _LONGEST_GAP
    return near
