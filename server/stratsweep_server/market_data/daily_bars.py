"""Align daily bars of several symbols by date: vendors stamp the same day at different hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stratsweep_server.market_data.bars import UTC, Bars, day_numbers

_HOUR = 3600 * 10**9
_DAY = 24 * _HOUR
# Days are shorter where clocks are set forward, and where an exchange closes early.
_SHORTEST_DAY = 20 * _HOUR


def aligned_by_date(bars: Sequence[Bars]) -> tuple[Bars, ...]:
    """Put the bars of several symbols at midnight UTC of their dates, if they all are daily.

    Else a day that one file has at 00:00 and another at 05:00 would be two periods of the
    portfolio, in each of which only a part of it moves. One symbol alone stays as it is, and so do
    all where one has bars within the day: then each bar counts at its own time.

    Args:
        bars: Of each symbol; daily are those that are a day or more apart, at most one on each day
            of their zone.
    """
    if len(bars) < 2:
        return tuple(bars)
    dates = [day_numbers(each.time, each.timezone) for each in bars]
    for each, days in zip(bars, dates, strict=True):
        is_daily = (np.diff(days) > 0).all()
        if not is_daily or (len(each) > 1 and np.median(np.diff(each.time)) < _SHORTEST_DAY):
            return tuple(bars)
    return tuple(
        replace(each, time=days * _DAY, timezone=UTC)
        for each, days in zip(bars, dates, strict=True)
    )
