"""The spellings of time that price files may have."""

from __future__ import annotations

import datetime as dt
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_file import read_bars


def times_of(*texts: str, columns: str = "Date") -> list[str]:
    """The times that a CSV file with these texts has, as ISO text to the second."""
    lines = [f"{columns};Open;High;Low;Close", *(f"{text};1;1;1;1" for text in texts)]
    return iso(read_bars("X", "X.csv", "\n".join(lines).encode()).time)


def parquet_times(**columns: pl.Series) -> list[str]:
    count = len(next(iter(columns.values())))
    prices = {name: [1.0] * count for name in ("open", "high", "low", "close")}
    buffer = io.BytesIO()
    pl.DataFrame({**columns, **prices}).write_parquet(buffer)
    return iso(read_bars("X", "X.parquet", buffer.getvalue()).time)


def iso(time: np.ndarray) -> list[str]:
    return [str(instant)[:19] for instant in time.astype("datetime64[ns]")]


def refusal(*texts: str, columns: str = "Date") -> InvalidBarsError:
    with pytest.raises(InvalidBarsError) as caught:
        times_of(*texts, columns=columns)
    return caught.value


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-02"], "2024-01-02T00:00:00"),
        (["2024-01-02 15:30:00"], "2024-01-02T15:30:00"),
        (["2024-01-02T15:30:00"], "2024-01-02T15:30:00"),
        (["2024-01-02 15:30"], "2024-01-02T15:30:00"),
        (["2024-01-02T15:30"], "2024-01-02T15:30:00"),
        (["2024-01-02 15:30:00.250"], "2024-01-02T15:30:00"),
        (["2024-01-02T15:30:00Z"], "2024-01-02T15:30:00"),
        (["2024-01-02 15:30:00 UTC"], "2024-01-02T15:30:00"),
        (["2024-01-02 15:30:00-05:00"], "2024-01-02T20:30:00"),
        (["2024-01-02T15:30:00+0530"], "2024-01-02T10:00:00"),
        (["2024-01-02 15:30+01"], "2024-01-02T14:30:00"),
        (["20240102"], "2024-01-02T00:00:00"),
        (["20240102 153000"], "2024-01-02T15:30:00"),
        (["2024/01/02"], "2024-01-02T00:00:00"),
        (["2024.01.02 15:30"], "2024-01-02T15:30:00"),
        (["2024-01-02 3:30 PM"], "2024-01-02T15:30:00"),
        (["1/2/2024", "1/31/2024"], "2024-01-02T00:00:00"),
        (["01/02/2024 15:30", "01/31/2024 15:30"], "2024-01-02T15:30:00"),
        (["02.01.2024", "31.01.2024"], "2024-01-02T00:00:00"),
        (["1704209400"], "2024-01-02T15:30:00"),
        (["1704209400.0"], "2024-01-02T15:30:00"),
        (["1704209400000"], "2024-01-02T15:30:00"),
        (["1704209400000000"], "2024-01-02T15:30:00"),
        (["1704209400000000000"], "2024-01-02T15:30:00"),
        (["1950-01-03"], "1950-01-03T00:00:00"),
        (["-631152000"], "1950-01-01T00:00:00"),
        (["  2024-01-02  "], "2024-01-02T00:00:00"),
        (["2024-01-02", "2024-01-03 10:00:00"], "2024-01-02T00:00:00"),
    ],
)
def test_a_time_is_understood_as_people_write_it(texts, expected):
    assert times_of(*texts)[0] == expected


@given(
    st.datetimes(dt.datetime.fromisoformat("1700-01-01"), dt.datetime.fromisoformat("2250-01-01"))
)
def test_any_iso_time_keeps_its_microseconds(instant):
    text = f"Date,Open,High,Low,Close\n{instant.isoformat()},1,1,1,1"
    time = read_bars("X", "X.csv", text.encode()).time
    assert time[0] == np.datetime64(instant, "ns").astype(np.int64)


def test_offsets_may_change_within_a_file():
    assert times_of("2024-03-08 15:00:00-05:00", "2024-03-11 15:00:00-04:00") == [
        "2024-03-08T20:00:00",
        "2024-03-11T19:00:00",
    ]


def test_daily_bars_with_a_zone_keep_their_dates():
    tokyo = times_of("2024-01-04 00:00:00+09:00", "2024-01-05 00:00:00+09:00")
    new_york = times_of("2024-03-08 00:00:00-05:00", "2024-03-11 00:00:00-04:00")
    assert tokyo == ["2024-01-04T00:00:00", "2024-01-05T00:00:00"]
    assert new_york == ["2024-03-08T00:00:00", "2024-03-11T00:00:00"]


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        ("2024-01-02", "15:30:00", "2024-01-02T15:30:00"),
        ("2024.01.02", "15:30", "2024-01-02T15:30:00"),
        ("20240102", "153000", "2024-01-02T15:30:00"),
        ("20240102", "93000", "2024-01-02T09:30:00"),
        ("20240102", "930", "2024-01-02T09:30:00"),
        ("20240102", "000000", "2024-01-02T00:00:00"),
        ("2024-01-02", "15:30:00-05:00", "2024-01-02T20:30:00"),
    ],
)
def test_a_date_and_a_time_column_are_one_time(day, clock, expected):
    assert times_of(f"{day};{clock}", columns="Date;Time") == [expected]


@pytest.mark.parametrize(
    "name", ["Date", "DATETIME", "timestamp", "Time", "date_time", "Date Time"]
)
def test_the_time_column_has_any_usual_name(name):
    assert times_of("2024-01-02", columns=name) == ["2024-01-02T00:00:00"]


@pytest.mark.parametrize("name", ["", "index", "Unnamed: 0"])
def test_an_index_that_pandas_wrote_without_a_name_is_the_time(name):
    assert times_of("2024-01-02", columns=name) == ["2024-01-02T00:00:00"]


def test_a_row_number_beside_a_date_is_not_the_time():
    assert times_of("0;2024-01-02", columns=";Date") == ["2024-01-02T00:00:00"]


def test_row_numbers_alone_are_not_times():
    error = refusal("0", "1", columns="")
    assert error.row == 2
    assert "'0' is not a time" in error.reason


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2024-13-01",
        "2024-02-30",
        "24-01-02",
        "13/31/2024",
        "2024-01-02 25:00:00",
        "nan",
    ],
)
def test_what_is_no_time_is_refused_with_its_row(text):
    error = refusal("2024-01-01", text)
    assert error.row == 3
    assert repr(text) in error.reason


@pytest.mark.parametrize("text", ["1500-01-01", "9999-12-31", "90000000000", "0001-01-01"])
def test_a_time_that_nanoseconds_cannot_hold_is_refused(text):
    assert "from 1678 to 2261" in refusal(text).reason


def test_a_file_may_span_more_than_three_centuries():
    assert times_of("1700-01-01", "2250-01-01") == ["1700-01-01T00:00:00", "2250-01-01T00:00:00"]


def test_a_missing_time_is_refused_with_its_row():
    error = refusal("2024-01-01", "")
    assert (error.row, error.reason) == (3, "the time is missing; fill it or delete the row")


def test_dates_whose_day_and_month_cannot_be_told_apart_are_refused():
    error = refusal("01/02/2024", "01/03/2024")
    assert error.row == 2
    assert "'01/02/2024' may have the day or the month first" in error.reason
    assert "write dates as 2024-01-31" in error.reason


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_parquet_times_of_any_unit_and_zone_are_understood(unit, zone):
    wall = pl.Series(["2024-01-02 15:30"]).str.to_datetime(time_unit=unit)
    column = wall.dt.replace_time_zone(zone) if zone else wall
    expected = "2024-01-02T20:30:00" if zone == "America/New_York" else "2024-01-02T15:30:00"
    assert parquet_times(Datetime=column) == [expected]


def test_parquet_days_with_a_zone_keep_their_dates():
    days = pl.Series(["2024-01-04", "2024-01-05"]).str.to_datetime("%Y-%m-%d")
    tokyo = days.dt.replace_time_zone("Asia/Tokyo")
    assert parquet_times(Date=tokyo) == ["2024-01-04T00:00:00", "2024-01-05T00:00:00"]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([dt.date(2024, 1, 2)]),
        pl.Series(["2024-01-02"]),
        pl.Series(["2024-01-02"], dtype=pl.Categorical),
        pl.Series([20240102], dtype=pl.Int32),
        pl.Series([1704153600], dtype=pl.UInt64),
        pl.Series([1704153600.0]),
    ],
    ids=lambda column: str(column.dtype),
)
def test_parquet_dates_texts_and_numbers_are_understood(column):
    assert parquet_times(date=column) == ["2024-01-02T00:00:00"]


def test_parquet_date_and_time_columns_are_one_time():
    times = parquet_times(
        Date=pl.Series([dt.date(2024, 1, 2)]), Time=pl.Series([dt.time(9, 30, 15)])
    )
    assert times == ["2024-01-02T09:30:15"]


def test_a_parquet_index_that_pandas_wrote_without_a_name_is_the_time():
    assert parquet_times(__index_level_0__=pl.Series([dt.date(2024, 1, 2)])) == [
        "2024-01-02T00:00:00"
    ]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pl.Series([True]), "the time column holds Boolean"),
        (pl.Series([[1]]), "the time column holds List"),
        (pl.Series([None], dtype=pl.Date), "the time is missing"),
        (pl.Series([float("nan")]), "is not a time"),
        (pl.Series([float("inf")]), "is not a time"),
        (pl.Series([10**17]).cast(pl.Datetime("us")), "is not a time"),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), "is not a time"),
        (pl.Series([-(2**63)]), "is not a time"),
    ],
)
def test_parquet_columns_without_times_are_refused(column, reason):
    with pytest.raises(InvalidBarsError, match=reason):
        parquet_times(time=column)
