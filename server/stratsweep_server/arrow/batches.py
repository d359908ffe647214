"""Write and read record batches whose columns are known: metadata from a template, buffers as are.

What differs between the metadata of two batches of a schema are lengths and offsets, which stand at
fixed places. So a batch costs a copy of the template and a few numbers, whatever its rows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.arrow.bodies import Body, Values
from stratsweep_server.arrow.flat_buffer import REFERENCE, FlatBuffer
from stratsweep_server.arrow.messages import (
    METADATA_PLACE,
    Message,
    MessageKind,
    Piece,
    finish_message,
    message_template,
)
from stratsweep_server.arrow.schema import (
    AnyColumn,
    Column,
    Columns,
    ColumnType,
    FigureTable,
    Structure,
)

_DTYPES: dict[ColumnType, np.dtype[Any]] = {
    ColumnType.INT8: np.dtype("<i1"),
    ColumnType.UINT32: np.dtype("<u4"),
    ColumnType.INT64: np.dtype("<i8"),
    ColumnType.FLOAT64: np.dtype("<f8"),
}
_TEXTS = (ColumnType.TEXT, ColumnType.LONG_TEXT)


class BatchLayout:
    """Hold where everything stands in the record batches of a stream.

    Args:
        columns: The stream's columns.
        has_checksums: Whether messages have one, which takes as long as to copy them: `decode`
            needs it, readers of Arrow do not.
    """

    def __init__(self, columns: Columns, *, has_checksums: bool = True) -> None:
        self.columns = columns
        self._has_checksums = has_checksums
        self._first_buffers: dict[str, int] = {}
        self._dtypes = {
            column.name: _DTYPES[column.type]
            for column in columns
            if isinstance(column, Column) and column.type in _DTYPES
        }
        self._node_count, self._buffer_count = 0, 0
        for column in columns:
            self._first_buffers[column.name] = self._buffer_count
            nodes, buffers = _parts(column)
            self._node_count += nodes
            self._buffer_count += buffers
        self._nodes = struct.Struct(f"<{2 * self._node_count}q")
        self._buffers = struct.Struct(f"<{2 * self._buffer_count}q")
        self._template = message_template(
            MessageKind.RECORD_BATCH, self._write_header, has_checksum=has_checksums
        )

    def encode(self, row_count: int, values: Sequence[Values]) -> tuple[Piece, ...]:
        """Return a message with a record batch, in pieces; arrays are not copied.

        Args:
            row_count: Its rows.
            values: The columns' values, in their order.
        """
        body = Body(row_count)
        for column, of_column in zip(self.columns, values, strict=True):
            body.add(column, of_column)
        start = bytearray(self._template)
        struct.pack_into("<q", start, self._row_count_place, row_count)
        self._nodes.pack_into(start, self._nodes_place, *body.nodes)
        self._buffers.pack_into(start, self._buffers_place, *body.buffers)
        finish_message(start, body.pieces, body.length, has_checksum=self._has_checksums)
        return (start, *body.pieces)

    def decode(self, message: Message) -> StoredBatch:
        """Return a record batch that `encode` wrote for the same columns."""
        (row_count,) = struct.unpack_from("<q", message.start, self._row_count_place)
        buffers = np.frombuffer(
            message.start, np.int64, 2 * self._buffer_count, self._buffers_place
        ).reshape(-1, 2)
        return StoredBatch(row_count, buffers, message.body, self._dtypes, self._first_buffers)

    def _write_header(self, flat: FlatBuffer, reference: int) -> None:
        row_count, nodes, buffers = flat.table(reference, ("q", 0), REFERENCE, REFERENCE)
        self._row_count_place = METADATA_PLACE + row_count
        self._nodes_place = METADATA_PLACE + flat.structures(nodes, self._node_count, 16)
        self._buffers_place = METADATA_PLACE + flat.structures(buffers, self._buffer_count, 16)


class StoredBatch:
    """Give the columns of a record batch as views of what it was read from.

    Attributes:
        row_count: Its rows.
    """

    def __init__(
        self,
        row_count: int,
        buffers: NDArray[np.int64],
        body: memoryview,
        dtypes: Mapping[str, np.dtype[Any]],
        first_buffers: Mapping[str, int],
    ) -> None:
        self.row_count = row_count
        self._buffers = buffers
        self._body = body
        self._dtypes = dtypes
        self._first_buffers = first_buffers

    def array(self, name: str) -> NDArray[Any]:
        """Return a column that is neither text nor a figure table."""
        return self._array(self._first_buffers[name] + 1, self._dtypes[name], self.row_count)

    def figures(self, name: str, position: int) -> NDArray[np.float64]:
        """Return the doubles at a position of a figure table's names; NaN where one is missing."""
        buffer = self._first_buffers[name] + 2 * position + 2
        return self._array(buffer, _DTYPES[ColumnType.FLOAT64], self.row_count)

    def figure_table(self, name: str, count: int) -> NDArray[np.float64]:
        """Return a figure table with its number of names, of shape (rows, names)."""
        dtype, first = _DTYPES[ColumnType.FLOAT64], self._first_buffers[name] + 2
        # Its figures are one piece of the body.
        return self._array(first, dtype, count * self.row_count).reshape(count, -1).T

    def text(self, name: str, row: int) -> str:
        """Return the text in a row of a column; empty where it is missing."""
        first = self._first_buffers[name]
        begin, end = self._array(first + 1, np.dtype("<i4"), self.row_count + 1)[row : row + 2]
        start = int(self._buffers[first + 2, 0])
        return bytes(self._body[start + begin : start + end]).decode()

    def _array(self, buffer: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        return np.frombuffer(self._body, dtype, count, int(self._buffers[buffer, 0]))


def _parts(column: AnyColumn) -> tuple[int, int]:
    """Return how many nodes and how many buffers a column has in a record batch."""
    if isinstance(column, FigureTable):
        return 1 + len(column.names), 1 + 2 * len(column.names)
    if isinstance(column, Structure):
        nodes, buffers = zip(*map(_parts, column.columns), strict=True)
        return 1 + sum(nodes), 1 + sum(buffers)
    return 1, 3 if column.type in _TEXTS else 2
