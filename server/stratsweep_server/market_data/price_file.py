"""The content of a price file to checked bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.price_content import read_table
from stratsweep_server.market_data.price_numbers import Floats, read_numbers
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.price_times import bar_times

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
    """Read and check the bars of a price file.

    Columns are found by name in any case and order: a time (Date, Datetime, Timestamp, Time, Date
    with Time, or the nameless index that pandas writes), Open, High, Low, Close, and optionally
    Adj Close and Volume; the rest is ignored. CSV is UTF-8 with commas, semicolons, tabs or pipes
    between fields. Blank lines are skipped. How times and numbers may be written is said in
    `price_times` and `price_numbers`.

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
        InvalidBarsError: A column is missing; a time is missing, not understood, ambiguous, not
            after the one above it; a price is missing, not a number, ambiguous, not finite, not
            positive; a high is below, or a low above, another price of its bar by more than a
            millionth; a volume is negative, ambiguous or not a number.
    """
    table = read_table(file_name, content)
    time = bar_times(table)
    _check_ascending(table, time)
    numbers = read_numbers(table)
    prices = {role: _prices(table, numbers, role) for role in ("open", "high", "low", "close")}
    for upper, lower in _ORDERED:
        _check_order(table, upper, prices[upper], lower, prices[lower])
    if "adjusted_close" in numbers:
        prices = _adjusted(table, prices, _prices(table, numbers, "adjusted_close"))
    corners = list(prices.values())
    prices |= {"high": np.maximum.reduce(corners), "low": np.minimum.reduce(corners)}
    bars = Bars(symbol, time, volume=_volume(table, numbers), **prices)
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
    table: PriceTable, upper: str, upper_prices: Floats, lower: str, lower_prices: Floats
) -> None:
    table.refuse(
        upper_prices < lower_prices * (1 - _RELATIVE_TOLERANCE),
        lambda index: (
            f"the {upper} {upper_prices[index]} is below the {lower} {lower_prices[index]}; "
            "correct the row or delete it"
        ),
    )


def _adjusted(
    table: PriceTable, prices: dict[str, Floats], adjusted_close: Floats
) -> dict[str, Floats]:
    with np.errstate(all="ignore"):  # what overflows is refused
        factor = adjusted_close / prices["close"]
        scaled = {role: values * factor for role, values in prices.items()}
    table.refuse(
        np.logical_or.reduce([~((values > 0) & (values < np.inf)) for values in scaled.values()]),
        lambda index: (
            f"the adjusted close {adjusted_close[index]} is too far from the close "
            f"{prices['close'][index]} to scale prices by; correct or delete it"
        ),
    )
    return scaled | {"close": adjusted_close}


def _prices(table: PriceTable, numbers: Mapping[str, Floats], role: str) -> Floats:
    name, values = role.replace("_", " "), numbers[role]
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


def _volume(table: PriceTable, numbers: Mapping[str, Floats]) -> Floats:
    """Return the traded volume, or the number of ticks where only that is counted.

    MetaTrader writes both, and zeros for the volume of markets that tell none.
    """
    counts = [
        _quantities(table, numbers[role], role.replace("_", " "))
        for role in ("volume", "tick_volume")
        if role in numbers
    ]
    counts = [each for each in counts if each.any()] or counts
    return counts[0] if counts else np.full(len(table.rows), np.nan)


def _quantities(table: PriceTable, values: Floats, name: str) -> Floats:
    table.refuse(
        (values < 0) | np.isinf(values),
        lambda index: f"the {name} {values[index]} is not a quantity; leave it empty if unknown",
    )
    return values
