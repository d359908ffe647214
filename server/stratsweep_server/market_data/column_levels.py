"""Columns whose names have two levels, a price and a symbol, as pandas and yfinance write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stratsweep_server.market_data.column_names import is_value, price_columns
from stratsweep_server.market_data.errors import listed

# How pandas writes a name of two levels where there is room for one.
_PAIR = re.compile(r"""^\((['"])(?P<first>.*)\1, (['"])(?P<second>.*)\3\)$""")
_LEVEL_NAMES = frozenset(("ticker", "tickers", "symbol", "symbols"))
_MISSING = frozenset(("null", "nan", "none", "n/a"))
_FEWEST_PRICES = 3


class SeveralSymbolsError(Exception):
    """A file has columns of several symbols; the text names them, and says what to do."""


def names_of_pairs(names: Sequence[str]) -> list[str]:
    """Return the names of prices where names are pairs, such as `('Close', 'SPY')`.

    Raises:
        SeveralSymbolsError: They are of several symbols.
    """
    pairs = [_PAIR.match(name) for name in names]
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


def is_price(name: str) -> bool:
    """Whether a name is that of an open, high, low or close."""
    return bool(price_columns([name]))


def is_of_symbols(fields: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a line beside that of the names tells the symbols of the columns.

    Args:
        fields: Of the line.
        names: Of the columns.
    """
    if len(fields) != len(names) or len(price_columns(names)) < _FEWEST_PRICES:
        return False
    of_prices = [field.strip() for field, name in zip(fields, names, strict=True) if is_price(name)]
    if not all(of_prices) or any(field.lower() in _MISSING for field in of_prices):
        return False
    if any(is_price(field) for field in of_prices):
        return False
    return fields[0].strip().lower() in _LEVEL_NAMES or not any(map(is_value, fields))


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
