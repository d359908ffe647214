"""Read column names of two levels, a price and a symbol, as pandas and yfinance write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stratsweep_server.market_data.column_names import is_value, price_columns
from stratsweep_server.texts import listed

# How pandas writes a name of two levels where there is room for one.
_PAIR = re.compile(r"""^\((['"])(?P<first>.*)\1, (['"])(?P<second>.*)\3\)$""")
# What the levels themselves are called, where they have a name.
_LEVEL_NAMES = frozenset(("ticker", "tickers", "symbol", "symbols", "price", "attributes"))
_MISSING = frozenset(("null", "nan", "none", "n/a"))
_FEWEST_PRICES = 3
_LONGEST_PAIR = 200  # the pattern takes time by the square of it


class SeveralSymbolsError(Exception):
    """Report columns of several symbols; the text names them, and says what to do."""


def names_of_pairs(names: Sequence[str]) -> list[str]:
    """Return the names of prices where names are pairs, such as `('Close', 'SPY')`.

    Raises:
        SeveralSymbolsError: They are of several symbols.
    """
    pairs = [_PAIR.match(name) if len(name) <= _LONGEST_PAIR else None for name in names]
    if not any(pairs):
        return list(names)
    first, second = (
        [pair[level] if pair else name for pair, name in zip(pairs, names, strict=True)]
        for level in ("first", "second")
    )
    prices, symbols = (first, second) if price_columns(first) else (second, first)
    check_one_symbol(prices, symbols)
    return [
        price or symbol if pair else name
        for name, pair, price, symbol in zip(names, pairs, prices, symbols, strict=True)
    ]


def names_without_symbol(names: Sequence[str], symbol: str) -> list[str]:
    """Return the names of prices where each has the file's symbol beside it, such as `Close_SPY`.

    Args:
        names: Of the columns.
        symbol: The file's.
    """
    if len(price_columns(names)) >= _FEWEST_PRICES or not symbol:
        return list(names)
    beside = re.escape(symbol)
    return [
        re.sub(rf"^{beside}[ _.|-]|[ _.|-]{beside}$", "", name, count=1, flags=re.IGNORECASE)
        for name in names
    ]


def is_price(name: str) -> bool:
    """Return whether a name is that of an open, high, low or close."""
    return bool(price_columns([name]))


def is_level_name(field: str) -> bool:
    """Return whether a field is what pandas calls a level of columns, and so no column itself."""
    return field.strip().lower() in _LEVEL_NAMES


def is_of_symbols(fields: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a line beside that of the names tells the symbols of the columns.

    Args:
        fields: Of the line.
        names: Of the columns.
    """
    if any(map(is_value, fields)) and not is_level_name(fields[0]):
        return False
    if len(fields) != len(names) or len(price_columns(names)) < _FEWEST_PRICES:
        return False
    of_prices = [field.strip() for field, name in zip(fields, names, strict=True) if is_price(name)]
    if not all(of_prices) or any(field.lower() in _MISSING for field in of_prices):
        return False
    return not any(is_price(field) for field in of_prices)


def check_one_symbol(names: Sequence[str], symbols: Sequence[str]) -> None:
    """Refuse columns of several symbols.

    Args:
        names: Of the columns.
        symbols: Theirs.

    Raises:
        SeveralSymbolsError: The prices are of several symbols.
    """
    found = dict.fromkeys(
        symbol for name, symbol in zip(names, symbols, strict=True) if is_price(name)
    )
    if len(found) > 1:
        raise SeveralSymbolsError(
            f"there are prices of {len(found)} symbols, {listed(found)}; write one file for each"
        )
