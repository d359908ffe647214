"""Hold a price file as a table: its columns by role, each row knowing where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.bad_rows import BadRows


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Hold the columns of a price file as they stand in it: text, or what Parquet stores.

    Attributes:
        columns: By role: one of `time`, `date`, or `date` and `clock`; `open`, `high`, `low`,
            `close`; perhaps `adjusted_close`, `volume` and `tick_volume`.
        bad_rows: What is wrong with rows, as far as they have been checked.
        notes: What was done to read the file that is worth knowing.
        symbol_column: The name of a column that may tell several symbols apart; empty without one.
        writes_month_first: Whether the file's vendor always writes 12/31/2024.
        names_utc: Whether the name of the time's column says that times are UTC.
    """

    columns: Mapping[str, pl.Series]
    bad_rows: BadRows
    notes: tuple[str, ...] = ()
    symbol_column: str = ""
    writes_month_first: bool = False
    names_utc: bool = False

    def __len__(self) -> int:
        return len(self.bad_rows.rows)

    @property
    def file_name(self) -> str:
        """Return the file's name, without its directory."""
        return self.bad_rows.file_name

    def without(self, indices: NDArray[np.int64]) -> PriceTable:
        """Return a table without some rows; nothing of the new table has been checked.

        Args:
            indices: Their positions.
        """
        is_kept = np.ones(len(self), dtype=bool)
        is_kept[indices] = False
        columns = {role: each.filter(pl.Series(is_kept)) for role, each in self.columns.items()}
        bad_rows = BadRows(self.file_name, self.bad_rows.rows[is_kept])
        return replace(self, columns=columns, bad_rows=bad_rows)
