"""Results as a table of any library: what has a ranking has these ways to one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from stratsweep._tables import RankingTable


class Tabular(ABC):
    """Give ranked results as a table."""

    __slots__ = ()

    def to_pandas(self) -> pd.DataFrame:
        """Return the ranking as a pandas DataFrame; a metric that a row lacks is missing there.

        Columns: rank, combination_index, parameters, metrics.

        Metrics are floats; those that count things, such as `trade_count`, are integers.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - optional: paid for by those who ask for it
        except ImportError as error:
            raise ImportError("to_pandas() needs pandas: pip install pandas") from error
        return pd.DataFrame(self._table().pandas_columns())

    def to_polars(self) -> pl.DataFrame:
        """Return the ranking as a polars DataFrame; a metric that a row lacks is missing there.

        Columns: rank, combination_index, parameters, metrics.

        Raises:
            ImportError: polars is not installed.
        """
        try:
            import polars as pl  # noqa: PLC0415 - optional: paid for by those who ask for it
        except ImportError as error:
            raise ImportError("to_polars() needs polars: pip install polars") from error
        return pl.DataFrame(self)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the ranking to any library that reads Arrow: `pyarrow.table(result)`.

        The columns are those of `to_pandas`. They are shared, not copied, where the results came as
        Arrow.
        """
        return self._table().arrow_stream(requested_schema)

    @abstractmethod
    def _table(self) -> RankingTable: ...
