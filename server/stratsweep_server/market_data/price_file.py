"""Turn the content of a price file into checked bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_content import read_table
from stratsweep_server.market_data.price_numbers import Floats, number_type_problems, read_numbers
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.price_times import FileTimes, bar_times, time_type_problems
from stratsweep_server.market_data.price_zone import in_timezone, shown
from stratsweep_server.texts import quoted

_PRICES = ("open", "high", "low", "close")
# By how much of itself a high may be below, or a low above, what it must bound: vendors' 32-bit
# floats and rounded adjustments are off by less. Such bars are widened to be consistent.
_RELATIVE_TOLERANCE = 1e-6
_HOUR = 3600 * 10**9
_ORDERED = (
    ("high", "low"),
    ("high", "open"),
    ("high", "close"),
    ("open", "low"),
    ("close", "low"),
)


@dataclass(frozen=True, slots=True)
class PriceFile:
    """Hold what a price file says.

    Attributes:
        bars: Its bars, in read-only arrays.
        notes: What was done to read them that is worth knowing; each a sentence without a stop.
    """

    bars: Bars
    notes: tuple[str, ...] = ()


def read_price_file(symbol: str, file_name: str, content: bytes, timezone: str = UTC) -> PriceFile:
    """Read a price file that must have no bad row.

    Columns are found by name in any case and order, as `column_names` says; the rest is ignored.
    CSV has commas, semicolons, tabs or pipes between fields. Blank lines are skipped. How times and
    numbers may be written is said in `price_times` and `price_numbers`. Rows from the newest to the
    oldest are turned round.

    Where there is an Adj Close, all four prices are scaled by adjusted close / close of their bar:
    backtests on prices that jump at splits and dividends trade events that no account saw. Volume
    stays as it is.

    Args:
        symbol: The symbol's name.
        file_name: The file's name without its directory, for its extension and for messages.
        content: The whole file.
        timezone: IANA name of the zone of times without one, and of the bars' days.

    Returns:
        At least one bar.

    Raises:
        InvalidBarsError: A column is missing; a time is missing, not understood, ambiguous, was
            never or twice by the clocks of the zone, is not after the one above it; a price is
            missing, not a number, ambiguous, not finite, not positive; a high is below, or a low
            above, another price of its bar by more than a millionth; a volume is negative,
            ambiguous or not a number.
    """
    table = read_table(file_name, content)
    price_file = checked(symbol, table, timezone)
    table.bad_rows.refuse()
    return price_file


def checked(symbol: str, table: PriceTable, timezone: str = UTC) -> PriceFile:
    """Make bars of a table, and report its bad rows to it; bars of such rows mean nothing.

    Args:
        symbol: The symbol's name.
        table: Of which nothing has been checked.
        timezone: As in `read_price_file`.

    Raises:
        InvalidBarsError: A column is stored as what is no time or number.
    """
    if problems := [*time_type_problems(table), *number_type_problems(table)]:
        raise InvalidBarsError(table.file_name, None, "; ".join(problems))
    file_times, numbers = bar_times(table), read_numbers(table)
    time, timezone = in_timezone(table, file_times, timezone)
    is_descending = _check_order_of_times(table, time, file_times, timezone)
    prices = {role: _prices(table, numbers, role) for role in _PRICES}
    for upper, lower in _ORDERED:
        _check_order_of_prices(table, upper, prices[upper], lower, prices[lower])
    if "adjusted_close" in numbers:
        prices = _adjusted(table, prices, _prices(table, numbers, "adjusted_close"))
    corners = list(prices.values())
    prices |= {"high": np.maximum.reduce(corners), "low": np.minimum.reduce(corners)}
    volume, volume_notes = _volume(table, numbers)
    notes = [*table.notes, *volume_notes]
    columns: dict[str, Any] = {**prices, "volume": volume}
    bars = Bars(symbol, time, **columns, timezone=timezone)
    if is_descending:
        bars = bars.reversed()
        notes.append("the rows were newest first and have been turned round")
    bars.make_read_only()
    return PriceFile(bars, tuple(notes))


def _check_order_of_times(
    table: PriceTable, time: NDArray[np.int64], file_times: FileTimes, timezone: str
) -> bool:
    """Return whether most times are before the one above; report those that are not as most are."""
    rows = table.bad_rows.without("time")
    here, above = time[rows[1:]], time[rows[:-1]]
    is_before, is_after = here < above, here > above
    is_descending = bool(np.count_nonzero(is_before) > np.count_nonzero(is_after))
    row_above = np.zeros(len(table), dtype=np.int64)
    row_above[rows[1:]] = rows[:-1]
    is_twice, is_bad = (np.zeros(len(table), dtype=bool) for _ in range(2))
    is_twice[rows[1:]] = ~(is_before | is_after)
    is_bad[rows[1:]] = is_after if is_descending else is_before
    relation = "after" if is_descending else "before"
    more = ""
    if table.symbol_column:
        more = f", and of one symbol, if {quoted(table.symbol_column)} has several"
    elif (
        timezone == UTC and file_times.are_local and _are_nights_of_sundays(time[is_twice | is_bad])
    ):
        more = ", or name the time zone, if its clocks were set back then"
    table.bad_rows.report(
        is_twice,
        lambda index: f"the time {shown(file_times.nanoseconds[index])} is there twice",
        "keep one row for each time" + more,
        "time",
    )
    table.bad_rows.report(
        is_bad,
        lambda index: (
            f"the time {shown(file_times.nanoseconds[index])} is {relation} "
            f"{shown(file_times.nanoseconds[row_above[index]])} above it"
        ),
        f"sort the file, {'newest' if is_descending else 'oldest'} bar first" + more,
        "time",
    )
    return is_descending


def _are_nights_of_sundays(local: NDArray[np.int64]) -> bool:
    """Return whether local times are all from when most zones set their clocks back."""
    hours = local // _HOUR
    return bool(((hours // 24 + 4) % 7 == 0).all() and (hours % 24 < 4).all())


def _check_order_of_prices(
    table: PriceTable, upper: str, upper_prices: Floats, lower: str, lower_prices: Floats
) -> None:
    table.bad_rows.report(
        upper_prices < lower_prices * (1 - _RELATIVE_TOLERANCE),
        lambda index: (
            f"the {upper} {upper_prices[index]} is below the {lower} {lower_prices[index]}"
        ),
        "correct the row or delete it",
        upper,
        lower,
    )


def _adjusted(
    table: PriceTable, prices: dict[str, Floats], adjusted_close: Floats
) -> dict[str, Floats]:
    with np.errstate(all="ignore"):  # what overflows is refused
        factor = adjusted_close / prices["close"]
        scaled = {role: values * factor for role, values in prices.items()}
    table.bad_rows.report(
        np.logical_or.reduce([~((values > 0) & (values < np.inf)) for values in scaled.values()]),
        lambda index: (
            f"the adjusted close {adjusted_close[index]} is too far from the close "
            f"{prices['close'][index]} to scale prices by"
        ),
        "correct or delete it",
        "adjusted_close",
        *_PRICES,
    )
    return scaled | {"close": adjusted_close}


def _prices(table: PriceTable, numbers: Mapping[str, Floats], role: str) -> Floats:
    name, values, report = role.replace("_", " "), numbers[role], table.bad_rows.report
    is_missing = table.columns[role].is_null().to_numpy()
    report(is_missing, f"the {name} is missing", "fill it or delete the row", role)
    report(
        ~np.isfinite(values),
        lambda index: f"the {name} is {values[index]}",
        "correct or delete it",
        role,
    )
    report(
        values <= 0,
        lambda index: f"the {name} {values[index]} is not positive, as prices must be",
        "",
        role,
    )
    return values


def _volume(table: PriceTable, numbers: Mapping[str, Floats]) -> tuple[Floats, list[str]]:
    """Return the traded volume, or the number of ticks where only that is counted, and a note.

    MetaTrader writes both, and zeros for the volume of markets that tell none.
    """
    volume, ticks = (
        _quantities(table, numbers[role], role) if role in numbers else None
        for role in ("volume", "tick_volume")
    )
    if ticks is not None and (volume is None or (ticks.any() and not volume.any())):
        return ticks, ["the volume is the number of ticks; no other is told"]
    return np.full(len(table), np.nan) if volume is None else volume, []


def _quantities(table: PriceTable, values: Floats, role: str) -> Floats:
    name = role.replace("_", " ")
    table.bad_rows.report(
        (values < 0) | np.isinf(values),
        lambda index: f"the {name} {values[index]} is not a quantity",
        "leave it empty if unknown",
        role,
    )
    return values
