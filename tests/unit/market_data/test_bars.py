"""Bars: saving and mapping, selecting by date, merging times."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from stratsweep_server.market_data.bars import (
    Bars,
    BarsHeader,
    combined_time,
    date_of,
    header_of,
    map_bars,
    periods_per_year,
    write_bars,
)

DAY = 86_400 * 10**9
NEW_YORK = "America/New_York"
COLUMNS = ("time", "open", "high", "low", "close", "volume")

ascending_times = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30, unique=True).map(
    lambda times: np.array(sorted(times), dtype=np.int64)
)
days = st.dates(date(1900, 1, 1), date(2200, 1, 1))


def bars_at(time: np.ndarray) -> Bars:
    prices = 1.0 + np.arange(len(time))
    return Bars("X", time, prices, prices, prices, prices, np.full(len(time), np.nan))


@given(ascending_times, st.data())
def test_saved_bars_come_back_bit_for_bit_and_read_only(time, data):
    columns = [data.draw(npst.arrays(np.float64, len(time))) for _ in COLUMNS[1:]]
    bars = Bars("X", time, *columns, timezone="Asia/Tokyo", warm_up_count=1)
    other = bars_at(np.arange(3))
    with tempfile.TemporaryFile(buffering=0) as file:
        write_bars(file, [other, bars, other])
        headers = {"A": header_of(other), "X": header_of(bars), "B": header_of(other)}
        mapped = map_bars(file.fileno(), headers)
    assert list(mapped) == ["A", "X", "B"]
    assert (mapped["X"].timezone, mapped["X"].warm_up_count) == ("Asia/Tokyo", 1)
    for symbol, written in (("A", other), ("X", bars), ("B", other)):
        for name in COLUMNS:
            before, after = getattr(written, name), getattr(mapped[symbol], name)
            assert after.dtype == before.dtype
            assert after.tobytes() == before.tobytes()
            assert not after.flags.writeable


def test_mapped_bars_are_not_copied():
    with tempfile.TemporaryFile(buffering=0) as file:
        write_bars(file, [bars_at(np.arange(3))])
        first, second = (map_bars(file.fileno(), {"X": BarsHeader(3)})["X"] for _ in range(2))
        file.seek(3 * 8)
        file.write(np.array([7.0]).tobytes())
    assert first.open[0] == second.open[0] == 7.0


@given(
    st.lists(days, min_size=1, unique=True),
    st.none() | days,
    st.none() | days,
    st.integers(0, DAY - 1),
)
def test_dates_select_whole_days_with_both_ends(bar_days, start, end, time_of_day):
    time = np.array([(day - date(1970, 1, 1)).days * DAY + time_of_day for day in sorted(bar_days)])
    selected = bars_at(time).between(start, end)
    expected = [
        day for day in sorted(bar_days) if (not start or day >= start) and (not end or day <= end)
    ]
    assert [date_of(instant) for instant in selected.time] == expected


def test_the_first_and_the_last_nanosecond_belong_to_the_day():
    time = np.array([DAY - 1, DAY, 2 * DAY - 1, 2 * DAY])
    selected = bars_at(time).between(date(1970, 1, 2), date(1970, 1, 2))
    assert selected.time.tolist() == [DAY, 2 * DAY - 1]


def test_dates_are_days_of_the_bars_zone_also_when_clocks_are_set():
    hours = np.arange(np.datetime64("2024-03-09", "h"), np.datetime64("2024-03-13", "h"))
    bars = replace(bars_at(hours.astype("datetime64[ns]").astype(np.int64)), timezone=NEW_YORK)
    selected = bars.between(date(2024, 3, 10), date(2024, 3, 11))
    first, last = selected.time[[0, -1]].astype("datetime64[ns]").astype("datetime64[h]")
    assert (str(first), str(last)) == ("2024-03-10T05", "2024-03-12T03")
    assert len(selected) == 23 + 24
    assert selected.timezone == NEW_YORK
    assert date_of(selected.time[0] - 1, NEW_YORK) == date(2024, 3, 9)
    assert date_of(selected.time[0], NEW_YORK) == date(2024, 3, 10)


@pytest.mark.parametrize("timezone", ["UTC", NEW_YORK])
@pytest.mark.parametrize(("asked", "given"), [(0, 0), (1, 1), (3, 2)])
def test_bars_before_the_first_day_are_counted_as_warm_up(timezone, asked, given):
    bars = replace(bars_at(DAY * np.arange(5) + DAY // 2), timezone=timezone)
    selected = bars.between(date(1970, 1, 3), date(1970, 1, 4), asked)
    assert selected.warm_up_count == given
    assert selected.after_warm_up().close.tolist() == [3.0, 4.0]
    assert selected.after_warm_up().warm_up_count == 0
    assert len(selected) == given + 2


def test_dates_beyond_what_nanoseconds_hold_are_no_limit():
    bars = bars_at(np.array([0, DAY]))
    assert len(bars.between(date.min, date.max)) == 2
    assert len(bars.between(date.max, None)) == 0
    assert len(bars.between(None, date.min)) == 0


def test_selecting_copies_nothing():
    bars = bars_at(np.arange(10) * DAY)
    selected = bars.between(date(1970, 1, 3), date(1970, 1, 5))
    assert np.shares_memory(selected.close, bars.close)
    assert selected.close.tolist() == [3.0, 4.0, 5.0]


@given(st.lists(ascending_times, min_size=1, max_size=4))
def test_the_combined_time_has_each_time_of_any_symbol_once_in_order(times):
    combined = combined_time([bars_at(time) for time in times])
    assert combined.dtype == np.int64
    assert combined.tolist() == sorted({instant for time in times for instant in time.tolist()})


def test_read_only_bars_cannot_be_written_to():
    bars = bars_at(np.arange(3))
    bars.make_read_only()
    with pytest.raises(ValueError, match="read-only"):
        bars.between(None, None).close[0] = 1.0


def test_seven_days_a_week_are_365_periods_per_year():
    assert periods_per_year(np.arange(1000) * DAY) == pytest.approx(365.25)


def test_the_day_of_a_time_is_the_utc_day_before_1970_too():
    assert date_of(-1) == date(1969, 12, 31)
    assert date_of(0) == date(1970, 1, 1)
    assert date_of(DAY * 365) == date(1970, 1, 1) + timedelta(days=365)
