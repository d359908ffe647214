"""Read the content of a price file into a table, whatever its format."""

from __future__ import annotations

from stratsweep_server.market_data.csv_file import read_csv
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.file_names import is_parquet
from stratsweep_server.market_data.parquet_file import read_parquet
from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.market_data.unpacking import unpacked


def read_table(file_name: str, content: bytes, layout: FileLayout | None = None) -> PriceTable:
    """Read the columns that matter.

    Args:
        file_name: Its extension, in any case, says whether this is CSV or Parquet, and compressed.
        content: The whole file.
        layout: What the caller tells of its columns; a file without names is refused without one.

    Raises:
        InvalidBarsError: It is empty, not what its extension says, or lacks rows or a column.
    """
    content = unpacked(file_name, content)
    if not content.strip():
        raise InvalidBarsError(file_name, None, "the file is empty")
    read = read_parquet if is_parquet(file_name) else read_csv
    table = read(file_name, content, layout)
    if not len(table):
        raise InvalidBarsError(file_name, None, "there is no row under the column names")
    return table
