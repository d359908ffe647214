"""Price files: which columns are read, and what is refused with which row and reason."""

from __future__ import annotations

import gzip
import io

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_file import read_price_file

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = [
    "2024-01-02,10,12,9,11,100",
    "2024-01-03,11,13,10,12,200",
    "2024-01-04,12,14,11,13,300",
]


def read(text: str | bytes) -> Bars:
    return read_price_file("X", "X.csv", text.encode() if isinstance(text, str) else text).bars


def read_parquet(frame: pl.DataFrame) -> Bars:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return read_price_file("X", "X.parquet", buffer.getvalue()).bars


def refusal(content: str | bytes, file_name: str = "X.csv") -> InvalidBarsError:
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(InvalidBarsError) as caught:
        read_price_file("X", file_name, data)
    return caught.value


def with_row(row: str) -> str:
    """A file whose line 3 is this row."""
    return "\n".join([HEADER, ROWS[0], row, ROWS[2]])


def same(first: Bars, second: Bars) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("time", "open", "high", "low", "close", "volume")
    )


PLAIN = "\n".join([HEADER, *ROWS])


def test_a_plain_file_is_read_as_it_stands():
    bars = read(PLAIN)
    assert bars.symbol == "X"
    assert bars.open.tolist() == [10, 11, 12]
    assert bars.high.tolist() == [12, 13, 14]
    assert bars.low.tolist() == [9, 10, 11]
    assert bars.close.tolist() == [11, 12, 13]
    assert bars.volume.tolist() == [100, 200, 300]
    assert np.diff(bars.time).tolist() == [86_400 * 10**9] * 2


def test_bars_that_were_read_cannot_be_written_to():
    bars = read(PLAIN)
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PLAIN,
        "\ufeff\n\n" + PLAIN,
        PLAIN.replace("\n", "\r\n") + "\r\n",
        PLAIN + "\n\n\n",
        "\n\n" + PLAIN,
        PLAIN + "\n,,,,,\n",
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("10,12", "10.0,1.2e1"),
        PLAIN.upper(),
        PLAIN.lower(),
        "\n".join(
            ",".join(f'"{field}"' for field in line.split(",")) for line in PLAIN.split("\n")
        ),
        "\n".join(",".join(reversed(line.split(","))) for line in PLAIN.split("\n")),
        "\n".join(f"SPY,{line},note" for line in PLAIN.split("\n")),
        PLAIN.replace("Date,", "<DATE>,").replace("Open", "<OPEN>"),
    ],
    ids=[
        "byte order mark",
        "byte order mark before blank lines",
        "CRLF",
        "blank lines at the end",
        "blank lines at the start",
        "an empty row at the end",
        "blank lines between",
        "semicolons",
        "tabs",
        "spaces",
        "number spellings",
        "upper case",
        "lower case",
        "quotation marks",
        "columns in another order",
        "further columns",
        "names in brackets",
    ],
)
def test_variations_of_a_file_are_the_same_bars(text):
    assert same(read(text), read(PLAIN))


def test_a_comma_is_a_decimal_point_where_fields_are_separated_otherwise():
    text = "Date;Open;High;Low;Close\n2024-01-02;1,5;2,5;1,25;2"
    bars = read(text)
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (1.5, 2.5, 1.25, 2.0)


def test_the_three_header_lines_of_yfinance_are_understood():
    text = (
        "Price,Close,High,Low,Open,Volume\nTicker,X,X,X,X,X\nDate,,,,,\n"
        "2024-01-02,11,12,9,10,100\n2024-01-03,12,13,10,11,200\n2024-01-04,13,14,11,12,300\n"
    )
    assert same(read(text), read(PLAIN))
    assert refusal(text.replace("2024-01-03,12", "2024-01-03,")).row == 5


def test_a_parquet_file_is_the_same_bars():
    frame = pl.read_csv(PLAIN.encode(), try_parse_dates=True)
    assert same(read_parquet(frame), read(PLAIN))
    assert same(
        read_parquet(frame.cast({"Open": pl.Float32, "Close": pl.Decimal(10, 2)})), read(PLAIN)
    )
    assert same(read_parquet(frame.cast(pl.String)), read(PLAIN))


def test_volume_is_optional_in_the_file_and_in_a_row():
    without = "\n".join(line.rpartition(",")[0] for line in PLAIN.split("\n"))
    assert np.isnan(read(without).volume).all()
    assert np.isnan(read(PLAIN.replace("200", "")).volume).tolist() == [False, True, False]


def test_an_adjusted_close_scales_the_four_prices_and_not_the_volume():
    text = f"{HEADER},Adj Close\n2024-01-02,10,12,8,10,100,5\n2024-01-03,10,12,8,10,100,10"
    bars = read(text)
    assert bars.open.tolist() == [5, 10]
    assert bars.high.tolist() == [6, 12]
    assert bars.low.tolist() == [4, 8]
    assert bars.close.tolist() == [5, 10]
    assert bars.volume.tolist() == [100, 100]


@pytest.mark.parametrize(("close", "adjusted"), [("1e-300", "1e300"), ("1e300", "1e-300")])
def test_an_adjusted_close_that_prices_cannot_be_scaled_by_is_refused(close, adjusted):
    error = refusal(f"{HEADER},Adj Close\n2024-01-02,{','.join([close] * 4)},1,{adjusted}")
    assert error.row == 2
    assert "is too far from the close" in error.reason


@pytest.mark.parametrize("name", ["Adj Close", "adj_close", "AdjClose", "Adjusted Close"])
def test_an_adjusted_close_has_any_usual_name(name):
    assert read(f"{HEADER},{name}\n2024-01-02,10,12,8,10,100,5").close[0] == 5


prices = st.floats(0.001, 1e6)


@given(st.lists(prices, min_size=4, max_size=4), prices)
def test_adjusted_bars_stay_consistent(corners, adjusted_close):
    low, opened, close, high = sorted(corners)
    bars = read(f"{HEADER},Adj Close\n2024-01-02,{opened},{high},{low},{close},1,{adjusted_close}")
    assert bars.close[0] == adjusted_close
    assert bars.low[0] <= min(bars.open[0], bars.close[0])
    assert bars.high[0] >= max(bars.open[0], bars.close[0])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2024-01-03,,13,10,12,1", "the open is missing"),
        ("2024-01-03,11", "the high is missing"),
        ("2024-01-03,null,13,10,12,1", "the open 'null' is not a number"),
        ("2024-01-03,11,13,10,$12,1", "the close '$12' is not a number"),
        (
            '2024-01-03,11,"1,300",10,12,1',
            "the high '1,300' may be 1300 or 1.300, and the other numbers do not tell",
        ),
        ("2024-01-03,11,inf,10,12,1", "the high is inf"),
        ("2024-01-03,11,13,nan,12,1", "the low is nan"),
        ("2024-01-03,11,13,0,12,1", "the low 0.0 is not positive"),
        ("2024-01-03,-11,13,10,12,1", "the open -11.0 is not positive"),
        ("2024-01-03,11,9,10,9,1", "the high 9.0 is below the low 10.0"),
        ("2024-01-03,14,13,10,12,1", "the high 13.0 is below the open 14.0"),
        ("2024-01-03,11,13,10,14,1", "the high 13.0 is below the close 14.0"),
        ("2024-01-03,9,13,10,12,1", "the open 9.0 is below the low 10.0"),
        ("2024-01-03,11,13,10,9,1", "the close 9.0 is below the low 10.0"),
        ("2024-01-03,11,13,10,12,many", "the volume 'many' is not a number"),
        ("2024-01-03,11,13,10,12,-1", "the volume -1.0 is not a quantity"),
        ("2024-01-03,11,13,10,12,1,7", "there are 7 fields under 6 column names"),
        (",11,13,10,12,1", "the time is missing"),
        ("soon,11,13,10,12,1", "'soon' is not a time"),
        ("2024-01-02,11,13,10,12,1", "the time 2024-01-02T00:00:00 is there twice"),
        ("2024-01-01,11,13,10,12,1", "the time 2024-01-01T00:00:00 is before 2024-01-02T00:00:00"),
        ("2024-01-05,11,13,10,12,1", "the time 2024-01-04T00:00:00 is before 2024-01-05T00:00:00"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_reason(row, reason):
    error = refusal(with_row(row))
    assert error.file_name == "X.csv"
    assert error.row == (4 if row.startswith("2024-01-05") else 3)
    assert error.reason.startswith(reason)
    assert str(error) == f"X.csv, line {error.row}: {error.reason}"


def test_the_line_of_a_bad_row_counts_blank_lines():
    text = "\r\n\r\n" + with_row("\r\n\r\n2024-01-03,11,13,10,,1")
    assert refusal(text).row == 7


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bad", ["x,2024-01-05,11,13,10,y,1", "x,2024-01-05,11,13,10,12,1,8,9"])
def test_the_line_of_a_bad_row_counts_those_of_quoted_fields(bad, newline):
    lines = [
        "\ufeff",
        f"Note,{HEADER}",
        '"first',
        f'second",{ROWS[0]}',
        "",
        f"third,{ROWS[1]}",
        '"',
        "",
        f'",{ROWS[2]}',
        bad,
    ]
    assert refusal(newline.join(lines)).row == 10


def test_the_line_of_a_bad_row_is_right_far_down_a_large_file():
    days = pl.date_range(pl.date(1900, 1, 1), pl.date(2000, 1, 1), eager=True).cast(pl.String)
    lines = [HEADER, *(f"{day},10,12,9,11,100" for day in days)]
    lines[30_001] = lines[30_001].replace("12", "")
    assert refusal("\n".join(lines)).row == 30_002


def test_a_bad_row_of_a_parquet_file_is_counted_in_rows():
    frame = pl.read_csv(with_row("2024-01-03,11,9,10,9,1").encode())
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    error = refusal(buffer.getvalue(), "X.parquet")
    assert str(error).startswith("X.parquet, row 2: the high 9.0 is below the low 10.0")


def test_rounding_within_a_millionth_is_widened_and_not_refused():
    bars = read(f"{HEADER}\n2024-01-02,100.00001,100,99.00001,99,1")
    assert bars.high[0] == bars.open[0] == 100.00001
    assert bars.low[0] == bars.close[0] == 99


@given(st.permutations(ROWS).filter(lambda rows: rows not in (ROWS, ROWS[::-1])))
def test_an_order_of_rows_that_goes_up_and_down_is_refused(rows):
    assert "sort the file" in refusal("\n".join([HEADER, *rows])).reason


def test_rows_with_the_newest_first_are_turned_round_and_this_is_noted():
    text = "\n".join([HEADER, *ROWS[::-1]])
    assert same(read(text), read(PLAIN))
    assert read(text).close.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        read(text).close[0] = 1
    price_file = read_price_file("X", "X.csv", text.encode())
    assert price_file.notes == ("the rows were newest first and have been turned round",)
    assert read_price_file("X", "X.csv", PLAIN.encode()).notes == ()


@pytest.mark.parametrize(
    ("days", "line", "reason"),
    [
        ([5, 4, 4, 3], 4, "the time 2024-01-04T00:00:00 is there twice; keep one row"),
        ([5, 4, 6, 3], 4, "the time 2024-01-06T00:00:00 is after 2024-01-04T00:00:00 above it"),
        ([5, 4, 3, 9], 5, "the time 2024-01-09T00:00:00 is after 2024-01-03T00:00:00 above it"),
        ([2, 3, 1, 4], 4, "the time 2024-01-01T00:00:00 is before 2024-01-03T00:00:00 above it"),
    ],
)
def test_the_row_that_breaks_the_order_of_most_is_the_one_refused(days, line, reason):
    error = refusal("\n".join([HEADER, *(f"2024-01-{day:02},10,12,9,11,100" for day in days)]))
    assert error.row == line
    assert error.reason.startswith(reason)


def test_the_dates_of_nasdaq_have_the_month_first():
    text = "Date,Close/Last,Volume,Open,High,Low\n{},$1.5,1,$1.5,$2.0,$1.0\n{},$1.5,1,$1.5,$2,$1"
    days = read(text.format("01/02/2024", "02/01/2024")).time.astype("datetime64[ns]")
    assert days.astype("datetime64[D]").astype(str).tolist() == ["2024-01-02", "2024-02-01"]
    assert refusal(text.format("13/02/2024", "01/13/2024")).row in (2, 3)


def test_a_wrong_date_of_nasdaq_does_not_turn_the_days_of_others_into_months():
    error = refusal("Date,Close/Last,Open,High,Low\n01/02/2024,1,1,1,1\n13/01/2024,1,1,1,1")
    assert str(error).startswith("X.csv, line 3: '13/01/2024' is not a time")


@pytest.mark.parametrize("column", ["ticker", "Symbol"])
def test_bars_of_several_symbols_one_below_the_other_are_named_as_such(column):
    text = f"{column},{HEADER}\nA,{ROWS[0]}\nB,{ROWS[0]}"
    assert refusal(text).reason.endswith(
        f"keep one row for each time, and of one symbol, if '{column}' has several"
    )
    assert refusal(f"{text}\nA,{ROWS[1]}\nB,{ROWS[0]}").reason.endswith("has several")
    assert "symbol" not in refusal("\n".join([HEADER, ROWS[0], ROWS[0]])).reason


def test_what_was_left_out_or_chosen_is_noted():
    def notes(text: str) -> tuple[str, ...]:
        return read_price_file("X", "X.csv", text.encode()).notes

    assert notes("https://www.example.com\n" + PLAIN) == (
        "the line above the column names was left out",
    )
    assert notes("Prices\n\nof X\n" + PLAIN) == (
        "the 2 lines above the column names were left out",
    )
    assert notes("sep=,\n" + PLAIN) == ()
    ticks = "Date,Open,High,Low,Close,Tickvol,Vol\n2024-01-02,1,2,1,2,5,"
    assert notes(ticks + "0") == ("the volume is the number of ticks; no other is told",)
    assert notes(ticks + "7") == ()
    assert notes("Date,Open,High,Low,Close,Volume MA\n2024-01-02,1,2,1,2,5") == (
        "no volume is read; if Volume MA is it, rename it to Volume",
    )
    assert notes("Date,Open,High,Low,Close\n2024-01-02,1,2,1,2") == ()


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n  \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("file_name", ["X.csv", "X.parquet"])
def test_an_empty_file_is_refused(content, file_name):
    assert refusal(content, file_name).row is None


def test_a_file_of_column_names_alone_is_refused():
    assert refusal(HEADER + "\n").reason == "there is no row under the column names"
    assert refusal(HEADER + "\n\n\n").reason == "there is no row under the column names"


def test_missing_columns_are_named_with_those_found_and_those_wanted():
    reason = refusal("Date,Open,Last\n2024-01-02,1,1").reason
    assert reason.startswith("no column for high, low, close among Date, Open, Last; wanted are ")
    assert "Adj Close and Volume are optional" in reason


def test_a_file_without_a_time_says_so():
    assert refusal("Open,High,Low,Close\n1,1,1,1").reason.startswith("no column for time among")


@pytest.mark.parametrize(
    ("row", "names"),
    [
        (ROWS[0], "Date,Open,High,Low,Close,Volume"),
        ("20240102 093000;100.00;100.70;99.60;100.30;0", "Date;Open;High;Low;Close;Volume"),
        ("2024.01.02,09:30,1.1,1.2,1.0,1.1", "Date,Time,Open,High,Low,Close"),
        ("01/02/2024,09:30,1.1,1.2,1.0,1.1,5", "Date,Time,Open,High,Low,Close,Volume"),
        ("2024-01-02\t1\t2\t1\t2", "Date<tab>Open<tab>High<tab>Low<tab>Close"),
        (
            "1735516800000,100.0,100.7,99.6,100.3,5626.0,1735520399999,1.0,10,1.0,1.0,0",
            "Date,Open,High,Low,Close,Volume and a name for each of its 12 columns",
        ),
    ],
)
def test_a_file_without_a_line_of_names_says_that_it_is_missing(row, names):
    for above in ("", "https://www.example.com\n"):
        reason = refusal(f"{above}{row}\n{row}\n").reason
        assert reason.startswith("the first line")
        assert " has values, not names: add a line above it with names" in reason
        assert f"in the order of its values, such as {names}; or " in reason
        assert reason.endswith("with `stratsweep import`, which knows vendors' layouts")


@pytest.mark.parametrize(
    "above", ["sep=;\n", "https://www.example.com\n", "Prices, adjusted\n\nof X\n", "# 2024\n\n\n"]
)
def test_lines_of_text_above_the_names_are_left_out_and_counted(above):
    text = PLAIN.replace(",", ";")
    assert same(read(above + text), read(PLAIN))
    bad = above + with_row("2024-01-03,11,13,10,,1").replace(",", ";")
    assert refusal(bad).row == 3 + above.count("\n")
    wide = above + with_row("2024-01-03,11,13,10,12,1,9").replace(",", ";")
    assert refusal(wide).row == 3 + above.count("\n")


def test_lines_of_values_above_the_names_are_not_left_out():
    assert "values, not names" in refusal("\n".join([ROWS[0], HEADER, *ROWS[1:]])).reason


@pytest.mark.parametrize(
    ("names", "first", "second", "expected"),
    [
        ("<VOL>;<TICKVOL>", "0;5", "0;7", [5, 7]),
        ("<TICKVOL>;<VOL>", "5;0", "7;0", [5, 7]),
        ("<TICKVOL>;<VOL>", "5;0", "7;300", [0, 300]),
        ("<TICKVOL>;<VOL>", "0;0", "0;0", [0, 0]),
        ("tick_volume;real_volume", "5;0", "7;0", [5, 7]),
        ("<TICKVOL>;x", "5;0", "7;0", [5, 7]),
        ("<VOL>;x", "5;0", "7;0", [5, 7]),
    ],
)
def test_the_volume_of_metatrader_is_its_ticks_where_it_tells_none(names, first, second, expected):
    text = f"<DATE>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;{names}\n"
    text += f"2024.01.02;1;2;1;2;{first}\n2024.01.03;1;2;1;2;{second}\n"
    assert read(text).volume.tolist() == expected


@pytest.mark.parametrize("name", ["close", "CLOSE", "Close.1", "Close_duplicated_0"])
def test_a_column_that_is_there_twice_is_refused(name):
    reason = refusal(f"{HEADER},{name}\n2024-01-02,10,12,9,11,100,11").reason
    assert reason == f"Close, {name} are the same column; keep one"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"\xff\xfe", "the text is not UTF-8, perhaps Windows-1252; save the file as UTF-8"),
        ("Käse".encode("cp1252"), "the text is not UTF-8, perhaps Windows-1252; save the file as"),
        (b"\x81\x8d", "the text is not UTF-8; save the file as UTF-8"),
    ],
)
def test_text_that_is_not_utf_8_is_refused_with_its_line(rest, reason):
    error = refusal(with_row("2024-01-03,11,13,10,12,1").encode() + b"\n" + rest)
    assert error.row == 5
    assert error.reason.startswith(reason)


def test_names_that_are_not_utf_8_are_refused_with_that_as_the_reason():
    error = refusal("Datum;Eröffnung;Hoch;Tief;Schluss\n2024-01-02;10;12;9;11".encode("cp1252"))
    assert error.reason.startswith("no column for time, open, high, low, close among Datum, ")
    assert error.reason.endswith(
        "; the text is not UTF-8, perhaps Windows-1252; save the file as UTF-8"
    )


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_text_with_a_mark_of_its_encoding_is_read(encoding):
    mark = "" if encoding in ("utf-8-sig", "utf-16") else "\ufeff"
    text = PLAIN.replace("\n", "\r\n").replace(",", "\t")
    assert same(read((mark + text).encode(encoding)), read(PLAIN))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_named(encoding):
    assert "seems to be UTF-16 without a mark" in refusal(PLAIN.encode(encoding)).reason


def test_damaged_utf_16_is_named():
    text = "\ufeff".encode("utf-16-le") + PLAIN.encode("utf-16-le") + b"\x00\xd8\x41\x00"
    assert refusal(text).reason.startswith("the text is UTF-16 with an error in it")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 and so on", "the file is a ZIP archive or an Excel workbook; save it as CSV"),
        (gzip.compress(PLAIN.encode()), "the file is compressed with gzip: name it .csv.gz, or un"),
        (b"\x28\xb5\x2f\xfd...", "the file is compressed with Zstandard: name it .csv.zst"),
        (b"PAR1....", "the file is Parquet: name it .parquet, or save it as CSV"),
        (b"\x89HDF\r\n", "the file is HDF5; save it as CSV"),
        (b"\n <!DOCTYPE html><p>Too many requests", "the file is a web page: download the file"),
        (b'[{"date": "2024-01-02"}]', "the file is JSON; save it as CSV"),
        (b"\x00" * 100, "the file is binary, not text; save it as CSV"),
        (bytes(range(256)), "the file is binary, not text; save it as CSV"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_what_it_is(content, reason):
    assert refusal(content).reason.startswith(reason)


HOSTILE = "a\x1b[31m\x07\x00\u202e\x9b"


@pytest.mark.parametrize(
    "text",
    [
        HEADER.replace("Open", f"Op{HOSTILE}") + "\n" + ROWS[0],
        HEADER + f",Open{HOSTILE},Open{HOSTILE}",
        f"Price,Open,Open,High,Low,Close\nTicker,A{HOSTILE},B{HOSTILE},A,A,A\nDate,,,,,\n",
        with_row(f"{HOSTILE},11,13,10,12,1"),
        with_row(f"2024-01-03,11,13,10,{HOSTILE},1"),
        with_row(f"2024-01-03,11,13,10,12,{HOSTILE}"),
        f"{HOSTILE}\n{ROWS[0]}",
    ],
)
def test_text_of_a_file_is_escaped_in_what_is_said_of_it(text):
    assert str(refusal(text)).isprintable()


def test_names_that_parquet_stores_are_escaped_in_what_is_said_of_them():
    columns = {name: [1.0] for name in ("open", "high", "low", "close")}
    hostile_type = pl.Series([{HOSTILE: 1}])
    for frame in (
        pl.DataFrame({HOSTILE: [1]}),
        pl.DataFrame({**columns, "date": hostile_type}),
        pl.DataFrame({**columns, "date": [1704153600], "volume": hostile_type}),
    ):
        with pytest.raises(InvalidBarsError) as caught:
            read_parquet(frame)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 200_000,
        b"x" * 200_000,
        b"PAR1",
        bytes(range(256)) * 10,
        b'"',
        PLAIN.encode("utf-16-le"),
    ],
)
@pytest.mark.parametrize("file_name", ["X.csv", "X.parquet"])
def test_a_file_that_is_something_else_is_refused(content, file_name):
    assert refusal(content, file_name).file_name == file_name


def test_a_quotation_mark_left_open_is_refused():
    assert isinstance(refusal(with_row('"2024-01-03,11,13,10,12,1')), InvalidBarsError)


@pytest.mark.parametrize("end", ["", "\n2024-01-05,13,14,13,14,1,"])
@pytest.mark.parametrize("lines_between", [0, 2])
def test_rows_between_two_quotation_marks_are_not_lost_in_silence(lines_between, end):
    rows = [f"2024-01-{4 + day:02},12,14,11,13,1," for day in range(lines_between)]
    lines = [f"{HEADER},Note", f"{ROWS[0]},", f'{ROWS[1]},"5', *rows, '2024-01-10,12,14,11,13,1,"']
    error = refusal("\n".join(lines) + end)
    assert error.row == 3
    assert "a quotation mark is left open" in error.reason


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_rows_below_a_quotation_mark_left_open_are_not_lost_in_silence(newline):
    rows = [f'2024-01-{day:02},12,14,11,13,1,"z"' for day in range(4, 12)]
    lines = [f"Note,{HEADER},Tag", f"x,{ROWS[0]},", f'"x,{ROWS[1]},"z"', *(f"x,{r}" for r in rows)]
    assert "quotation mark" in refusal(newline.join(lines)).reason


@pytest.mark.parametrize("row", ["2024-01-04,12,14,11,1", "2024-01-04,12,14,11,13"])
def test_a_file_that_was_cut_off_in_its_last_row_is_refused(row):
    cut = "\n".join([HEADER, *ROWS[:2], row])
    assert str(refusal(cut)) == (
        "X.csv, line 4: the file ends in the middle of it; get the whole file"
    )


def test_a_last_row_without_a_volume_is_no_file_that_was_cut_off():
    short = [row.rpartition(",")[0] for row in ROWS]
    for whole in ([HEADER, *ROWS[:2], short[2], ""], [HEADER, *short], [f"{HEADER},", *ROWS]):
        assert len(read("\n".join(whole))) == 3


def test_a_parquet_file_that_was_cut_off_is_refused():
    buffer = io.BytesIO()
    pl.read_csv(PLAIN.encode()).write_parquet(buffer)
    error = refusal(buffer.getvalue()[:-20], "X.parquet")
    assert error.reason == "the file is damaged or is not Parquet; write it again"


def test_times_that_parquet_stores_with_an_offset_for_a_zone_are_refused_as_such():
    time = pa.array([0], pa.timestamp("us", "+05:30"))
    buffer = io.BytesIO()
    prices = {name: [1.0] for name in ("Open", "High", "Low", "Close")}
    pq.write_table(pa.table({"Date": time, **prices}), buffer)
    error = refusal(buffer.getvalue(), "X.parquet")
    assert error.reason == "times are stored with a zone that has no IANA name; convert them to UTC"


@given(
    st.binary(max_size=300) | st.text(alphabet='0123456789,;.\n"-xé', max_size=300).map(str.encode)
)
def test_no_text_file_ends_in_another_exception(content):
    for data in (content, HEADER.encode() + b"\n" + content):
        with pytest.raises(InvalidBarsError):
            read_price_file("X", "X.csv", data)


def test_a_price_column_of_another_type_is_refused():
    frame = pl.read_csv(PLAIN.encode()).with_columns(Open=pl.lit(value=True))
    with pytest.raises(InvalidBarsError, match="the open column holds Boolean"):
        read_parquet(frame)


def test_a_refusal_quotes_no_more_than_a_little_of_the_file():
    assert len(refusal(with_row("x" * 5000 + ",11,13,10,12,1")).reason) < 200
    assert len(refusal(",".join(["y" * 5000] * 500)).reason) < 700
