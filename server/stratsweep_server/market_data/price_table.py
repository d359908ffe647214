"""A price file as a table: its columns by role, each row knowing where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.errors import InvalidBarsError


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
