"""FileLayout: what a caller knows of a price file's columns that the file does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stratsweep_server.market_data.column_names import ColumnNamesError


@dataclass(frozen=True, slots=True)
class FileLayout:
    """Hold the columns of price files, as a caller names them.

    Attributes:
        name: For messages; empty where the caller names no vendor.
        names: Of the columns of a file that has no line of names: one variant for each number of
            fields; without any, such columns are called by their positions, `1`, `2` and so on.
        columns: Which column has a role, whatever its name: its name, or its position from 1. The
            roles are those of `PriceTable`.
        writes_month_first: Whether dates are always written as 12/31/2024.
    """

    name: str = ""
    names: tuple[tuple[str, ...], ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    writes_month_first: bool = False

    def names_of(self, values: Sequence[str]) -> list[str]:
        """Return the names of a file's columns from the values of its first row.

        Raises:
            ColumnNamesError: The layout is another, or nothing is known of the columns.
        """
        count = len(values)
        if not self.names and not self.columns:
            raise ColumnNamesError(
                "the first line has values, not names; name the file's layout, such as --layout "
                "binance, or its columns, such as --columns time=1,open=2,high=3,low=4,close=5"
            )
        if not self.names:
            return [str(position) for position in range(1, count + 1)]
        names = next((each for each in self.names if len(each) == count), None)
        if names is None:
            counts = " or ".join(str(len(each)) for each in self.names)
            raise ColumnNamesError(
                f"the rows have {count} fields, those of the layout {self.name} have {counts}; "
                "name another layout, or the columns"
            )
        return list(names)
