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
from stratsweep_server.market_data.price_file import read_price_file


def times_of(*texts: str, columns: str = "Date") -> list[str]:
    """The times that a CSV file with these texts has, as ISO text to the second."""
    lines = [f"{columns};Open;High;Low;Close", *(f"{text};1;1;1;1" for text in texts)]
    return iso(read_price_file("X", "X.csv", "\n".join(lines).encode()).bars.time)


def parquet_times(**columns: pl.Series) -> list[str]:
    count = len(next(iter(columns.values())))
    prices = {name: [1.0] * count for name in ("open", "high", "low", "close")}
    buffer = io.BytesIO()
    pl.DataFrame({**columns, **prices}).write_parquet(buffer)
    return iso(read_price_file("X", "X.parquet", buffer.getvalue()).bars.time)


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
        (["1.704209400000000000e+09"], "2024-01-02T15:30:00"),
        (["20240102153000"], "2024-01-02T15:30:00"),
        (["20240102153000.250"], "2024-01-02T15:30:00"),
        (["20240102153000250"], "2024-01-02T15:30:00"),
        (["202401021530"], "2024-01-02T15:30:00"),
        (["2024010215"], "2024-01-02T15:00:00"),
        (["18710102"], "1871-01-02T00:00:00"),
        (["02-Jan-2024"], "2024-01-02T00:00:00"),
        (["2 JANUARY 2024 15:30"], "2024-01-02T15:30:00"),
        (["Jan 02, 2024", "Sept 3, 2024"], "2024-01-02T00:00:00"),
        (["02/Jan/2024 3:30:00 PM"], "2024-01-02T15:30:00"),
        (["2024-01-02 03-PM"], "2024-01-02T15:00:00"),
        (["20240102  15:30:00"], "2024-01-02T15:30:00"),
        (["02.01.2024 15:30:00.000 GMT+0100"], "2024-01-02T14:30:00"),
        (["2024-01-02 15:30:00 UTC-05:00"], "2024-01-02T20:30:00"),
        (["02.01.2024 00:00:00.000 GMT+0100"], "2024-01-02T00:00:00"),
        (["20240102", "2024-01-03"], "2024-01-02T00:00:00"),
        (["20240102", "202401031530"], "2024-01-02T00:00:00"),
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
    time = read_price_file("X", "X.csv", text.encode()).bars.time
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
        "31-Jun-2024",
        "Marble 2, 2024",
        "2024-01-02 15:30:00 US/Eastern",
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


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
HOURS = [1704204000 + 3600 * hour for hour in range(4)]
HOURS_AS_ISO = [
    "2024-01-02T14:00:00",
    "2024-01-02T15:00:00",
    "2024-01-02T16:00:00",
    "2024-01-02T17:00:00",
]


@pytest.mark.parametrize(
    "units",
    [
        ("ms", "ms", "us", "us"),
        ("us", "us", "ms", "ms"),
        ("s", "ms", "s", "ms"),
        ("ns", "s", "us", "ms"),
        ("s", "ns", "ns", "ns"),
        ("us", "us", "us", "s"),
    ],
)
def test_a_count_since_1970_has_the_unit_of_its_row(units):
    counts = [second * UNITS[unit] for second, unit in zip(HOURS, units, strict=True)]
    assert times_of(*map(str, counts)) == HOURS_AS_ISO
    assert times_of(*(f"{count}.0" for count in counts)) == HOURS_AS_ISO
    assert parquet_times(time=pl.Series(counts)) == HOURS_AS_ISO
    assert parquet_times(time=pl.Series(counts).cast(pl.Float64)) == HOURS_AS_ISO
    assert parquet_times(time=pl.Series(map(str, counts))) == HOURS_AS_ISO


@pytest.mark.parametrize("unit", UNITS.values())
@pytest.mark.parametrize(("first", "last"), [("1927-12-30", "2024-01-01"), ("1971-01-01", "1975")])
def test_counts_of_one_unit_may_pass_1970(unit, first, last):
    days = np.arange(first, last, dtype="datetime64[D]")
    counts = days.astype("datetime64[s]").astype(np.int64) * unit
    assert times_of(*map(str, counts)) == [f"{day}T00:00:00" for day in days]


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        (["45293", "1704204000"], 2),
        (["1704204000", "1704207600", "45293"], 4),
        (["0", "1704204000"], 2),
        (["1704204000", "5000000000"], 3),
        (["1704204000", "50000000000"], 3),
        (["1704204000", "31536000", "1704207600000"], 3),
        (["86400", "172800", "259200"], 2),
        (["45291.5", "45292.5"], 2),
        (["1704204000000", "-9000000000000"], 3),
        (["1704204000", "17042076000000000000"], 3),
        (["1.70407E+12", "1.70415E+12"], 2),
        (["1704204000", "nan"], 3),
        (["1704204000", "inf"], 3),
        (["240102", "240103"], 2),
        (["24/01/02", "24/01/03"], 2),
        (["02-Jan-24"], 2),
    ],
)
def test_a_number_without_a_plausible_date_is_refused_with_its_row(texts, row):
    error = refusal(*texts)
    assert error.row == row
    assert f"'{texts[row - 2]}' is not a time that is understood" in error.reason


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        (["timestamp", "1704204000000", "1704207600000"], 2),
        (["1704204000000", "timestamp", "1704207600000"], 3),
        (["1704204000000", "2024-01-02 15:00", "1704207600000"], 3),
        (["1704204000000", "20240102", "1704207600000"], 3),
        (["2024-01-02", "1704207600", "2024-01-04"], 3),
        (["20240102", "20240103", "Date", "20240105"], 4),
        (["20240102", "20240133", "20240104"], 3),
        (["2024010209", "2024010225", "2024010311"], 3),
        (["2024010209", "2024010210", "1704207600"], 4),
        (["202401020930", "202401020960", "202401021000"], 3),
        (["20240102093000", "20240102093060", "20240102093100"], 3),
        (["20240229", "20230229", "20240301"], 3),
        (["20240102.5", "20240103", "20240104"], 2),
        (["01/31/2024", "31/01/2024", "02/28/2024"], 3),
        (["31/01/2024", "28/02/2024", "03/31/2024"], 4),
    ],
)
def test_the_row_that_is_unlike_most_others_is_the_one_refused(texts, row):
    error = refusal(*texts)
    assert error.row == row
    assert repr(texts[row - 2]) in error.reason


@pytest.mark.parametrize(
    ("texts", "row", "zone"),
    [
        (["2024-03-08 15:00:00-05:00", "2024-03-11 15:00:00"], 3, "no"),
        (["2024-03-08 15:00:00", "2024-03-11 15:00:00", "2024-03-12T15:00:00Z"], 4, "a"),
        (["2024-03-08", "2024-03-11 00:00:00-04:00", "2024-03-12 00:00:00-04:00"], 2, "no"),
    ],
)
def test_a_time_with_a_zone_among_times_without_one_is_refused(texts, row, zone):
    error = refusal(*texts)
    assert error.row == row
    assert f"{texts[row - 2]!r} has {zone} time zone, unlike other times" in error.reason


@pytest.mark.parametrize("text", ["2024010300", "202401060000"])
def test_digits_that_may_be_a_date_or_a_count_are_refused(text):
    error = refusal(text)
    assert error.row == 2
    assert f"'{text}' may be the time 20" in error.reason
    assert "in digits, or " in error.reason
    assert "write times as 2024-01-31 15:30:00" in error.reason


def test_seconds_of_2034_are_no_dates():
    counts = np.arange(2024010200, 2024010200 + 86_400, 60).tolist()
    assert times_of(*map(str, counts)) == iso(np.array(counts) * 10**9)


@given(
    st.lists(
        st.datetimes(
            dt.datetime.fromisoformat("1900-01-01"), dt.datetime.fromisoformat("2099-12-31")
        ),
        min_size=2,
        max_size=9,
        unique_by=lambda instant: instant.strftime("%Y%m%d%H"),
    ),
    st.sampled_from(["%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"]),
)
def test_times_in_digits_are_never_another_time(instants, spelling):
    texts = [instant.strftime(spelling) for instant in sorted(instants)]
    expected = [dt.datetime.strptime(text, spelling).isoformat() for text in texts]  # noqa: DTZ007
    try:
        assert times_of(*texts) == expected
        assert parquet_times(time=pl.Series(map(int, texts))) == expected
    except InvalidBarsError as error:
        assert "may be the time" in error.reason  # noqa: PT017 - either is right


def test_fractions_of_a_second_in_digits_are_exact():
    text = "Date,Open,High,Low,Close\n20240102153000.123456,1,1,1,1\n20240102153001250,1,1,1,1"
    time = read_price_file("X", "X.csv", text.encode()).bars.time
    assert (time % 10**9).tolist() == [123_456_000, 250_000_000]


@pytest.mark.parametrize(
    ("unit", "taken_as"), [("s", "ms"), ("s", "ns"), ("ms", "ns"), ("us", "ns")]
)
def test_times_that_were_counted_in_a_wrong_unit_are_refused(unit, taken_as):
    days = pl.Series([(1704153600 + 86_400 * day) * UNITS[unit] for day in range(3)])
    with pytest.raises(InvalidBarsError, match="taken in a wrong unit"):
        parquet_times(time=days.cast(pl.Datetime(taken_as)))


def test_bars_of_january_1970_are_read():
    assert times_of("1970-01-01", "1970-01-02 09:30:01")[1] == "1970-01-02T09:30:01"


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


def test_dots_put_the_day_first():
    assert times_of("02.01.2024", "03.01.2024") == ["2024-01-02T00:00:00", "2024-01-03T00:00:00"]
    assert times_of("02.01.2024 15:30", "1.2.2024 09:00") == [
        "2024-01-02T15:30:00",
        "2024-02-01T09:00:00",
    ]


def test_a_date_with_dots_whose_month_is_first_is_refused():
    for texts in (("02.01.2024", "01.31.2024"), ("31.01.2024", "02.28.2024")):
        error = refusal(*texts)
        assert error.row == 3
        assert error.reason == (
            f"'{texts[1]}' has the month first, but in dates with dots that is the day; "
            "write dates as 2024-01-31"
        )


def test_dates_with_dots_do_not_tell_of_dates_without():
    error = refusal("31.01.2024", "02/03/2024")
    assert (error.row, error.bad_row_count) == (3, 1)
    assert "may have the day or the month first" in error.reason


def test_every_ambiguous_date_is_counted():
    error = refusal("01/02/2024", "01/03/2024", "01/04/2024", "01/05/2024")
    assert error.bad_row_count == 4
    assert error.reason.endswith("; 1 more like these; write dates as 2024-01-31")


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


def test_a_parquet_date_with_a_zone_is_the_local_one_beside_a_time():
    tokyo = pl.Series([dt.datetime.fromisoformat("2024-01-04")]).dt.replace_time_zone("Asia/Tokyo")
    assert parquet_times(Date=tokyo, Time=pl.Series(["09:30"])) == ["2024-01-04T09:30:00"]


@pytest.mark.parametrize(
    ("day", "clock", "reason"),
    [
        (dt.datetime.fromisoformat("2024-01-02T09:30"), "09:30", "has a time of day, and there is"),
        ([1], "09:30", "the date column holds List"),
        ("2024-01-02", dt.timedelta(hours=9), "the time column holds Duration"),
        (20240102, 9, "the time '9' may be an hour or a minute; write it as 09:30"),
    ],
)
def test_parquet_dates_and_times_that_do_not_fit_are_refused(day, clock, reason):
    with pytest.raises(InvalidBarsError, match=reason):
        parquet_times(Date=pl.Series([day]), Time=pl.Series([clock]))


def test_the_times_of_hours_without_minutes_are_refused_and_midnights_are_not():
    error = refusal("2024-01-02;0", "2024-01-02;9", columns="Date;Time")
    assert (error.row, error.reason) == (
        3,
        "the time '9' may be an hour or a minute; write it as 09:30",
    )
    assert times_of("2024-01-02;0", "2024-01-03;0", columns="Date;Time")[1] == "2024-01-03T00:00:00"


def test_a_bad_time_beside_a_date_is_the_one_refused():
    error = refusal("2024-01-02;930", "Date;Time", "2024-01-02;1000", columns="Date;Time")
    assert error.row == 3


def test_a_parquet_index_that_pandas_wrote_without_a_name_is_the_time():
    assert parquet_times(__index_level_0__=pl.Series([dt.date(2024, 1, 2)])) == [
        "2024-01-02T00:00:00"
    ]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pl.Series([True]), "the time column holds Boolean"),
        (pl.Series([[1]]), "the time column holds List"),
        (pl.Series([20240102.0], dtype=pl.Float32), "holds Float32, too short for times"),
        (pl.Series([10**16]).cast(pl.Datetime("ms")), "'10000000000000000 ms since 1970' is not a"),
        (pl.Series([10**8], dtype=pl.Int32).cast(pl.Date), "'100000000 days since 1970' is not a"),
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
