"""Daily bars of several symbols: which are daily, and what they are aligned to."""

from __future__ import annotations

import numpy as np
import pytest
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.daily_bars import aligned_by_date

NEW_YORK = "America/New_York"
WEEK = [f"2024-03-{day:02}" for day in (6, 7, 8, 11, 12)]  # clocks were set forward on the 10th


def bars_at(*times: str, timezone: str = "UTC", warm_up_count: int = 0) -> Bars:
    time = np.array(times, dtype="datetime64[ns]").astype(np.int64)
    prices = 1.0 + np.arange(len(times))
    columns = [prices] * 5
    return Bars("X", time, *columns, timezone=timezone, warm_up_count=warm_up_count)


def stamped(clock: str, days: list[str] = WEEK, **options) -> Bars:
    return bars_at(*(f"{day}T{clock}" for day in days), **options)


def times(bars: Bars) -> list[str]:
    return [str(each)[:16] for each in bars.time.astype("datetime64[ns]")]


MIDNIGHTS = times(stamped("00:00"))
CLOSES = bars_at(
    *(f"{day}T21:00" for day in WEEK[:3]), *(f"{day}T20:00" for day in WEEK[3:]), timezone=NEW_YORK
)
TOKYO = bars_at(*(f"2024-03-{day:02}T15:00" for day in (5, 6, 7, 10, 11)), timezone="Asia/Tokyo")


@pytest.mark.parametrize("other", [stamped("05:00"), stamped("16:00"), CLOSES, TOKYO])
def test_daily_bars_stamped_at_any_hour_count_as_of_their_dates(other):
    first, second = aligned_by_date([stamped("00:00"), other])
    assert times(first) == times(second) == MIDNIGHTS
    assert first.timezone == second.timezone == "UTC"
    assert second.close is other.close


def test_the_warm_up_stays_what_it_was():
    _, second = aligned_by_date([stamped("00:00"), stamped("05:00", warm_up_count=2)])
    assert second.warm_up_count == 2


def test_one_symbol_alone_stays_as_it_is():
    bars = stamped("05:00")
    assert aligned_by_date([bars]) == (bars,)
    assert aligned_by_date([]) == ()


@pytest.mark.parametrize(
    "intraday",
    [
        bars_at("2024-03-06T10:00", "2024-03-06T15:00", "2024-03-07T10:00"),
        bars_at("2024-03-06T23:00", "2024-03-07T00:00"),
        bars_at("2024-03-06T01:00", "2024-03-06T10:00", timezone=NEW_YORK),
    ],
)
def test_where_one_symbol_has_bars_within_the_day_each_bar_counts_at_its_own_time(intraday):
    daily = stamped("05:00")
    assert aligned_by_date([daily, intraday]) == (daily, intraday)
    assert aligned_by_date([intraday, daily]) == (intraday, daily)


def test_a_single_bar_and_bars_of_weeks_are_aligned_too():
    weekly = stamped("05:00", ["2024-03-06", "2024-03-13", "2024-03-20"])
    single = bars_at("2024-03-06T16:00")
    aligned = aligned_by_date([weekly, single])
    assert [times(each)[0] for each in aligned] == ["2024-03-06T00:00"] * 2
