"""Find the lines of a CSV file that name its columns, and what stands above them.

Above them may be lines of text, such as an address or `sep=;`, which have no values.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from stratsweep_server.market_data.column_levels import (
    check_one_symbol,
    is_level_name,
    is_of_symbols,
    is_price,
    names_of_pairs,
)
from stratsweep_server.market_data.column_names import is_value, price_columns
from stratsweep_server.market_data.file_layout import FileLayout

SEPARATORS = (",", ";", "\t", "|")

# How far down names are looked for, and how many of the four prices they must have.
_LINE_LIMIT = 40
_FEWEST_PRICES = 3
_FEWEST_VALUES = 4


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """Hold the names of a CSV file's columns, and where they stand.

    Attributes:
        separator: What stands between fields.
        names: One for each column, as they are written.
        last_line: The number of lines from the file's begin to the last one with names.
        lines_above: Lines of text, above the names, that are left out.
        is_in_file: Whether the file has the names; else its first row is the last line.
    """

    separator: str
    names: list[str]
    last_line: int
    lines_above: tuple[str, ...] = ()
    is_in_file: bool = True


class NoColumnNamesError(Exception):
    """Report a first line that has values, not names; the text says what to do."""


def read_header(text: bytes, layout: FileLayout | None = None) -> CsvHeader:
    """Find the names of the columns.

    Args:
        text: The file, or its first lines, beginning with one that is not blank.
        layout: Tells the names of columns where the first line has values.

    Raises:
        NoColumnNamesError: The first line has values, and there is no layout.
        ColumnNamesError: It has values, and they are not those of the layout.
        SeveralSymbolsError: The names are those of several symbols.
    """
    lines = [
        line.decode(errors="replace").rstrip("\r")
        for line in text.split(b"\n", _LINE_LIMIT)[:_LINE_LIMIT]
    ]
    index = _line_of_names(lines)
    separator = _separator(lines[index])
    names = names_of_pairs(fields_of(lines[index], separator))
    text_above = tuple(line for line in lines[:index] if line.strip())
    if _has_values(names) and layout is not None:
        return CsvHeader(separator, layout.names_of(names), index + 1, text_above, is_in_file=False)
    if _has_values(names):
        place = "the first line" if index == 0 else "the first line of several fields"
        raise NoColumnNamesError(f"{place} has values, not names: {_advice(names, separator)}")
    above, below = (
        [fields_of(line, separator) for line in some]
        for some in (lines[:index], lines[index + 1 :][:2])
    )
    names, tickers_above, lines_below = _complete(names, above[-1:], below)
    if tickers_above:
        text_above = text_above[:-1]
    return CsvHeader(separator, names, index + 1 + lines_below, text_above)


def fields_of(line: str, separator: str) -> list[str]:
    """Return the fields of a line; the whole line is one where it is not CSV."""
    try:
        return next(csv.reader([line], delimiter=separator)) or [line]
    except (csv.Error, StopIteration):
        return [line]


def _separator(line: str) -> str:
    return max(SEPARATORS, key=line.count)


def _line_of_names(lines: Sequence[str]) -> int:
    """Return the position of the first line that names prices, else of the last above values."""
    last = 0
    for index, line in enumerate(lines):
        fields = names_of_pairs(fields_of(line, _separator(line)))
        if len(price_columns(fields)) >= _FEWEST_PRICES:
            return index
        if _has_values(fields):
            is_text = len(fields_of(lines[last], _separator(lines[last]))) == 1
            return index if is_text else last
        if line.strip():
            last = index
    return 0


def _has_values(fields: Sequence[str]) -> bool:
    return (
        not is_level_name(fields[0]) and sum(is_value(field) for field in fields) >= _FEWEST_VALUES
    )


def _advice(values: Sequence[str], separator: str) -> str:
    times = ["Date", "Time"] if ":" in values[1] else ["Date"]
    usual = [*times, "Open", "High", "Low", "Close", "Volume"]
    names = separator.join(usual[: max(len(values), len(usual) - 1)]).replace("\t", "<tab>")
    more = f" and a name for each of its {len(values)} columns" if len(values) > len(usual) else ""
    return (
        f"add a line above it with names in the order of its values, such as {names}{more}; or "
        "make a Parquet file of it with `stratsweep import`, which knows vendors' layouts"
    )


def _complete(
    names: list[str], above: Sequence[list[str]], below: Sequence[list[str]]
) -> tuple[list[str], int, int]:
    """Put names together that are on several lines, as pandas writes columns of two levels.

    A line of tickers is above or below that of the names, and below them one that names the index.

    Returns:
        The names, and how many lines of theirs are above and below.
    """
    if above and is_of_symbols(above[0], names):
        tickers, tickers_above, tickers_below = above[0], 1, 0
    elif below and is_of_symbols(below[0], names):
        tickers, tickers_above, tickers_below = below[0], 0, 1
    else:
        return names, 0, 0
    check_one_symbol(names, tickers)
    names = [name or ticker for name, ticker in zip(names, tickers, strict=True)]
    if is_level_name(tickers[0]) or is_level_name(names[0]):
        names[0] = ""
    index = below[tickers_below] if len(below) > tickers_below else []
    if _names_index(index, names):
        names = [field or name for field, name in zip(index, names, strict=False)]
        return names, tickers_above, tickers_below + 1
    return names, tickers_above, tickers_below


def _names_index(fields: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a line names columns beside those of prices, which it leaves empty."""
    return (
        len(fields) == len(names)
        and any(fields)
        and not any(field for field, name in zip(fields, names, strict=True) if is_price(name))
        and not any(map(is_value, fields))
    )
