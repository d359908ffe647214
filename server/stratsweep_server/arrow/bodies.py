"""Collect the buffers of a record batch's body, and what its metadata says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.arrow.messages import ALIGNMENT, Piece
from stratsweep_server.arrow.schema import (
    AnyColumn,
    Column,
    ColumnType,
    FigureTable,
    Structure,
)

Values: TypeAlias = "NDArray[Any] | Mapping[int, str] | Sequence[Values]"
"""A column's values: TEXT by row; LONG_TEXT as an array of texts; a figure table as an array of
shape (rows, names), each column contiguous, NaN where a figure is missing; a structure's columns
one by one; others as an array of their type, MICROSECONDS of int64."""

_PADDING = [bytes(count) for count in range(ALIGNMENT)]


class Body:
    """Collect a record batch column by column; arrays are not copied.

    Args:
        row_count: Its rows.

    Attributes:
        nodes: Of each node: rows, how many are null.
        buffers: Of each buffer: offset, length.
        pieces: What the buffers consist of.
        length: Their bytes.
    """

    def __init__(self, row_count: int) -> None:
        self.nodes: list[int] = []  # of each node: rows, how many are null
        self.buffers: list[int] = []  # of each buffer: offset, length
        self.pieces: list[Piece] = []
        self.length = 0
        self._row_count = row_count

    def add(self, column: AnyColumn, values: Values) -> None:
        """Add the values of a column, after all that were added before."""
        if isinstance(column, FigureTable):
            self._add_table(cast("NDArray[np.float64]", values))
        elif isinstance(column, Structure):
            self._add_complete()
            for inner, of_inner in zip(column.columns, cast(Sequence[Values], values), strict=True):
                self.add(inner, of_inner)
        elif column.type is ColumnType.TEXT:
            self._add_texts(cast(Mapping[int, str], values))
        else:
            self._add_column(column, cast("NDArray[Any]", values))

    def _add_column(self, column: Column, values: NDArray[Any]) -> None:
        if column.is_nullable and column.type is ColumnType.FLOAT64:
            self._add_validity(~np.isnan(values))
        else:
            self._add_complete()
        if column.type is ColumnType.LONG_TEXT:
            self._add_long_texts(values)
        elif column.type is ColumnType.BOOL:
            self._add(np.packbits(values, bitorder="little"))
        else:
            self._add(np.ascontiguousarray(values))

    def _add_texts(self, texts: Mapping[int, str]) -> None:
        contents = {row: texts[row].encode() for row in sorted(texts)}
        is_there = np.zeros(self._row_count, np.bool_)
        lengths = np.zeros(self._row_count + 1, np.int32)
        for row, content in contents.items():
            is_there[row] = True
            lengths[row + 1] = len(content)
        self._add_validity(is_there)
        self._add(np.cumsum(lengths, dtype=np.int32))
        self._add_bytes(b"".join(contents.values()))

    def _add_long_texts(self, texts: NDArray[Any]) -> None:
        contents = [text.encode() for text in texts.tolist()]
        ends = np.zeros(self._row_count + 1, np.int64)
        np.cumsum(list(map(len, contents)), out=ends[1:])
        self._add(ends)
        self._add_bytes(b"".join(contents))

    def _add_table(self, table: NDArray[np.float64]) -> None:
        count, column_size = table.shape[1], 8 * self._row_count
        first_node, first_buffer = len(self.nodes) + 2, len(self.buffers) + 2
        self.nodes += (self._row_count, 0) * (1 + count)
        self.buffers += (0,) * (2 + 4 * count)
        end = self.length + count * column_size
        self.buffers[first_buffer + 2 :: 4] = range(self.length, end, column_size)
        self.buffers[first_buffer + 3 :: 4] = (column_size,) * count
        # All figures are one piece, no copy since columns are contiguous; the bitmaps follow.
        self._add_piece(_bytes_of(table.T.reshape(-1)), table.nbytes)
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
            self._add(np.packbits(is_there, bitorder="little"))
        else:
            self.buffers += (0, 0)

    def _add_complete(self) -> None:
        self.nodes += (self._row_count, 0)
        self.buffers += (0, 0)

    def _add(self, values: NDArray[Any]) -> None:
        self.buffers += (self.length, values.nbytes)
        self._add_piece(_bytes_of(values), values.nbytes)

    def _add_bytes(self, content: bytes) -> None:
        self.buffers += (self.length, len(content))
        self._add_piece(content, len(content))

    def _add_piece(self, piece: Piece, size: int) -> None:
        self.pieces.append(piece)
        padding = -size % ALIGNMENT
        if padding:
            self.pieces.append(_PADDING[padding])
        self.length += size + padding


def _bytes_of(values: NDArray[Any]) -> memoryview:
    return values.view(np.uint8).data
