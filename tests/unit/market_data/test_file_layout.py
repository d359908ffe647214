"""What a caller tells of a file's columns: a layout for files without names, or which is which."""

from __future__ import annotations

import io

import polars as pl
import pytest
from stratsweep_server.market_data.column_names import ColumnNamesError, column_positions
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.price_content import read_table

PRICES = ("open", "high", "low", "close")
LAYOUT = FileLayout("vendor", (("time", *PRICES, "volume"), ("date", "time", *PRICES, "volume")))


def columns(text: str, layout: FileLayout) -> dict[str, list[str]]:
    table = read_table("X.csv", text.encode(), layout)
    return {role: column.to_list() for role, column in table.columns.items()}


def refusal(text: str, layout: FileLayout) -> str:
    with pytest.raises(InvalidBarsError) as caught:
        read_table("X.csv", text.encode(), layout)
    return str(caught.value)


def test_a_layout_names_the_columns_of_a_file_without_names():
    rows = "20240102 093000;1;4;1;2;50\n20240102 093100;2;4;1;3;60\n"
    found = columns(rows, LAYOUT)
    assert found["time"] == ["20240102 093000", "20240102 093100"]
    assert found["close"] == ["2", "3"]
    assert found["volume"] == ["50", "60"]


def test_a_layouts_variant_is_the_one_of_as_many_fields():
    found = columns("2024.01.02,09:30,1,4,1,2,50\n", LAYOUT)
    assert found["date"] == ["2024.01.02"]
    assert found["clock"] == ["09:30"]


def test_a_file_of_another_layout_is_refused_with_the_number_of_its_fields():
    reason = refusal("2024-01-02,1,4,1\n", LAYOUT)
    assert reason.startswith(
        "X.csv: the rows have 4 fields, those of the layout vendor have 6 or 7"
    )


def test_a_file_with_names_is_read_by_them_whatever_the_layout():
    found = columns("Close,Open,Low,High,Date\n2,1,1,4,2024-01-02\n", LAYOUT)
    assert (found["close"], found["high"]) == (["2"], ["4"])


@pytest.mark.parametrize("above", ["", "\n\n", "https://www.example.com\n"])
def test_lines_of_a_file_without_names_are_counted_as_they_stand(above):
    row = "2024-01-02,1,4,1,2,50\n"
    table = read_table("X.csv", (above + row + row).encode(), LAYOUT)
    first = above.count("\n") + 1
    assert table.bad_rows.rows.tolist() == [first, first + 1]
    too_wide = read_table("X.csv", (above + row + row.strip() + ",7\n").encode(), LAYOUT)
    assert [number for number, _ in too_wide.bad_rows.each()] == [first + 1]


def test_columns_by_position_need_no_names():
    layout = FileLayout(columns={"time": "1", "open": "3", "high": "4", "low": "5", "close": "6"})
    found = columns("2024-01-02,SPY,1,4,1,2\n", layout)
    assert found == {
        "time": ["2024-01-02"],
        "open": ["1"],
        "high": ["4"],
        "low": ["1"],
        "close": ["2"],
    }


def test_a_file_without_names_of_which_nothing_is_known_is_refused():
    assert "name the file's layout" in refusal("2024-01-02,1,4,1,2\n", FileLayout())


def test_a_chosen_column_wins_over_the_one_that_is_called_so():
    names = ["Date", "Open", "High", "Low", "Close", "Last", "Volume", "TICKVOL", "Ticks"]
    assert column_positions(names, {"close": "Last"})["close"] == 5
    chosen = column_positions(names, {"volume": "Ticks", "time": "date"})
    assert chosen == {"volume": 8, "time": 0, "open": 1, "high": 2, "low": 3, "close": 4}


def test_a_chosen_column_is_found_by_its_name_as_written_then_by_its_letters_then_by_position():
    names = ["T 0", "t0", "open", "high", "low", "close", "2"]
    assert column_positions(names, {"time": "t0"})["time"] == 1
    assert column_positions(names, {"time": "2"})["time"] == 6
    assert column_positions(names, {"time": "1"})["time"] == 0


@pytest.mark.parametrize("name", ["Stamp", "0", "8"])
def test_a_chosen_column_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(ColumnNamesError, match=rf"no column '{name}' among Date, Open"):
        column_positions(["Date", "Open", "High", "Low", "Close"], {"time": name})


def test_a_chosen_column_of_which_there_are_two_is_refused():
    with pytest.raises(ColumnNamesError, match="there are 2 columns 'Open'"):
        column_positions(["Date", "Open", "Open", "High", "Low", "Close"], {"open": "Open"})


@pytest.mark.parametrize(
    ("chosen", "roles"),
    [
        ({"low": "4", "close": "4"}, "low and close"),
        ({"date": "1", "clock": "Date"}, "date and time"),
    ],
)
def test_a_column_that_is_chosen_twice_is_refused(chosen, roles):
    names = ["Date", "Open", "High", "Low", "Close"]
    with pytest.raises(ColumnNamesError, match=f"is chosen as {roles}; choose another"):
        column_positions(names, chosen)


@pytest.mark.parametrize("file_name", ["X.csv", "X.parquet"])
def test_a_single_price_may_be_chosen_for_all_four(file_name):
    frame = pl.DataFrame({"Date": ["2024-01-02", "2024-01-03"], "Price": ["1.5", "2.5"]})
    content = io.BytesIO()
    frame.write_csv(content) if file_name == "X.csv" else frame.write_parquet(content)
    layout = FileLayout(columns=dict.fromkeys(PRICES, "Price"))
    table = read_table(file_name, content.getvalue(), layout)
    assert all(table.columns[role].to_list() == ["1.5", "2.5"] for role in PRICES)


def test_a_chosen_column_is_not_taken_for_something_else_by_its_name():
    names = ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]
    positions = column_positions(names, {"close": "Adj Close"})
    roles = ("time", "open", "high", "low", "close", "volume")
    assert positions == dict(zip(roles, (0, 1, 2, 3, 5, 6), strict=True))


def test_columns_of_parquet_are_chosen_by_name():
    content = io.BytesIO()
    frame = {"when": ["2024-01-02"], "O": [1.0], "H": [4.0], "L": [1.0], "last": [2.0]}
    pl.DataFrame(frame).write_parquet(content)
    roles = {"time": "when", "open": "o", "high": "h", "low": "l", "close": "last"}
    table = read_table("X.parquet", content.getvalue(), FileLayout(columns=roles))
    assert table.columns["close"].to_list() == [2.0]


def test_a_layout_tells_that_months_come_first():
    row = "03/04/2024,1,4,1,2,50\n"
    layout = FileLayout("us", (("date", *PRICES, "volume"),), writes_month_first=True)
    assert read_table("X.csv", row.encode(), layout).writes_month_first
