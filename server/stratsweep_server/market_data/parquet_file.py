"""Read the columns of a Parquet file that matter into a table."""

from __future__ import annotations

import io

import numpy as np
import polars as pl

from stratsweep_server.market_data.bad_rows import BadRows
from stratsweep_server.market_data.column_levels import (
    SeveralSymbolsError,
    names_of_pairs,
    names_without_symbol,
)
from stratsweep_server.market_data.column_names import (
    ColumnNamesError,
    column_positions,
    names_utc,
    symbol_column,
    volume_note,
    writes_month_first,
)
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.file_names import symbol_of
from stratsweep_server.market_data.price_table import PriceTable


def read_parquet(file_name: str, content: bytes, layout: FileLayout | None = None) -> PriceTable:
    """Read the columns that matter; rows are counted from 1.

    Args:
        file_name: For messages.
        content: The whole file.
        layout: What the caller tells of its columns.

    Raises:
        InvalidBarsError: It is not Parquet, or lacks a column.
    """
    try:
        names = list(pl.read_parquet_schema(io.BytesIO(content)))
        plain = names_without_symbol(names_of_pairs(names), symbol_of(file_name))
        positions = column_positions(plain, layout.columns if layout else None)
        wanted = list(dict.fromkeys(names[position] for position in positions.values()))
        frame = pl.read_parquet(io.BytesIO(content), columns=wanted)
    except (ColumnNamesError, SeveralSymbolsError) as error:
        raise InvalidBarsError(file_name, None, str(error)) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = "the file is damaged or is not Parquet; write it again"
        if "unable to parse time zone" in str(error):  # pandas stores offsets such as +05:30
            reason = "times are stored with a zone that has no IANA name; convert them to UTC"
        raise InvalidBarsError(file_name, None, reason) from error
    columns = {role: frame[names[position]] for role, position in positions.items()}
    return PriceTable(
        columns,
        BadRows(file_name, np.arange(1, frame.height + 1)),
        volume_note(plain, positions),
        symbol_column(plain),
        writes_month_first(plain),
        names_utc(plain, positions),
    )
