"""The content of a CSV file to a table of the columns that matter, as text."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.column_levels import SeveralSymbolsError, names_without_symbol
from stratsweep_server.market_data.column_names import ColumnNamesError, column_positions
from stratsweep_server.market_data.csv_header import NoColumnNamesError, read_header
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_names import symbol_of
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.text_encoding import not_utf_8, text_of


def read_csv(file_name: str, content: bytes) -> PriceTable:
    """Read the columns that matter; lines are counted from 1, those above the names included.

    Raises:
        InvalidBarsError: It is not CSV, has no names, or lacks a column.
    """
    text = text_of(file_name, content)
    blank_lines = _blank_lines(text)
    try:
        header = read_header(text[blank_lines:])
        names = names_without_symbol(header.names, symbol_of(file_name))
        positions = column_positions(names)
    except (ColumnNamesError, NoColumnNamesError, SeveralSymbolsError) as error:
        raise InvalidBarsError(file_name, None, str(error)) from error
    names_start = _line_start(text, blank_lines, header.last_line)
    separator, lines_above = header.separator, text.count(b"\n", 0, names_start)
    body = text[names_start:]
    try:
        cells = pl.read_csv(body, separator=separator, infer_schema=False).select(
            pl.nth(position).str.strip_chars().replace("", None).alias(role)
            for role, position in positions.items()
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _csv_error(file_name, body, separator, len(header.names), lines_above) from error
    filled = cells.select(~pl.all_horizontal(pl.all().is_null())).to_series()
    lines = _first_lines(body, separator, cells.height) + lines_above
    return PriceTable(file_name, cells.filter(filled).to_dict(), lines[filled.to_numpy()])


def _blank_lines(text: bytes) -> int:
    """Return the length of the blank lines at the begin."""
    return len(text) - len(text.lstrip(b"\r\n"))


def _line_start(text: bytes, start: int, number: int) -> int:
    """Return where a line begins, counted from 1 at a place."""
    for _ in range(number - 1):
        start = text.index(b"\n", start) + 1
    return start


def _first_lines(body: bytes, separator: str, row_count: int) -> NDArray[np.int64]:
    """Return the 1-based line on which each row begins: quoted fields may have several lines."""
    if b'"' in body and body.rstrip(b"\r\n").count(b"\n") + 1 > 1 + row_count:
        with contextlib.suppress(csv.Error):
            starts = [line for line, _ in _records(body.decode(), separator)][1:]
            if len(starts) >= row_count:
                return np.array(starts[:row_count])
    return np.arange(row_count) + 2


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each record with its first line; a blank line is one without fields.

    Raises:
        csv.Error: A field is too long, such as one whose quotation mark is left open.
    """
    reader = csv.reader(text.split("\n"), delimiter=separator)
    line = 1
    for fields in reader:
        yield line, fields
        line = reader.line_num + 1


def _csv_error(
    file_name: str, body: bytes, separator: str, width: int, lines_above: int
) -> InvalidBarsError:
    """Find out what the library's message does not say: which line."""
    try:
        decoded = body.decode()
    except UnicodeDecodeError as error:
        row = lines_above + body.count(b"\n", 0, error.start) + 1
        return InvalidBarsError(file_name, row, not_utf_8(body, error.start))
    with contextlib.suppress(csv.Error):
        for row, fields in _records(decoded, separator):
            if len(fields) > width:
                reason = (
                    f"there are {len(fields)} fields under {width} column names; correct the row"
                )
                return InvalidBarsError(file_name, lines_above + row, reason)
    return InvalidBarsError(file_name, None, "the file is not CSV; is a quotation mark left open?")
