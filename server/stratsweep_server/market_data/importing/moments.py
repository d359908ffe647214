"""The times of bars as people read them: by the clocks of the bars' zone, days alone as dates."""

from __future__ import annotations

import numpy as np

from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.timezones import local_of_times

SECOND = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


def are_dates(bars: Bars) -> bool:
    """Return whether bars have dates without a time of day."""
    return bars.timezone == UTC and bool((bars.time % DAY == 0).all())


def moment_text(bars: Bars, time: int) -> str:
    """Write a time of bars, to the minute where it has no seconds: 2024-01-31 15:30.

    Args:
        bars: Say in which zone, and whether a time of day is needed.
        time: Nanoseconds since 1970-01-01 UTC.
    """
    local = local_of_times(np.array([time]), bars.timezone)[0]
    text = str(local.astype("datetime64[ns]")).replace("T", " ")
    if are_dates(bars):
        return text[:10]
    return text[: 16 if local % MINUTE == 0 else 19]


def duration_text(nanoseconds: int) -> str:
    """Write a duration in its largest two units: 3 days 4 h, 15 min."""
    units = (("day", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND))
    parts = []
    for name, unit in units:
        count, nanoseconds = divmod(nanoseconds, unit)
        if count:
            plural = "s" if name == "day" and count > 1 else ""
            parts.append(f"{count:,} {name}{plural}")
    return " ".join(parts[:2]) or "0 s"
