"""Times of price files that name no zone, as local times of one."""

from __future__ import annotations

import datetime as dt
import io

import numpy as np
import polars as pl
import pytest
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.column_names import column_positions, names_utc
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_file import read_price_file

NEW_YORK = "America/New_York"


def bars_of(*texts: str, columns: str = "Date", timezone: str = NEW_YORK) -> Bars:
    lines = [f"{columns};Open;High;Low;Close", *(f"{text};1;1;1;1" for text in texts)]
    return read_price_file("X", "X.csv", "\n".join(lines).encode(), timezone).bars


def parquet_bars(*times: dt.date, timezone: str = NEW_YORK, dtype: object = None) -> Bars:
    prices = {name: [1.0] * len(times) for name in ("open", "high", "low", "close")}
    buffer = io.BytesIO()
    pl.DataFrame({"time": pl.Series(times, dtype=dtype), **prices}).write_parquet(buffer)
    return read_price_file("X", "X.parquet", buffer.getvalue(), timezone).bars


def utc(bars: Bars) -> list[str]:
    return [str(instant)[:16] for instant in bars.time.astype("datetime64[ns]")]


def refusal(*texts: str, timezone: str = NEW_YORK) -> InvalidBarsError:
    with pytest.raises(InvalidBarsError) as caught:
        bars_of(*texts, timezone=timezone)
    return caught.value


@pytest.mark.parametrize(
    ("texts", "columns"),
    [
        (["2024-01-02 09:30", "2024-07-01 09:30"], "Date"),
        (["20240102 093000", "20240701 093000"], "Date"),
        (["20240102093000", "20240701093000"], "Date"),
        (["2024-01-02 09:30 AM", "2024-07-01 09:30 AM"], "Date"),
        (["2024-01-02;09:30", "2024-07-01;09:30"], "Date;Time"),
        (["20240102;930", "20240701;930"], "Date;Time"),
    ],
)
def test_times_without_a_zone_are_local_times(texts, columns):
    bars = bars_of(*texts, columns=columns)
    assert utc(bars) == ["2024-01-02T14:30", "2024-07-01T13:30"]
    assert bars.timezone == NEW_YORK


def test_times_that_parquet_stores_without_a_zone_are_local_times():
    bars = parquet_bars(dt.datetime(2024, 1, 2, 9, 30), dt.datetime(2024, 7, 1, 9, 30))  # noqa: DTZ001
    assert utc(bars) == ["2024-01-02T14:30", "2024-07-01T13:30"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02 09:30-05:00",
        "2024-01-02T14:30:00Z",
        "2024-01-02 15:30:00+01:00",
        "1704205800",
        "1704205800000",
    ],
)
def test_times_with_a_zone_and_counts_since_1970_keep_their_own(text):
    bars = bars_of(text, timezone="Asia/Tokyo")
    assert utc(bars) == ["2024-01-02T14:30"]
    assert bars.timezone == "Asia/Tokyo"


@pytest.mark.parametrize("name", ["Gmt time", "datetime_utc", "UTC", "timestamp (UTC)"])
def test_times_under_a_name_that_says_utc_are_utc(name):
    assert utc(bars_of("2024-01-02 14:30", columns=name)) == ["2024-01-02T14:30"]
    local = bars_of("2024-01-02 09:30", columns="Local time")
    assert utc(local) == ["2024-01-02T14:30"]


def test_a_name_that_says_another_zone_than_utc_says_nothing():
    columns = {"time": "Time (GMT-5)"}
    names = ["Time (GMT-5)", "Open", "High", "Low", "Close"]
    assert not names_utc(names, column_positions(names, columns))


def test_times_that_parquet_stores_with_a_zone_keep_their_own():
    bars = parquet_bars(dt.datetime(2024, 1, 2, 14, 30, tzinfo=dt.UTC), timezone="Asia/Tokyo")
    assert utc(bars) == ["2024-01-02T14:30"]


@pytest.mark.parametrize("timezone", [NEW_YORK, "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-02", "2024-07-01"],
        ["20240102", "20240701"],
        ["2024-01-02 00:00:00", "2024-07-01 00:00:00"],
        ["2024-01-02 00:00:00-05:00", "2024-07-01 00:00:00-04:00"],
        ["1704153600", "1719792000"],
    ],
)
def test_dates_stay_what_they_are_in_any_zone(texts, timezone):
    bars = bars_of(*texts, timezone=timezone)
    assert utc(bars) == ["2024-01-02T00:00", "2024-07-01T00:00"]
    assert bars.timezone == "UTC"


def test_dates_that_parquet_stores_stay_what_they_are_in_any_zone():
    bars = parquet_bars(dt.date(2024, 1, 2), dt.date(2024, 7, 1))
    assert utc(bars) == ["2024-01-02T00:00", "2024-07-01T00:00"]


def test_midnight_among_other_times_is_a_local_time():
    assert utc(bars_of("2024-01-02 00:00", "2024-01-02 12:00")) == [
        "2024-01-02T05:00",
        "2024-01-02T17:00",
    ]


def test_a_time_that_clocks_never_showed_is_refused_with_its_line():
    error = refusal("2024-03-10 01:30", "2024-03-10 02:30", "2024-03-10 03:30")
    assert error.row == 3
    assert "no 2024-03-10T02:30:00 in America/New_York" in str(error)


def test_the_order_of_the_file_tells_the_hour_that_clocks_showed_twice():
    texts = [f"2024-11-03 {clock}" for clock in ("00:30", "01:30", "01:00", "01:30", "02:00")]
    assert [text[-5:] for text in utc(bars_of(*texts))] == [
        "04:30",
        "05:30",
        "06:00",
        "06:30",
        "07:00",
    ]


def test_a_time_that_clocks_showed_twice_is_refused_where_the_order_does_not_tell():
    error = refusal("2024-11-03 00:30", "2024-11-03 01:30", "2024-11-03 02:30")
    assert error.row == 3
    assert "2024-11-03T01:30:00 was twice in America/New_York" in str(error)
    utc_times = utc(bars_of("2024-11-03 00:30", "2024-11-03 01:30", timezone="UTC"))
    assert utc_times[1] == "2024-11-03T01:30"


def test_times_out_of_order_are_shown_as_the_file_has_them():
    error = refusal("2024-01-02 09:00", "2024-01-02 09:30", "2024-01-02 09:00")
    assert "2024-01-02T09:00:00 is before 2024-01-02T09:30:00" in str(error)


@pytest.mark.parametrize(
    "clocks", [("01:00", "01:30", "01:00", "01:30", "02:00"), ("00:00", "01:00", "01:00", "02:00")]
)
def test_an_hour_twice_in_a_file_without_any_zone_is_told_what_it_may_be(clocks):
    night = [f"2024-11-03 {clock}" for clock in clocks]
    assert "or name the time zone, if its clocks were set back then" in str(
        refusal(*night, timezone="UTC")
    )
    assert len(bars_of(*night)) == len(night)
    other_day = [text.replace("11-03", "11-05") for text in night]
    for texts, timezone in ((other_day, "UTC"), (other_day, NEW_YORK)):
        assert "time zone" not in str(refusal(*texts, timezone=timezone))
    with_zone = [f"{text}Z" for text in night]
    assert "time zone" not in str(refusal(*with_zone, timezone="UTC"))


def test_a_year_of_minutes_comes_back_from_local_time_as_it_was():
    minutes = np.arange(np.datetime64("2024-01-01T05"), np.datetime64("2025-01-01"), 5, "<M8[m]")
    local = (
        pl.Series(minutes.astype("datetime64[ms]"))
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(NEW_YORK)
        .dt.replace_time_zone(None)
    )
    bars = parquet_bars(*local, dtype=pl.Datetime("ms"))
    assert (bars.time == minutes.astype("datetime64[ns]").astype(np.int64)).all()
