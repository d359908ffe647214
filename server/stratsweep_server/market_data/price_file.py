"""The content of a price file to checked bars."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.errors import InvalidBarsError, quoted
from stratsweep_server.market_data.price_table import PriceTable, read_table
from stratsweep_server.market_data.price_times import bar_times

_Floats: TypeAlias = NDArray[np.float64]

# By how much of itself a high may be below, or a low above, what it must bound: vendors' 32-bit
# floats and rounded adjustments are off by less. Such bars are widened to be consistent.
_RELATIVE_TOLERANCE = 1e-6
_ORDERED = (
    ("high", "low"),
    ("high", "open"),
    ("high", "close"),
    ("open", "low"),
    ("close", "low"),
)


def read_bars(symbol: str, file_name: str, content: bytes) -> Bars:
    """Read and check the bars of a `.csv` or `.parquet` file.

    Columns are found by name in any case and order: a time (Date, Datetime, Timestamp, Time, Date
    with Time, or the nameless index that pandas writes), Open, High, Low, Close, and optionally
    Adj Close and Volume; the rest is ignored. CSV is UTF-8 with commas, semicolons, tabs or pipes
    between fields; where it is not commas, 1,5 is one and a half. Blank lines are skipped.

    Where there is an Adj Close, all four prices are scaled by adjusted close / close of their bar:
    backtests on prices that jump at splits and dividends trade events that no account saw. Volume
    stays as it is.

    Args:
        symbol: The symbol's name.
        file_name: The file's name without its directory, for its extension and for messages.
        content: The whole file.

    Returns:
        At least one bar, in read-only arrays.

    Raises:
        InvalidBarsError: A column is missing; a time is missing, not understood, not after the one
            above it; a price is missing, not a number, not finite, not positive; a high is below,
            or a low above, another price of its bar by more than a millionth; a volume is negative
            or not a number.
    """
    table = read_table(file_name, content)
    time = bar_times(table)
    _check_ascending(table, time)
    prices = {role: _prices(table, role) for role in ("open", "high", "low", "close")}
    for upper, lower in _ORDERED:
        _check_order(table, upper, prices[upper], lower, prices[lower])
    if "adjusted_close" in table.columns:
        prices = _adjusted(prices, _prices(table, "adjusted_close"))
    corners = list(prices.values())
    prices |= {"high": np.maximum.reduce(corners), "low": np.minimum.reduce(corners)}
    bars = Bars(symbol, time, volume=_volume(table), **prices)
    bars.make_read_only()
    return bars


def _check_ascending(table: PriceTable, time: NDArray[np.int64]) -> None:
    def reason(index: int) -> str:
        here, above = (str(time[i].astype("datetime64[ns]"))[:19] for i in (index, index - 1))
        if time[index] == time[index - 1]:
            return f"the time {here} is there twice; keep one row for each time"
        return f"the time {here} is before {above} above it; sort the file, oldest bar first"

    table.refuse(np.append(False, time[1:] <= time[:-1]), reason)


def _check_order(
    table: PriceTable, upper: str, upper_prices: _Floats, lower: str, lower_prices: _Floats
) -> None:
    table.refuse(
        upper_prices < lower_prices * (1 - _RELATIVE_TOLERANCE),
        lambda index: (
            f"the {upper} {upper_prices[index]} is below the {lower} {lower_prices[index]}; "
            "correct the row or delete it"
        ),
    )


def _adjusted(prices: dict[str, _Floats], adjusted_close: _Floats) -> dict[str, _Floats]:
    factor = adjusted_close / prices["close"]
    scaled = {role: values * factor for role, values in prices.items()}
    return scaled | {"close": adjusted_close}


def _prices(table: PriceTable, role: str) -> _Floats:
    name = role.replace("_", " ")
    values = _numbers(table, role)
    table.refuse(
        table.columns[role].is_null().to_numpy(),
        f"the {name} is missing; fill it or delete the row",
    )
    table.refuse(
        ~np.isfinite(values), lambda index: f"the {name} is {values[index]}; correct or delete it"
    )
    table.refuse(
        values <= 0, lambda index: f"the {name} {values[index]} is not positive, as prices must be"
    )
    return values


def _volume(table: PriceTable) -> _Floats:
    if "volume" not in table.columns:
        return np.full(len(table.rows), np.nan)
    values = _numbers(table, "volume")
    table.refuse(
        (values < 0) | np.isinf(values),
        lambda index: f"the volume {values[index]} is not a quantity; leave it empty if unknown",
    )
    return values


def _numbers(table: PriceTable, role: str) -> _Floats:
    """Return a column as float64, NaN where it has nothing."""
    column = table.columns[role]
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
        text = column.str.replace(",", ".", literal=True) if table.decimal_comma else column
    elif column.dtype.is_numeric() or column.dtype == pl.Null:
        text = column
    else:
        raise InvalidBarsError(
            table.file_name, None, f"the {role.replace('_', ' ')} column holds {column.dtype}"
        )
    values = text.cast(pl.Float64, strict=False)
    table.refuse(
        (values.is_null() & column.is_not_null()).to_numpy(),
        lambda index: f"the {role.replace('_', ' ')} {quoted(column[index])} is not a number",
    )
    return values.fill_null(float("nan")).to_numpy(writable=True)
