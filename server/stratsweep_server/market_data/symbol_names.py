"""Guess what was meant by the name of a symbol that is not there. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from stratsweep_server.market_data.errors import UnknownSymbolError
from stratsweep_server.market_data.file_names import symbol_of
from stratsweep_server.texts import listed

_BETWEEN_SYMBOLS = re.compile(r"[,;|\s]+")
_AROUND_SYMBOLS = " \t\r\n,;|[](){}'\""
_READ = (
    "give it as .csv, .txt, .tsv, one of these with .gz or .zst, or .parquet, to which "
    "`stratsweep import` turns a .zip, too"
)


def unknown_symbol(
    symbol: str, names: Collection[str], unread: tuple[str, ...] = ()
) -> UnknownSymbolError:
    """Return the error for a symbol without a price file, with the most likely reason.

    Args:
        symbol: What was asked for.
        names: The symbols that there are.
        unread: Names of files that seem to have its prices, in formats that are not read.
    """
    nearest = nearest_names(symbol, names)
    hint = _hint(symbol, names, nearest)
    if unread:
        hint = f"{listed(unread, 3)} is there, but files like it are not read: {_READ}"
    return UnknownSymbolError(symbol, nearest, hint, unread)


def several_symbols(text: str, names: Collection[str]) -> list[str]:
    """Return the symbols in a text that lists more than one; else none.

    Blanks separate symbols only where one of them is known: a name may have blanks.
    """
    parts = [part.strip(_AROUND_SYMBOLS) for part in _BETWEEN_SYMBOLS.split(text)]
    symbols = list(dict.fromkeys(part for part in parts if part))
    is_list = any(separator in text for separator in ",;|")
    if len(symbols) > 1 and (is_list or not set(symbols).isdisjoint(names)):
        return symbols
    return []


def nearest_names(symbol: str, names: Collection[str]) -> tuple[str, ...]:
    """Return up to three names that are most like a symbol, in whatever case."""
    by_folded: dict[str, list[str]] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), []).append(name)
    close = difflib.get_close_matches(symbol.casefold(), by_folded, n=3, cutoff=0.5)
    return tuple(name for folded in close for name in by_folded[folded])[:3]


def _hint(symbol: str, names: Collection[str], nearest: tuple[str, ...]) -> str:
    if several := several_symbols(symbol, names):
        return (
            f"it names {len(several)} symbols; repeat --symbol, or use a list in a program: "
            f"{listed(several)}"
        )
    bare = (symbol_of(symbol) or symbol).strip(_AROUND_SYMBOLS)
    if bare != symbol and bare in names:
        return f"write {bare}, the name of the file without its extension"
    same = [name for name in nearest if name.casefold() == bare.casefold()]
    if same:
        return f"write {' or '.join(same)}: upper and lower case differ"
    if not names:
        return "there is no price file, SYMBOL.csv or SYMBOL.parquet, in the data directory"
    hint = f"the nearest: {', '.join(nearest)}" if nearest else "no symbol is named like it"
    return f"{hint}; `stratsweep strategies` lists every symbol"
