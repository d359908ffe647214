"""Convert times by IANA time zones: local times to UTC, the days of times, and when days begin.

The rules are those that polars carries, so that they are the same on every machine.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal
from zoneinfo import available_timezones

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.errors import UnknownTimezoneError

_DAY = 86_400 * 10**9
_MINUTE_MICROSECONDS = 60 * 10**6
# Samoa went without a whole day when it moved over the date line.
_LONGEST_GAP_MINUTES = 26 * 60
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class LocalTimes:
    """Hold local times as UTC, and mark those for which no UTC time can be told.

    Attributes:
        time: int64, nanoseconds since 1970-01-01 UTC.
        is_skipped: Whether clocks never showed a time, since they were set forward.
        is_ambiguous: Whether clocks showed it twice, since they were set back, and the order of the
            times does not tell which is meant.
    """

    time: NDArray[np.int64]
    is_skipped: NDArray[np.bool_]
    is_ambiguous: NDArray[np.bool_]


def check_timezone(name: str) -> None:
    """Refuse a text that is no time zone.

    Raises:
        UnknownTimezoneError: It is none; the names that are most like it are suggested.
    """
    if name == "UTC":  # which most servers start with, and polars takes 20 ms for its first answer
        return
    try:
        # polars takes offsets such as +02:00, too, which are no names.
        is_name = name[:1].isalpha() and len(name) <= _LONGEST_NAME
        _in_zone(pl.Series([0], dtype=pl.Datetime("us")), name if is_name else "?", "earliest")
    except pl.exceptions.PolarsError as error:
        raise UnknownTimezoneError(name, _nearest(name[:_LONGEST_NAME])) from error


def day_numbers(time: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Return the local day of each time, as days since 1970-01-01.

    Args:
        time: int64, nanoseconds since 1970-01-01 UTC.
        timezone: A name that is known.
    """
    return local_of_times(time, timezone) // _DAY


def local_of_times(time: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Return what clocks of a zone show: int64, nanoseconds from 1970-01-01 00:00 by these clocks.

    Args:
        time: int64, nanoseconds since 1970-01-01 UTC.
        timezone: A name that is known.
    """
    local = pl.Series(time).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(timezone)
    return local.dt.replace_time_zone(None).to_physical().to_numpy()


def begin_of_day(day_number: int, timezone: str) -> int:
    """Return when a local day begins, in nanoseconds since 1970-01-01 UTC.

    That is midnight, or the first time after it where clocks were set forward at midnight.

    Args:
        day_number: Days since 1970-01-01, within the years 1 to 9999.
        timezone: A name that is known.
    """
    minutes = day_number * 24 * 60 + np.arange(_LONGEST_GAP_MINUTES)
    local = pl.Series(minutes * _MINUTE_MICROSECONDS).cast(pl.Datetime("us"))
    return 1000 * int(_in_zone(local, timezone, "earliest").drop_nulls().to_physical()[0])


def times_of_local(local: NDArray[np.int64], timezone: str) -> LocalTimes:
    """Convert what clocks showed to UTC.

    When clocks are set back, they show an hour twice. Which one a time is of follows from the order
    of the times, where these go back once between those of one night and go on afterwards.

    Args:
        local: int64, nanoseconds from 1970-01-01 00:00 by the clocks of the zone; ascending or
            descending as far as clocks are.
        timezone: A name that is known.
    """
    series = pl.Series(local).cast(pl.Datetime("ns"))
    converted = _in_zone(series, timezone, "null")
    places = np.flatnonzero(converted.is_null().to_numpy())
    time = converted.to_physical().fill_null(0).to_numpy()
    is_skipped, is_ambiguous = np.zeros((2, len(local)), dtype=bool)
    if len(places):
        earlier, later = (
            _in_zone(series.gather(places), timezone, which) for which in ("earliest", "latest")
        )
        is_real = earlier.is_not_null().to_numpy()
        is_skipped[places[~is_real]] = True
        twice = places[is_real]
        is_later, is_told = _by_order(twice, local)
        options = [each.to_physical().drop_nulls().to_numpy() for each in (earlier, later)]
        time = time.copy()
        time[twice] = np.where(is_later, options[1], options[0])
        is_ambiguous[twice] = ~is_told
    return LocalTimes(time, is_skipped, is_ambiguous)


def _by_order(
    places: NDArray[np.int64], local: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which of the times that clocks showed twice are later ones, and whether order says so.

    Args:
        places: Of such times, ascending.
        local: All times.
    """
    direction = np.sign(np.diff(local))
    if direction.any() and not direction.sum():  # three times of one night may be either way round
        return np.zeros(len(places), dtype=bool), np.zeros(len(places), dtype=bool)
    if direction.sum() < 0:
        is_later, is_told = _by_order(len(local) - 1 - places[::-1], local[::-1])
        return is_later[::-1], is_told[::-1]
    steps = np.diff(local[places], prepend=0)
    is_new_night = (np.diff(places, prepend=-2) != 1) | (np.abs(steps) > _DAY // 2)
    goes_back = ~is_new_night & (steps <= 0)
    night = np.cumsum(is_new_night) - 1
    back_count = np.cumsum(goes_back)
    before_night = back_count[is_new_night]
    is_told = np.bincount(night, goes_back) > 0
    return back_count > before_night[night], is_told[night]


def _in_zone(
    local: pl.Series, timezone: str, ambiguous: Literal["earliest", "latest", "null"]
) -> pl.Series:
    return local.dt.replace_time_zone(timezone, ambiguous=ambiguous, non_existent="null")


def _nearest(name: str) -> tuple[str, ...]:
    """Return up to three names that are most like a text; none on a machine that lists no zones."""
    by_text: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        by_text.setdefault(zone.rpartition("/")[2].casefold(), zone)
        by_text[zone.casefold()] = zone
    close = difflib.get_close_matches(name.casefold().replace(" ", "_"), by_text, n=3)
    return tuple(dict.fromkeys(by_text[text] for text in close))
