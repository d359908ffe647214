"""Gaps: found by the file's own rhythm; nights, weekends and clocks that are set are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.importing.gaps import Gaps, find_gaps
from stratsweep_server.market_data.timezones import times_of_local

MINUTE = 60 * 10**9
HOUR, DAY = 60 * MINUTE, 1440 * MINUTE
WEEK = 7 * DAY
NEW_YORK = "America/New_York"
MONDAY = 19_723 * DAY  # 2024-01-01
OPENING, CLOSING = 570 * MINUTE, 960 * MINUTE  # 9:30, 16:00


def gaps_of(time: np.ndarray, timezone: str = UTC) -> Gaps:
    ones = np.ones(len(time))
    return find_gaps(Bars("X", time, ones, ones, ones, ones, ones, timezone=timezone))


def sessions(day_count: int, step: int, opening: int = OPENING, closing: int = CLOSING):
    """Times on weekdays, from Monday on."""
    days = [day for day in range(day_count) if day % 7 < 5]
    return np.concatenate([MONDAY + day * DAY + np.arange(opening, closing, step) for day in days])


def currencies(day_count: int, step: int):
    """Times from Sunday 22:00 to Friday 22:00."""
    time = np.arange(MONDAY, MONDAY + day_count * DAY, step)
    return time[(time - MONDAY + 2 * HOUR) % WEEK < 5 * DAY]


WHOLE = {
    "minutes of a stock": sessions(60, MINUTE),
    "hours of a stock": sessions(90, HOUR),
    "minutes of a currency": currencies(60, 15 * MINUTE),
    "round the clock": np.arange(MONDAY, MONDAY + 40 * DAY, 5 * MINUTE),
    "weekdays": sessions(400, DAY),
    "every day": np.arange(MONDAY, MONDAY + 300 * DAY, DAY),
    "weeks": np.arange(MONDAY, MONDAY + 300 * DAY, WEEK),
    "minutes of a fortnight": sessions(11, MINUTE),
    "days of a fortnight": sessions(12, DAY),
    "hours of two days": np.arange(MONDAY, MONDAY + 2 * DAY, HOUR),
    "one bar": np.array([MONDAY]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_keeps_to_its_rhythm_has_no_gap(name):
    assert len(gaps_of(WHOLE[name]).firsts) == 0


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "one bar"])
def test_bars_that_are_missing_within_a_session_are_one_gap(name):
    time = WHOLE[name]
    middle = len(time) // 2
    while time[middle + 3] - time[middle - 1] > 4 * (time[1] - time[0]):
        middle -= 1  # such as over a weekend
    gaps = gaps_of(np.delete(time, [middle, middle + 1, middle + 2]))
    if name == "days of a fortnight":
        assert len(gaps.firsts) == 0  # it may as well be a holiday or a weekend
        return
    assert gaps.rhythm == gaps.shortest == time[1] - time[0]
    assert gaps.firsts.tolist() == [middle - 1]
    assert gaps.missing.tolist() == [3 * gaps.rhythm]


def test_a_holiday_is_a_gap_of_its_session():
    time = sessions(60, MINUTE)
    gaps = gaps_of(time[(time - MONDAY) // DAY != 30])
    assert gaps.missing.tolist() == [CLOSING - OPENING]


def test_in_a_short_file_a_weekday_without_bars_is_a_gap():
    time = sessions(14, MINUTE)
    gaps = gaps_of(time[(time - MONDAY) // DAY != 8])
    assert gaps.missing.tolist() == [CLOSING - OPENING]


def test_a_short_file_that_begins_and_ends_within_a_day_is_dense():
    time = np.arange(MONDAY + 20 * HOUR, MONDAY + 4 * DAY + 2 * HOUR, MINUTE)
    gaps = gaps_of(np.delete(time, np.arange(2000, 2060)))
    assert gaps.shortest == MINUTE
    assert gaps.missing.tolist() == [HOUR]


def test_many_weeks_without_bars_are_one_gap_of_as_many_sessions():
    time = sessions(200, HOUR)
    day = (time - MONDAY) // DAY
    gaps = gaps_of(time[(day < 58) | (day >= 100)])
    assert len(gaps.firsts) == 1
    assert gaps.missing[0] == 30 * 7 * HOUR


def test_the_longest_gap_is_first():
    time = np.arange(MONDAY, MONDAY + 40 * DAY, HOUR)
    gaps = gaps_of(np.delete(time, [100, 200, 201, 300]))
    assert gaps.missing.tolist() == [2 * HOUR, HOUR, HOUR]
    assert gaps.firsts.tolist() == [198, 99, 296]


@pytest.mark.parametrize("timezone", [UTC, NEW_YORK])
def test_clocks_that_are_set_make_no_gap_whether_the_zone_is_named_or_not(timezone):
    time = times_of_local(sessions(360, 30 * MINUTE), NEW_YORK).time
    assert len(gaps_of(time, timezone).firsts) == 0
    round_the_clock = np.arange(MONDAY, MONDAY + 360 * DAY, HOUR)
    assert len(gaps_of(round_the_clock, timezone).firsts) == 0


def test_a_session_that_grows_longer_makes_no_gap():
    time = np.concatenate([sessions(98, HOUR), sessions(98, HOUR, 4 * HOUR, 20 * HOUR) + 98 * DAY])
    assert len(gaps_of(time).firsts) == 0


def test_bars_that_are_there_only_where_something_was_traded_have_long_gaps_alone():
    time = np.arange(MONDAY, MONDAY + 60 * DAY, MINUTE)
    time = time[np.random.default_rng(1).random(len(time)) < 0.2]
    assert 5 * MINUTE < gaps_of(time).shortest <= HOUR
    gone = MONDAY + 30 * DAY
    gaps = gaps_of(time[(time < gone) | (time > gone + 6 * HOUR)])
    assert 5 * HOUR <= gaps.missing[0] <= 6 * HOUR


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=40, unique=True), st.booleans())
def test_any_times_are_looked_at(times, is_zoned):
    gaps = gaps_of(np.array(sorted(times)), NEW_YORK if is_zoned else UTC)
    assert (gaps.missing > 0).all()
    assert (gaps.firsts < len(times) - 1).all()
