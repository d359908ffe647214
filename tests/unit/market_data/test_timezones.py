"""Time zones: names, local times to UTC, the days of times, and when days begin."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data import timezones
from stratsweep_server.market_data.errors import UnknownTimezoneError
from stratsweep_server.market_data.timezones import (
    begin_of_day,
    check_timezone,
    day_numbers,
    times_of_local,
)

NEW_YORK = "America/New_York"
ZONES = [NEW_YORK, "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe", "America/St_Johns", "UTC"]
EPOCH = dt.date(1970, 1, 1).toordinal()

instants = st.datetimes(
    dt.datetime.fromisoformat("1975-01-01"), dt.datetime.fromisoformat("2037-01-01")
)


def nanoseconds(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[ns]").astype(np.int64)


def iso(time: np.ndarray) -> list[str]:
    return [str(instant)[:16] for instant in time.astype("datetime64[ns]")]


def begin(day: str, zone: str) -> str:
    [text] = iso(np.array([begin_of_day(dt.date.fromisoformat(day).toordinal() - EPOCH, zone)]))
    return text


@pytest.mark.parametrize("name", ["America/New_York", "UTC", "Europe/Kyiv", "Etc/GMT+5", "EST"])
def test_names_of_the_time_zone_database_are_known(name):
    check_timezone(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("America/New_Yrok", "America/New_York"),
        ("america/new_york", "America/New_York"),
        ("New York", "America/New_York"),
        ("tokyo", "Asia/Tokyo"),
    ],
)
def test_a_name_that_is_unknown_is_told_the_nearest(name, nearest):
    with pytest.raises(UnknownTimezoneError, match="is not a time zone") as caught:
        check_timezone(name)
    assert caught.value.nearest[0] == nearest
    assert nearest in str(caught.value)


@pytest.mark.parametrize("name", ["", "+02:00", "Mars/Olympus", "a\0b", "x" * 1_000_000, "é" * 90])
def test_what_is_no_name_of_a_zone_is_refused_in_few_words(name):
    with pytest.raises(UnknownTimezoneError) as caught:
        check_timezone(name)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_a_machine_that_lists_no_zones_suggests_none(monkeypatch):
    monkeypatch.setattr(timezones, "available_timezones", set)
    with pytest.raises(UnknownTimezoneError, match="such as America/New_York"):
        check_timezone("America/New_Yrok")


@given(st.lists(instants, min_size=1, max_size=20, unique=True), st.sampled_from(ZONES))
def test_local_times_go_to_utc_as_the_zone_database_has_it(times, zone):
    utc = [ZoneInfo(zone).fromutc(time.replace(tzinfo=ZoneInfo(zone))) for time in sorted(times)]
    clear = [time for time in utc if time.replace(fold=0).utcoffset() == time.utcoffset()]
    clear = [time for time in clear if time.replace(fold=1).utcoffset() == time.utcoffset()]
    local = np.array([time.replace(tzinfo=None) for time in clear], dtype="datetime64[ns]")
    converted = times_of_local(local.astype(np.int64), zone)
    assert converted.time.tolist() == [_nanoseconds(time) for time in clear]
    assert not (converted.is_skipped | converted.is_ambiguous).any()


def _nanoseconds(time: dt.datetime) -> int:
    since = time.astimezone(dt.UTC) - dt.datetime.fromtimestamp(0, dt.UTC)
    return since // dt.timedelta(microseconds=1) * 1000


def test_a_time_that_clocks_never_showed_is_marked():
    local = nanoseconds("2024-03-10 01:59", "2024-03-10 02:30", "2024-03-10 03:00")
    converted = times_of_local(local, NEW_YORK)
    assert converted.is_skipped.tolist() == [False, True, False]
    assert not converted.is_ambiguous.any()
    assert iso(converted.time[::2]) == ["2024-03-10T06:59", "2024-03-10T07:00"]


NIGHT = [f"2024-11-03 {clock}" for clock in ("00:30", "01:00", "01:30", "01:00", "01:30", "02:00")]
NIGHT_UTC = [f"2024-11-03T{clock}" for clock in ("04:30", "05:00", "05:30", "06:00", "06:30")]


@pytest.mark.parametrize("step", [1, -1])
def test_the_order_tells_the_hour_that_clocks_show_twice(step):
    converted = times_of_local(nanoseconds(*NIGHT)[::step], NEW_YORK)
    assert iso(converted.time)[::step] == [*NIGHT_UTC, "2024-11-03T07:00"]
    assert not converted.is_ambiguous.any()


def test_the_same_time_twice_is_the_hour_before_and_the_hour_after():
    converted = times_of_local(nanoseconds(*["2024-11-03 01:00"] * 2, "2024-11-03 02:00"), NEW_YORK)
    assert iso(converted.time) == ["2024-11-03T05:00", "2024-11-03T06:00", "2024-11-03T07:00"]


@pytest.mark.parametrize("minutes", [(59, 30, 31), (31, 30, 59)])
def test_three_times_of_one_night_that_may_be_either_way_round_are_marked(minutes):
    local = nanoseconds(*(f"2024-11-03 01:{minute}" for minute in minutes))
    assert times_of_local(local, NEW_YORK).is_ambiguous.all()


@pytest.mark.parametrize("step", [1, -1])
def test_a_file_that_begins_and_ends_in_the_night_is_told_by_its_order(step):
    night = ["2024-11-03 01:58", "2024-11-03 01:59", "2024-11-03 01:00", "2024-11-03 01:01"]
    converted = times_of_local(nanoseconds(*night)[::step], NEW_YORK)
    hours = [text[11:] for text in iso(converted.time)[::step]]
    assert hours == ["05:58", "05:59", "06:00", "06:01"]


@pytest.mark.parametrize("step", [1, -1])
def test_an_hour_that_is_there_once_of_two_is_marked_in_each_year(step):
    years = ["2022-11-06 01:00", "2022-11-06 01:30", "2023-11-05 01:00", "2023-11-05 01:00"]
    local = nanoseconds(*years, *NIGHT, "2025-11-02 01:30")
    converted = times_of_local(local[::step], NEW_YORK)
    marked = [True, True, *[False] * (2 + len(NIGHT)), True]
    assert converted.is_ambiguous.tolist()[::step] == marked


AUTUMN_NIGHTS = [
    (NEW_YORK, "2024-11-03T04"),
    ("Europe/London", "2024-10-26T23"),
    ("Australia/Lord_Howe", "2024-04-06T13"),
    ("America/St_Johns", "2009-11-01T01"),
]


def local_of(utc: np.ndarray, zone: str) -> np.ndarray:
    instants = pl.Series(utc).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone)
    return instants.dt.replace_time_zone(None).to_physical().to_numpy()


@given(
    st.sampled_from(AUTUMN_NIGHTS),
    st.lists(st.integers(0, 240), min_size=1, unique=True),
    st.sampled_from([1, -1]),
)
def test_what_is_read_of_a_night_is_what_was_written_or_is_marked(night, minutes, step):
    zone, begin = night
    utc = nanoseconds(begin)[0] + 60 * 10**9 * np.array(sorted(minutes))[::step]
    converted = times_of_local(local_of(utc, zone), zone)
    is_told = ~converted.is_ambiguous
    assert converted.time[is_told].tolist() == utc[is_told].tolist()
    assert not converted.is_skipped.any()


@pytest.mark.parametrize("zone", ZONES)
def test_whole_years_come_back_from_local_time(zone):
    minutes = np.arange(np.datetime64("2008-01-01"), np.datetime64("2010-01-01"), 10, "<M8[m]")
    utc = minutes.astype("datetime64[ns]").astype(np.int64)
    converted = times_of_local(local_of(utc, zone), zone)
    assert (converted.time == utc).all()
    assert not (converted.is_skipped | converted.is_ambiguous).any()


@given(st.lists(instants, min_size=1, max_size=9), st.sampled_from(ZONES))
def test_days_are_those_of_local_clocks(times, zone):
    local = [time.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)) for time in times]
    numbers = day_numbers(np.array(times, dtype="datetime64[ns]").astype(np.int64), zone)
    assert numbers.tolist() == [time.date().toordinal() - EPOCH for time in local]


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        ("2024-01-02", NEW_YORK, "2024-01-02T05:00"),
        ("2024-07-01", NEW_YORK, "2024-07-01T04:00"),
        ("2024-03-10", NEW_YORK, "2024-03-10T05:00"),
        ("2024-03-11", NEW_YORK, "2024-03-11T04:00"),
        ("2024-01-02", "Asia/Tokyo", "2024-01-01T15:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00"),  # 00:00 became 01:00
        ("2018-02-18", "America/Sao_Paulo", "2018-02-18T03:00"),  # 24:00 became 23:00
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00"),  # there was no such day
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00"),
        ("1969-12-31", "Europe/Berlin", "1969-12-30T23:00"),
    ],
)
def test_a_day_begins_at_midnight_or_where_clocks_go_on(day, zone, expected):
    assert begin(day, zone) == expected


@pytest.mark.parametrize("day", [dt.date.min, dt.date.max])
def test_every_date_has_a_beginning(day):
    microseconds = (day.toordinal() - EPOCH) * 86_400 * 10**6
    found = begin_of_day(day.toordinal() - EPOCH, NEW_YORK)
    assert abs(found // 1000 - microseconds) < 6 * 3600 * 10**6
