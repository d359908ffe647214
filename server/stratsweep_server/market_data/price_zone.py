"""Put the times of a price file into the zone that it does not name.

Times without a zone are local times of the zone that the caller names. Files of daily bars, whose
times all are midnight, have dates: these stay what they are, in whichever zone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import UTC
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.price_times import FileTimes
from stratsweep_server.market_data.timezones import times_of_local

_DAY = 86_400 * 10**9


def in_timezone(
    table: PriceTable, times: FileTimes, timezone: str
) -> tuple[NDArray[np.int64], str]:
    """Return the times in UTC, and the name of the zone whose days the bars are of.

    Rows are reported as bad where clocks there never showed their time, or showed it twice, and the
    order of the file does not tell which is meant.

    Args:
        table: Where the times are from.
        times: As the file has them; those of rows that were reported mean nothing.
        timezone: IANA name of the zone of times without one.
    """
    if timezone == UTC:
        return times.nanoseconds, UTC
    rows = table.bad_rows.without("time")
    written = times.nanoseconds[rows]
    if (written % _DAY == 0).all():
        return times.nanoseconds, UTC
    if not times.are_local:
        return times.nanoseconds, timezone
    converted = times_of_local(written, timezone)
    time, is_skipped, is_ambiguous = times.nanoseconds.copy(), *np.zeros((2, len(table)), bool)
    time[rows], is_skipped[rows] = converted.time, converted.is_skipped
    is_ambiguous[rows] = converted.is_ambiguous
    table.bad_rows.report(
        is_skipped,
        lambda index: (
            f"there was no {shown(times.nanoseconds[index])} in {timezone}, where clocks were set "
            "forward over it"
        ),
        "correct the time, or name the zone that it is of",
        "time",
    )
    table.bad_rows.report(
        is_ambiguous,
        lambda index: (
            f"{shown(times.nanoseconds[index])} was twice in {timezone}, where clocks were set "
            "back, and the rows around it do not tell which is meant"
        ),
        "write times with their zone, or delete such rows",
        "time",
    )
    return time, timezone


def shown(nanoseconds: np.int64) -> str:
    """Write a time as text, to the second."""
    return str(nanoseconds.astype("datetime64[ns]"))[:19]
