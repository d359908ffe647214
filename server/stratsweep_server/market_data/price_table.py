"""The content of a price file to a table: its columns by role, each row knowing where it stands."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.errors import InvalidBarsError

# Column names are compared by their letters and digits alone, in lower case.
_TIMES = ("datetime", "timestamp")
_DATE, _CLOCK = "date", "time"
# How pandas writes an index that has no name.
_NAMELESS_INDEX = ("", "index", "unnamed0", "indexlevel0")
_PRICES = ("open", "high", "low", "close")
_ADJUSTED_CLOSE = ("adjclose", "adjustedclose")
_VOLUME = "volume"
_WANTED = (
    "a time (Date, Datetime, Timestamp or Time), Open, High, Low and Close; Adj Close and Volume "
    "are optional"
)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The columns of a price file as they stand in it: text, or what Parquet stores.

    Attributes:
        file_name: The file's name, without its directory.
        columns: By role: one of `time`, `date`, or `date` and `clock`; `open`, `high`, `low`,
            `close`; perhaps `adjusted_close` and `volume`.
        rows: Each row's number in the file, as `InvalidBarsError.row` counts.
    """

    file_name: str
    columns: Mapping[str, pl.Series]
    rows: NDArray[np.int64]

    def refuse(self, bad: NDArray[np.bool_], reason: str | Callable[[int], str]) -> None:
        """Raise for the first bad row, if there is one.

        Args:
            bad: One element per row.
            reason: What is wrong and what to do, or what tells it from the position in the table.

        Raises:
            InvalidBarsError: Some row is bad.
        """
        if bad.any():
            index = int(bad.argmax())
            text = reason if isinstance(reason, str) else reason(index)
            raise InvalidBarsError(self.file_name, int(self.rows[index]), text)


def read_table(file_name: str, content: bytes) -> PriceTable:
    """Read the columns that matter.

    Args:
        file_name: Its extension, in any case, says whether this is CSV or Parquet.
        content: The whole file.

    Raises:
        InvalidBarsError: It is empty, not what its extension says, or lacks rows or a column.
    """
    if not content.strip():
        raise InvalidBarsError(file_name, None, "the file is empty")
    read = _read_parquet if file_name.lower().endswith(".parquet") else _read_csv
    table = read(file_name, content)
    if not len(table.rows):
        raise InvalidBarsError(file_name, None, "there is no row under the column names")
    return table


def _read_parquet(file_name: str, content: bytes) -> PriceTable:
    try:
        names = list(pl.read_parquet_schema(io.BytesIO(content)))
        roles = _roles(file_name, names)
        wanted = [names[position] for position in roles.values()]
        frame = pl.read_parquet(io.BytesIO(content), columns=wanted)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InvalidBarsError(
            file_name, None, "the file is damaged or is not Parquet; write it again"
        ) from error
    columns = {role: frame[names[position]] for role, position in roles.items()}
    return PriceTable(file_name, columns, np.arange(1, frame.height + 1))


def _read_csv(file_name: str, content: bytes) -> PriceTable:
    text = content.removeprefix(_BYTE_ORDER_MARK)
    body = text.lstrip(b"\r\n")
    first_lines = [line.decode(errors="replace") for line in body.split(b"\n", 3)[:3]]
    separator = max(_SEPARATORS, key=first_lines[0].count)
    names, name_line_count = _column_names([_fields(line, separator) for line in first_lines])
    roles = _roles(file_name, names)
    try:
        cells = pl.read_csv(
            body,
            separator=separator,
            infer_schema=False,
            skip_rows_after_header=name_line_count - 1,
        ).select(
            pl.nth(position).str.strip_chars().replace("", None).alias(role)
            for role, position in roles.items()
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _csv_error(file_name, text, separator, len(names)) from error
    filled = cells.select(~pl.all_horizontal(pl.all().is_null())).to_series()
    blank_line_count = text[: len(text) - len(body)].count(b"\n")
    lines = _first_lines(body, separator, name_line_count, cells.height) + blank_line_count
    return PriceTable(file_name, cells.filter(filled).to_dict(), lines[filled.to_numpy()])


def _first_lines(
    body: bytes, separator: str, name_line_count: int, row_count: int
) -> NDArray[np.int64]:
    """Return the 1-based line on which each row begins: quoted fields may have several lines."""
    if b'"' in body and body.rstrip(b"\r\n").count(b"\n") + 1 > name_line_count + row_count:
        with contextlib.suppress(csv.Error):
            starts = [line for line, _ in _records(body.decode(), separator)][name_line_count:]
            if len(starts) >= row_count:
                return np.array(starts[:row_count])
    return np.arange(row_count) + name_line_count + 1


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


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")], delimiter=separator)) or [line]
    except (csv.Error, StopIteration):
        return [line]


def _column_names(first_lines: list[list[str]]) -> tuple[list[str], int]:
    """Return the column names, and how many lines they take.

    They are one line, but three in what `yfinance.download(...).to_csv()` writes:
    `Price,Close,High,…`, then `Ticker,SPY,SPY,…`, then `Date,,,…`.
    """
    header = first_lines[0]
    if [fields[0] for fields in first_lines[:2]] == ["Price", "Ticker"] and len(first_lines) == 3:
        return [first_lines[2][0], *header[1:]], 3
    return header, 1


def _csv_error(file_name: str, text: bytes, separator: str, width: int) -> InvalidBarsError:
    """Find out what the library's message does not say: which line."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        row = text.count(b"\n", 0, error.start) + 1
        return InvalidBarsError(file_name, row, "the text is not UTF-8; save the file as UTF-8")
    with contextlib.suppress(csv.Error):
        for row, fields in _records(decoded, separator):
            if len(fields) > width:
                reason = (
                    f"there are {len(fields)} fields under {width} column names; correct the row"
                )
                return InvalidBarsError(file_name, row, reason)
    return InvalidBarsError(file_name, None, "the file is not CSV; is a quotation mark left open?")


def _roles(file_name: str, names: Sequence[str]) -> dict[str, int]:
    """Find the position of each column that matters.

    Raises:
        InvalidBarsError: One is missing, or is there twice.
    """
    plain = [_plain_name(name) for name in names]

    def position(*spellings: str) -> int | None:
        found = [index for index, name in enumerate(plain) if name in spellings]
        if len(found) > 1:
            shown = _listed([names[index] for index in found])
            raise InvalidBarsError(file_name, None, f"{shown} are the same column; keep one")
        return found[0] if found else None

    found = _time_roles(position)
    found |= {price: position(price) for price in _PRICES}
    if missing := [role for role, index in found.items() if index is None]:
        raise InvalidBarsError(
            file_name,
            None,
            f"no column for {_listed(missing)} among {_listed(names)}; wanted are {_WANTED}",
        )
    found |= {"adjusted_close": position(*_ADJUSTED_CLOSE), "volume": position(_VOLUME)}
    return {role: index for role, index in found.items() if index is not None}


def _plain_name(name: str) -> str:
    """Return a name's letters and digits, in lower case; a second price is one in spite of its 1.

    pandas and polars write a name that is there twice as `Close.1` and `Close_duplicated_0`.
    """
    first = re.sub(r"(\.|_duplicated_)[0-9]+$", "", name)
    plain, plain_first = ("".join(filter(str.isalnum, text)).lower() for text in (name, first))
    return plain_first if plain_first in (*_PRICES, *_ADJUSTED_CLOSE, _VOLUME) else plain


def _time_roles(position: Callable[..., int | None]) -> dict[str, int | None]:
    for name in _TIMES:
        if (index := position(name)) is not None:
            return {"time": index}
    day, clock = position(_DATE), position(_CLOCK)
    if day is not None and clock is not None:
        return {"date": day, "clock": clock}
    if day is not None or clock is not None:
        return {"time": clock if day is None else day}
    return {"time": position(*_NAMELESS_INDEX)}


def _listed(names: Sequence[str], limit: int = 12) -> str:
    """Join names for a message, shortened when they are long or many."""
    shown = [name[:30] or "(no name)" for name in names[:limit]]
    return ", ".join([*shown, "…"] if len(names) > limit else shown)
