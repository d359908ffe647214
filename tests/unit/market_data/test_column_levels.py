"""Columns of two levels, in the shapes that pandas and yfinance write."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_file import read_price_file

PRICES = {
    "Open": [10.0, 11.0, 12.0],
    "High": [12.0, 13.0, 14.0],
    "Low": [9.0, 10.0, 11.0],
    "Close": [11.0, 12.0, 13.0],
    "Volume": [100, 200, 300],
}
DAYS = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04"], name="Date")


def frame(symbols=("ACME",), *, by_ticker=False, level_names=("Price", "Ticker")) -> pd.DataFrame:
    """What yfinance downloads, by column or with group_by="ticker"."""
    table = pd.concat(dict.fromkeys(symbols, pd.DataFrame(PRICES, DAYS)), axis=1)
    table.columns.names = list(reversed(level_names))
    return table if by_ticker else table.swaplevel(axis=1)


def unnamed_index(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename_axis(index=None)


def as_csv(table: pd.DataFrame, **options) -> tuple[str, bytes]:
    return "ACME.csv", table.to_csv(**options).encode()


def as_parquet(table: pd.DataFrame) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return "ACME.parquet", buffer.getvalue()


def read(file_name: str, content: bytes) -> list[list[float]]:
    bars = read_price_file("ACME", file_name, content).bars
    assert bars.time.astype("datetime64[ns]").tolist() == DAYS.as_unit("ns").to_numpy().tolist()
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return np.array(columns).tolist()


@pytest.mark.parametrize("by_ticker", [False, True])
@pytest.mark.parametrize(
    "level_names", [("Price", "Ticker"), ("Attributes", "Symbols"), (None, None)]
)
@pytest.mark.parametrize("index", ["named", "unnamed", "column", "row numbers"])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_columns_of_two_levels_are_read(by_ticker, level_names, index, write):
    table = frame(by_ticker=by_ticker, level_names=level_names)
    if index == "unnamed":
        table = unnamed_index(table)
    if index in ("column", "row numbers"):
        table = table.reset_index()
    options = {"index": False} if index == "column" and write is as_csv else {}
    assert read(*write(table, **options)) == list(PRICES.values())


@pytest.mark.parametrize("symbol", ["0700.HK", "005930", "BTC-USD", "^GSPC", "EURUSD=X", "7203"])
@pytest.mark.parametrize("by_ticker", [False, True])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_the_symbol_of_two_levels_may_be_any(symbol, by_ticker, write):
    assert read(*write(frame([symbol], by_ticker=by_ticker))) == list(PRICES.values())


@pytest.mark.parametrize("separator", [";", "\t"])
def test_columns_of_two_levels_may_have_any_separator(separator):
    assert read(*as_csv(frame(), sep=separator)) == list(PRICES.values())


@pytest.mark.parametrize("by_ticker", [False, True])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_prices_of_two_symbols_in_one_file_are_refused_with_their_names(by_ticker, write):
    with pytest.raises(InvalidBarsError, match="prices of 2 symbols, AA, BB; write one file for"):
        read(*write(frame(["AA", "BB"], by_ticker=by_ticker)))


def test_pairs_of_names_are_read():
    table = frame()
    table.columns = table.columns.to_flat_index()
    assert read(*as_csv(table)) == list(PRICES.values())


@pytest.mark.parametrize("spelling", ["{1}_{0}", "{0}_{1}", "{0} {1}", "{1}.{0}", "{0}-{1}"])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_the_file_s_own_symbol_beside_each_name_does_not_matter(spelling, write):
    table = frame()
    table.columns = [spelling.format(*pair) for pair in table.columns]
    assert read(*write(table)) == list(PRICES.values())


def test_names_that_are_very_long_take_no_long_time():
    hostile = "('" + "', '" * 30_000
    with pytest.raises(InvalidBarsError, match="no column for time, open"):
        read_price_file("X", "X.csv", f'"{hostile}",b,c\n1,2,3\n'.encode())


def test_another_symbol_beside_each_name_is_not_taken():
    table = frame(["OTHER"])
    table.columns = ["_".join(pair) for pair in table.columns]
    with pytest.raises(InvalidBarsError, match="if Open_OTHER is the open, rename it to Open"):
        read(*as_csv(table))


def test_a_bad_row_under_columns_of_two_levels_has_its_line():
    file_name, content = as_csv(frame())
    with pytest.raises(InvalidBarsError) as caught:
        read_price_file("ACME", file_name, content.replace(b"2024-01-03,11.0", b"2024-01-03,"))
    assert caught.value.row == 5


@pytest.mark.parametrize("row", ["2024-01-01,null,null,null,null,1", ",null,null,null,null,1"])
def test_a_row_without_prices_under_the_names_is_no_line_of_symbols(row):
    text = f"Date,Open,High,Low,Close,Volume\n{row}\n2024-01-02,1,2,1,2,1\n"
    with pytest.raises(InvalidBarsError) as caught:
        read_price_file("X", "X.csv", text.encode())
    assert caught.value.row == 2


def test_a_second_line_of_names_is_no_line_of_symbols():
    names = "Date,Open,High,Low,Close"
    with pytest.raises(InvalidBarsError) as caught:
        read_price_file("X", "X.csv", f"{names}\n{names}\n2024-01-02,1,2,1,2\n".encode())
    assert caught.value.row == 2
