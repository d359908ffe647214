"""The bad rows of price files: all are counted, the first few of each kind are told."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.bad_rows import BadRows
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_content import read_table
from stratsweep_server.market_data.price_file import checked, read_price_file

HEADER = "Date,Open,High,Low,Close,Volume"
GOOD = "10,12,9,11,100"


def text_of(rows: dict[int, str], count: int = 12) -> bytes:
    """A file of good days, but for some rows, by their line."""
    lines = [rows.get(line, f"2024-01-{line - 1:02},{GOOD}") for line in range(2, count + 2)]
    return "\n".join([HEADER, *lines]).encode()


def refusal(content: bytes, file_name: str = "X.csv") -> InvalidBarsError:
    with pytest.raises(InvalidBarsError) as caught:
        read_price_file("X", file_name, content)
    return caught.value


def test_two_bad_rows_are_counted_and_told():
    error = refusal(text_of({3: "2024-01-02,10,12,9,13,1", 5: "2024-01-04,8,12,9,11,1"}))
    assert (error.row, error.bad_row_count) == (3, 2)
    assert str(error) == (
        "X.csv, line 3 and 1 more: the high 12.0 is below the close 13.0; "
        "line 5: the open 8.0 is below the low 9.0; correct the row or delete it"
    )


def test_of_many_bad_rows_the_first_few_are_told():
    rows = {line: f"2024-01-{line - 1:02},10,12,9,,1" for line in range(4, 12)}
    error = refusal(text_of(rows))
    assert str(error) == (
        "X.csv, line 4 and 7 more: the close is missing; line 5: the close is missing; "
        "line 6: the close is missing; 5 more like these; fill it or delete the row"
    )


def test_bad_rows_of_every_kind_are_told_at_once():
    error = refusal(
        text_of(
            {
                2: f"soon,{GOOD}",
                3: "2024-01-02,$10,12,9,11,100",
                4: "2024-01-03,10,8,9,11,100",
                5: f"2024-01-02,{GOOD}",
                6: f"2024-01-02,{GOOD}",
                7: "2024-01-06,10,12,9,11,-1",
                8: "2024-01-07,10,12,9,11,100,7,8",
                9: f",{GOOD}",
                10: "2024-01-09,10,12,-9,11,100",
                11: "2024-01-10,10,inf,9,11,100",
            }
        )
    )
    assert (error.row, error.bad_row_count) == (2, 10)
    told = str(error)
    for part in (
        "X.csv, line 2 and 9 more: 'soon' is not a time",
        "Line 3: the open '$10' is not a number",
        "Line 4: the high 8.0 is below the low 9.0; correct",
        "Line 5: the time 2024-01-02T00:00:00 is before 2024-01-03T00:00:00 above it; sort",
        "Line 6: the time 2024-01-02T00:00:00 is there twice; keep one",
        "Line 7: the volume -1.0 is not a quantity; leave",
        "Line 8: there are 8 fields under 6 column names; correct",
        "Line 9: the time is missing; fill it",
        "Line 10: the low -9.0 is not positive",
        "Line 11: the high is inf; correct or delete it",
    ):
        assert part in told
    assert len(told) < 2000


def test_what_is_wrong_with_two_columns_of_a_row_is_told_at_once():
    told = str(refusal(text_of({3: "soon,10,12,9,none,100"})))
    assert told.startswith("X.csv, line 3: 'soon' is not a time that is understood; write")
    assert "Line 3: the close 'none' is not a number; write numbers" in told


def test_a_bad_cell_is_told_once_and_not_for_what_follows_from_it():
    error = refusal(text_of({3: "2024-01-02,10,many,9,11,100"}))
    assert error.reason.count("line") == 0
    assert "is below" not in error.reason
    assert "missing" not in error.reason


def test_times_are_compared_with_the_last_good_one():
    error = refusal(text_of({4: f"soon,{GOOD}", 5: f"2024-01-02,{GOOD}"}))
    assert "Line 5: the time 2024-01-02T00:00:00 is there twice" in error.reason


def test_rows_of_too_many_fields_are_counted_with_their_lines():
    content = text_of({3: "2024-01-02,1,004,1,020,998,1,012,100", 6: f"2024-01-05,{GOOD},1"})
    quoted = content.replace(b"2024-01-01", b'"2024-01-01\n"')
    error = refusal(content)
    assert (error.row, error.bad_row_count) == (3, 2)
    assert error.reason == (
        "there are 9 fields under 6 column names; line 6: there are 7 fields under 6 column "
        "names; correct the row"
    )
    assert refusal(quoted).row == 4
    assert refusal(b"\n\n" + content).row == 5


def test_all_columns_of_a_type_that_is_no_number_are_told_at_once():
    frame = pl.DataFrame({"date": [True], "open": [True], "high": [1], "low": [1], "close": [[1]]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    assert refusal(buffer.getvalue(), "X.parquet").reason == (
        "the time column holds Boolean, not times; the open column holds Boolean, not numbers; "
        "the close column holds List, not numbers"
    )


def test_bad_rows_of_parquet_are_rows():
    frame = pl.DataFrame(
        {
            "date": [20240102, 20240103, 20240104],
            "open": [1.0, None, None],
            **{name: [1.0, 1.0, 1.0] for name in ("high", "low", "close")},
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    assert str(refusal(buffer.getvalue(), "X.parquet")) == (
        "X.parquet, row 2 and 1 more: the open is missing; row 3: the open is missing; "
        "fill it or delete the row"
    )


def test_the_positions_of_bad_rows_are_known():
    table = read_table("X.csv", text_of({3: f"soon,{GOOD}", 7: "2024-01-06,10,12,9,,100"}))
    checked("X", table)
    assert table.bad_rows.indices.tolist() == [1, 5]


def test_a_table_without_its_bad_rows_is_good():
    table = read_table("X.csv", text_of({3: f"soon,{GOOD}", 7: "2024-01-06,10,12,9,,100"}))
    checked("X", table)
    rest = table.without(table.bad_rows.indices)
    bars = checked("X", rest).bars
    rest.bad_rows.refuse()
    assert len(bars) == 10
    assert rest.bad_rows.rows.tolist() == [2, 4, 5, 6, 8, 9, 10, 11, 12, 13]


def test_a_table_without_any_row_has_no_bars():
    table = read_table("X.csv", text_of({2: f"soon,{GOOD}"}, count=1))
    checked("X", table)
    assert len(checked("X", table.without(table.bad_rows.indices)).bars) == 0


def test_there_is_nothing_to_refuse_without_a_bad_row():
    bad_rows = BadRows("X.csv", np.arange(3))
    bad_rows.report(np.zeros(3, dtype=bool), "bad", "mend it", "open")
    bad_rows.refuse()
    assert not len(bad_rows.indices)


cells = st.sampled_from(["10", "9", "", "x", "-1", "inf", "nan", "1,0", "$5", "\x1b[31m"])
days = st.sampled_from(["2024-01-01", "2024-01-02", "03.01.2024", "1704153600", "", "now", "1"])


@given(st.lists(st.tuples(days, cells, cells, cells, cells, cells), min_size=1, max_size=30))
def test_whatever_is_wrong_is_told_in_a_bounded_and_printable_message(rows):
    text = "\n".join([HEADER.replace(",", ";"), *(";".join(row) for row in rows)])
    try:
        bars = read_price_file("X", "X.csv", text.encode()).bars
    except InvalidBarsError as error:
        assert len(str(error)) < 3000  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017
        assert error.bad_row_count <= len(rows)  # noqa: PT017
    else:
        assert (np.diff(bars.time) > 0).all()
        assert (bars.low > 0).all()
        assert (bars.high >= bars.low).all()


def test_each_bad_row_is_told_with_what_is_wrong_with_it_first():
    table = read_table("X.csv", text_of({3: "?,10,12,9,11,x", 6: "2024-01-05,10,12,9,13,1"}))
    checked("X", table)
    assert list(table.bad_rows.each()) == [
        (3, "'?' is not a time that is understood, and 1 more fault"),
        (6, "the high 12.0 is below the close 13.0"),
    ]
