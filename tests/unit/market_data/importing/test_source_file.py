"""One file to import: duplicates and bad rows that are left out, and what is refused."""

from __future__ import annotations

import contextlib
import io
from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.importing.layouts import LAYOUTS
from stratsweep_server.market_data.importing.source_file import (
    SourceFile,
    longest_ascending,
    read_source_file,
)
from stratsweep_server.market_data.price_file import read_price_file

HEADER = "Date,Open,High,Low,Close,Volume\n"
GOOD = [f"2024-01-{day:02},10,12,9,{10 + day % 3},100\n" for day in range(1, 13)]


def source(text: str, layout: str = "", **options) -> SourceFile:
    columns = LAYOUTS[layout].of_files(layout, {}) if layout else FileLayout()
    if layout:
        options = {"timezone": LAYOUTS[layout].timezone or "UTC"} | options
    return read_source_file("X", "X.csv", text.encode(), layout=columns, **options)


def test_a_good_file_is_read_as_a_server_reads_it():
    text = HEADER + "".join(GOOD)
    read = source(text)
    expected = read_price_file("X", "X.csv", text.encode()).bars
    for name in ("time", "open", "high", "low", "close", "volume"):
        assert getattr(read.bars, name).tobytes() == getattr(expected, name).tobytes()
    assert (read.duplicate_count, read.left_out) == (0, ())


def test_rows_that_repeat_another_are_left_out_and_counted():
    read = source(HEADER + "".join([*GOOD[:5], GOOD[4], *GOOD[5:], *GOOD[-4:]]))
    assert len(read.bars) == 12
    assert read.duplicate_count == 5


def test_rows_without_a_time_are_bad_each_of_them_though_they_look_the_same():
    rows = [*GOOD, HEADER, HEADER]
    read = source(HEADER + "".join(rows), skips_bad_rows=True)
    assert read.duplicate_count == 0
    assert [line for line, _ in read.left_out] == [14, 15]


def test_a_column_that_is_stored_as_no_number_is_refused():
    content = io.BytesIO()
    lists = {"Date": ["2024-01-02"] * 2} | {name: [[1.0]] * 2 for name in ("O", "H", "L", "C")}
    pl.DataFrame(lists).write_parquet(content)
    with pytest.raises(InvalidBarsError, match="the open column holds List, not numbers"):
        read_source_file("X", "X.parquet", content.getvalue(), layout=FileLayout())


def test_rows_of_one_time_that_differ_are_refused():
    text = HEADER + "".join([*GOOD, "2024-01-12,10,12,9,9,100\n"])
    with pytest.raises(
        InvalidBarsError, match="line 14: the time 2024-01-12T00:00:00 is there twi"
    ):
        source(text)


def test_rows_that_look_the_same_in_the_hour_that_clocks_show_twice_are_two_bars():
    hours = ["00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    rows = [f"2024-11-03 {hour},10,12,9,11,0\n" for hour in hours]
    read = source(HEADER + "".join(rows), timezone="America/New_York")
    assert len(read.bars) == 6
    assert read.duplicate_count == 0


def test_bad_rows_are_refused_unless_asked_to_leave_them_out():
    bad = "2024-01-05,10,9,9,11,100\n"
    text = HEADER + "".join([*GOOD[:4], bad, *GOOD[5:]])
    with pytest.raises(InvalidBarsError, match=r"line 6: the high 9.0 is below the open 10.0"):
        source(text)
    read = source(text, skips_bad_rows=True)
    assert len(read.bars) == 11
    assert read.left_out == ((6, "the high 9.0 is below the open 10.0"),)


@pytest.mark.parametrize("turned", [False, True])
def test_one_time_from_the_future_does_not_cost_the_rows_below_it(turned):
    rows = [*GOOD[:4], "2034-01-05,10,12,9,11,100\n", *GOOD[5:], "?,10,12,9,11,100\n"]
    read = source(HEADER + "".join(rows[::-1] if turned else rows), skips_bad_rows=True)
    assert (
        sorted(read.left_out)
        == [
            (2 if turned else 14, "'?' is not a time that is understood"),
            (10 if turned else 6, "the time 2034-01-05T00:00:00 is not in order with the others"),
        ][:: -1 if not turned else 1]
    )
    assert len(read.bars) == 11


def test_of_two_rows_of_one_time_the_first_is_kept_where_bad_rows_are_left_out():
    read = source(HEADER + "".join([*GOOD, "2024-01-12,10,12,9,9,100\n"]), skips_bad_rows=True)
    assert len(read.bars) == 12
    assert read.left_out == ((13, "the time 2024-01-12T00:00:00 is there twice"),)


@given(st.lists(st.integers(0, 12), max_size=9))
def test_no_ascending_subsequence_is_longer_than_the_one_that_is_kept(values):
    kept = longest_ascending(np.array(values, dtype=np.int64))
    assert (np.diff(np.array(values)[kept]) > 0).all()
    longest = max(
        length
        for length in range(len(values) + 1)
        for some in combinations(values, length)
        if all(a < b for a, b in pairwise(some))
    )
    assert len(kept) == longest


def test_half_of_a_file_may_be_left_out_but_no_more():
    bad = [row.replace(",12,", ",1,") for row in GOOD]
    assert len(source(HEADER + "".join(GOOD[:6] + bad[6:]), skips_bad_rows=True).bars) == 6
    with pytest.raises(InvalidBarsError, match=r"line 7 and 6 more: .* 7 of 12 are bad"):
        source(HEADER + "".join(GOOD[:5] + bad[5:]), skips_bad_rows=True)


@pytest.mark.parametrize(
    ("layout", "row", "time", "volume"),
    [
        (
            "binance",
            "1735689600000000,1,4,1,2,50.5,1735693199999999,1.0,10,1.0,1.0,0",
            "2025-01-01T00:00",
            50.5,
        ),
        (
            "binance",
            "1735516800000,1,4,1,2,50.5,1735520399999,1,10,1,1,0",
            "2024-12-30T00:00",
            50.5,
        ),
        ("histdata", "20240702 170000;1;4;1;2;50.5", "2024-07-02T22:00", 50.5),
        ("histdata", "2024.07.02,17:00,1,4,1,2,50.5", "2024-07-02T22:00", 50.5),
        ("kibot", "07/02/2024,09:30,1,4,1,2,50.5", "2024-07-02T13:30", 50.5),
        ("kibot", "07/02/2024,1,4,1,2,50.5", "2024-07-02T00:00", 50.5),
        ("firstrate", "2024-01-02 09:30:00,1,4,1,2,50.5", "2024-01-02T14:30", 50.5),
        ("firstrate", "2024-01-02 09:30:00,1,4,1,2", "2024-01-02T14:30", None),
        ("kraken", "1381095240,1,4,1,2,50.5,1", "2013-10-06T21:34", 50.5),
        ("metatrader", "2012.02.01,00:01,1,4,1,2,50", "2012-02-01T00:01", 50),
        ("ninjatrader", "20061023 004400;1;4;1;2;50.5", "2006-10-23T00:44", 50.5),
        ("ninjatrader", "20061023;1;4;1;2;50.5", "2006-10-23T00:00", 50.5),
    ],
)
def test_vendors_layouts_are_read_in_the_vendors_zone(layout, row, time, volume):
    bars = source(row + "\n", layout).bars
    assert str(bars.time[0].astype("datetime64[ns]")).startswith(time)
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (1, 4, 1, 2)
    assert bars.volume[0] == volume or volume is None


@given(
    st.lists(
        st.lists(st.sampled_from(["2024-01-02", "9e99", "1.5", "", "-1", "nan", "\x00", '"', "x"]))
    ),
    st.booleans(),
)
def test_no_file_ends_in_another_exception(rows, skips_bad_rows):
    text = "\n".join(["Date,Open,High,Low,Close", *(",".join(row) for row in rows)])
    with contextlib.suppress(InvalidBarsError):
        read = source(text, skips_bad_rows=skips_bad_rows)
        assert len(read.bars) > 0
