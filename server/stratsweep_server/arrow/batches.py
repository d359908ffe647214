"""Write and read record batches whose columns are known: metadata from a template, buffers as are.

What differs between the metadata of two batches of a schema are lengths and offsets, which stand at
fixed places. So a batch costs a copy of the template and a few numbers, whatever its rows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.arrow.flat_buffer import REFERENCE, FlatBuffer
from stratsweep_server.arrow.messages import (
    ALIGNMENT,
    METADATA_PLACE,
    Message,
    MessageKind,
    Piece,
    finish_message,
    message_template,
)
from stratsweep_server.arrow.schema import Column, Columns, ColumnType, FigureTable

Values = NDArray[Any] | Mapping[int, str]
"""A column's values: texts by row; a figure table as an array of shape (rows, names), each column
contiguous, NaN where a figure is missing; others as an array of their type."""

_DTYPES: dict[ColumnType, np.dtype[Any]] = {
    ColumnType.INT8: np.dtype("<i1"),
    ColumnType.UINT32: np.dtype("<u4"),
    ColumnType.INT64: np.dtype("<i8"),
    ColumnType.FLOAT64: np.dtype("<f8"),
}
_PADDING = [bytes(count) for count in range(ALIGNMENT)]


class BatchLayout:
    """Hold where everything stands in the record batches of a stream.

    Args:
        columns: The stream's columns.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
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
        self._template = message_template(MessageKind.RECORD_BATCH, self._write_header)

    def encode(self, row_count: int, values: Sequence[Values]) -> tuple[Piece, ...]:
        """Return a message with a record batch, in pieces; arrays are not copied.

        Args:
            row_count: Its rows.
            values: The columns' values, in their order.
        """
        body = _Body(row_count)
        for column, of_column in zip(self.columns, values, strict=True):
            if not isinstance(of_column, np.ndarray):
                body.add_texts(of_column)
            elif isinstance(column, FigureTable):
                body.add_table(of_column)
            else:
                body.add_array(of_column, is_nullable=column.is_nullable)
        start = bytearray(self._template)
        struct.pack_into("<q", start, self._row_count_place, row_count)
        self._nodes.pack_into(start, self._nodes_place, *body.nodes)
        self._buffers.pack_into(start, self._buffers_place, *body.buffers)
        finish_message(start, body.pieces, body.length)
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

    def text(self, name: str, row: int) -> str:
        """Return the text in a row of a column; empty where it is missing."""
        first = self._first_buffers[name]
        begin, end = self._array(first + 1, np.dtype("<i4"), self.row_count + 1)[row : row + 2]
        start = int(self._buffers[first + 2, 0])
        return bytes(self._body[start + begin : start + end]).decode()

    def _array(self, buffer: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        return np.frombuffer(self._body, dtype, count, int(self._buffers[buffer, 0]))


class _Body:
    """Collect the buffers of a record batch, and what its metadata says of them."""

    def __init__(self, row_count: int) -> None:
        self.nodes: list[int] = []  # of each node: rows, how many are null
        self.buffers: list[int] = []  # of each buffer: offset, length
        self.pieces: list[Piece] = []
        self.length = 0
        self._row_count = row_count

    def add_array(self, values: NDArray[Any], *, is_nullable: bool) -> None:
        if is_nullable:
            self._add_validity(~np.isnan(values))
        else:
            self._add_complete()
        self._add(np.ascontiguousarray(values).data, values.nbytes)

    def add_texts(self, texts: Mapping[int, str]) -> None:
        contents = {row: texts[row].encode() for row in sorted(texts)}
        is_there = np.zeros(self._row_count, np.bool_)
        lengths = np.zeros(self._row_count + 1, np.int32)
        for row, content in contents.items():
            is_there[row] = True
            lengths[row + 1] = len(content)
        self._add_validity(is_there)
        ends = np.cumsum(lengths, dtype=np.int32)
        self._add(ends.data, ends.nbytes)
        content = b"".join(contents.values())
        self._add(content, len(content))

    def add_table(self, table: NDArray[np.float64]) -> None:
        count, column_size = table.shape[1], 8 * self._row_count
        first_node, first_buffer = len(self.nodes) + 2, len(self.buffers) + 2
        self.nodes += (self._row_count, 0) * (1 + count)
        self.buffers += (0,) * (2 + 4 * count)
        end = self.length + count * column_size
        self.buffers[first_buffer + 2 :: 4] = range(self.length, end, column_size)
        self.buffers[first_buffer + 3 :: 4] = (column_size,) * count
        # All figures are one piece, no copy since columns are contiguous; the bitmaps follow.
        self._add_piece(table.T.reshape(-1).data, table.nbytes)
        is_missing = np.isnan(table)
        is_incomplete = np.logical_or.reduce(is_missing, axis=0)
        for position in compress(range(count), is_incomplete.tolist()):
            missing = is_missing[:, position]
            bits = np.packbits(~missing, bitorder="little")
            self.nodes[first_node + 2 * position + 1] = int(np.count_nonzero(missing))
            place = first_buffer + 4 * position
            self.buffers[place : place + 2] = self.length, bits.nbytes
            self._add_piece(bits.data, bits.nbytes)

    def _add_validity(self, is_there: NDArray[np.bool_]) -> None:
        null_count = len(is_there) - int(np.count_nonzero(is_there))
        self.nodes += (self._row_count, null_count)
        if null_count:
            bits = np.packbits(is_there, bitorder="little")
            self._add(bits.data, bits.nbytes)
        else:
            self.buffers += (0, 0)

    def _add_complete(self) -> None:
        self.nodes += (self._row_count, 0)
        self.buffers += (0, 0)

    def _add(self, piece: Piece, size: int) -> None:
        self.buffers += (self.length, size)
        self._add_piece(piece, size)

    def _add_piece(self, piece: Piece, size: int) -> None:
        self.pieces.append(piece)
        padding = -size % ALIGNMENT
        if padding:
            self.pieces.append(_PADDING[padding])
        self.length += size + padding


def _parts(column: Column | FigureTable) -> tuple[int, int]:
    """Return how many nodes and how many buffers a column has in a record batch."""
    if isinstance(column, FigureTable):
        return 1 + len(column.names), 1 + 2 * len(column.names)
    return 1, 3 if column.type is ColumnType.TEXT else 2
