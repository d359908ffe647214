"""Read the columns of a CSV file that matter into a table, as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.bad_rows import BadRows
from stratsweep_server.market_data.column_levels import SeveralSymbolsError, names_without_symbol
from stratsweep_server.market_data.column_names import (
    ColumnNamesError,
    column_positions,
    names_utc,
    symbol_column,
    volume_note,
    writes_month_first,
)
from stratsweep_server.market_data.csv_header import (
    CsvHeader,
    NoColumnNamesError,
    fields_of,
    read_header,
)
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.file_names import symbol_of
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.text_encoding import not_utf_8, text_of


def read_csv(file_name: str, content: bytes, layout: FileLayout | None = None) -> PriceTable:
    """Read the columns that matter; lines are counted from 1, those above the names included.

    Args:
        file_name: For messages.
        content: The whole file.
        layout: What the caller tells of its columns.

    Rows of more fields than there are names, and a last one that is cut off, are reported as bad.

    Raises:
        InvalidBarsError: It is not CSV, has no names, lacks a column, or rows of it would be lost.
    """
    text = text_of(file_name, content)
    blank_lines = len(text) - len(text.lstrip(b"\r\n"))
    try:
        header = read_header(text[blank_lines:], layout)
        names = names_without_symbol(header.names, symbol_of(file_name))
        positions = column_positions(names, layout.columns if layout else None)
    except (ColumnNamesError, NoColumnNamesError, SeveralSymbolsError) as error:
        reason = "; ".join([str(error), *_encoding_problem(text)])
        raise InvalidBarsError(file_name, None, reason) from error
    start = blank_lines
    for _ in range(header.last_line - 1):
        start = text.index(b"\n", start) + 1
    lines_above = text.count(b"\n", 0, start)
    text = text[start:]
    if not header.is_in_file:
        text = header.separator.join(header.names).encode() + b"\n" + text
        lines_above -= 1
    body = _Body(file_name, text, header, lines_above)
    try:
        cells, widths = body.read(positions), None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        cells, widths = body.read_narrowed(positions, error)
    is_filled = cells.select(~pl.all_horizontal(pl.all().is_null())).to_series()
    bad_rows = BadRows(file_name, body.lines(cells.height)[is_filled.to_numpy()])
    if body.ends_within_a_row():
        is_last = np.arange(len(bad_rows.rows)) == len(bad_rows.rows) - 1
        bad_rows.report(is_last, "the file ends in the middle of it", "get the whole file")
    if widths is not None:
        widths = widths[is_filled.to_numpy()]
        bad_rows.report(
            widths > len(names),
            lambda index: f"there are {widths[index]} fields under {len(names)} column names",
            "correct the row",
        )
    return PriceTable(
        cells.filter(is_filled).to_dict(),
        bad_rows,
        (*_notes(header), *volume_note(names, positions)),
        symbol_column(names),
        writes_month_first(names) or (layout is not None and layout.writes_month_first),
        names_utc(names, positions),
    )


def _encoding_problem(text: bytes) -> Iterator[str]:
    """Say why names may look strange."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        yield not_utf_8(text, error.start)


def _notes(header: CsvHeader) -> tuple[str, ...]:
    """Tell which lines were left out, but for one that only names the separator."""
    left_out = [line for line in header.lines_above if not line.startswith("sep=")]
    if not left_out:
        return ()
    count = len(left_out)
    lines = "the line" if count == 1 else f"the {count} lines"
    return (f"{lines} above the column names {'was' if count == 1 else 'were'} left out",)


@dataclass(frozen=True, slots=True)
class _Body:
    """Hold a CSV file from the last line of its names on.

    Attributes:
        file_name: Its name, for messages.
        text: What is left of it.
        header: Its names.
        lines_above: The number of lines that are not.
    """

    file_name: str
    text: bytes
    header: CsvHeader
    lines_above: int

    def read(self, positions: Mapping[str, int], *, is_narrowed: bool = False) -> pl.DataFrame:
        """Return columns by their role, as text, null where there is none."""
        return pl.read_csv(
            self.text,
            separator=self.header.separator,
            infer_schema=False,
            truncate_ragged_lines=is_narrowed,
        ).select(
            pl.nth(position).str.strip_chars().replace("", None).alias(role)
            for role, position in positions.items()
        )

    def read_narrowed(
        self, positions: Mapping[str, int], error: Exception
    ) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """Return columns although some rows are too wide, and each row's width.

        Args:
            positions: Of the columns.
            error: What the library says, which is not which line.

        Raises:
            InvalidBarsError: That is not why it could not be read.
        """
        try:
            records = self._records(self.text.decode())
            widths = np.fromiter((len(fields) for _, fields in records), dtype=np.int64)[1:]
            cells = self.read(positions, is_narrowed=True)
        except UnicodeDecodeError as not_text:
            row = self.lines_above + self.text.count(b"\n", 0, not_text.start) + 1
            reason = not_utf_8(self.text, not_text.start)
            raise InvalidBarsError(self.file_name, row, reason) from error
        except (csv.Error, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            widths, cells = np.empty(0, dtype=np.int64), pl.DataFrame()
        if len(widths) < cells.height or not (widths > len(self.header.names)).any():
            raise self._not_csv() from error
        return cells, widths[: cells.height]

    def lines(self, row_count: int) -> NDArray[np.int64]:
        """Return the line on which each row begins: quoted fields may have several lines.

        Raises:
            InvalidBarsError: There are more rows than were read, or a field has rows in it: between
                two quotation marks, or behind one that is left open.
        """
        if b'"' not in self.text or self.text.rstrip(b"\r\n").count(b"\n") <= row_count:
            return np.arange(row_count) + self.lines_above + 2
        starts, last_filled = [], 0
        try:
            for line, fields in islice(self._records(self.text.decode()), 1, None):
                starts.append(line)
                last_filled = len(starts) if fields else last_filled
                self._refuse_rows_in(fields, line)
        except csv.Error as error:
            raise self._not_csv() from error
        if last_filled > row_count:
            raise self._not_csv()
        return np.array(starts[:row_count], dtype=np.int64) + self.lines_above

    def _not_csv(self) -> InvalidBarsError:
        reason = "the file is not CSV; is a quotation mark left open?"
        return InvalidBarsError(self.file_name, None, reason)

    def ends_within_a_row(self) -> bool:
        """Return whether the last line has no end, and too few fields, unlike the one above it."""
        end_above = self.text.rfind(b"\n")
        if not self.text[end_above + 1 :].strip():
            return False
        begin_above = self.text.rfind(b"\n", 0, end_above) + 1
        above, last = (
            len(fields_of(line.decode(errors="replace"), self.header.separator))
            for line in (self.text[begin_above:end_above], self.text[end_above + 1 :])
        )
        return last < min(above, len(self.header.names))

    def _refuse_rows_in(self, fields: list[str], line: int) -> None:
        """Refuse a field that has rows in it, which nobody would miss.

        From a quotation mark to the next in the same column of a row below, there are as many
        separators as in a row.
        """
        separator, least = self.header.separator, len(self.header.names) - 1
        if any("\n" in field and field.count(separator) >= least for field in fields):
            reason = "a quotation mark is left open, and the next one is in a row below; close it"
            raise InvalidBarsError(self.file_name, line + self.lines_above, reason)

    def _records(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Yield the fields of each record with its line; a blank line is one without fields.

        Raises:
            csv.Error: A field is too long, such as one whose quotation mark is left open.
        """
        lines = (f"{line}\n" for line in text.split("\n"))
        reader = csv.reader(lines, delimiter=self.header.separator)
        line = 1
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
