"""A ranking as one flat table: the one shape behind data frames, CSV and Parquet.

Importing this module imports nanoarrow; the rest of the client does so only when there is a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import nanoarrow as na
from nanoarrow.c_array import CArray, c_array, c_array_from_buffers
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.iterator import iter_py

from stratsweep._arrow import ArrowBlock
from stratsweep._rows import Rows, names_of
from stratsweep.results import ParameterResult


class RankingTable:
    """Columns rank, combination_index, every parameter, every metric.

    A metric that a row does not have is null. A parameter or metric whose name is taken by a column
    before it is called `parameter_NAME` or `metric_NAME`.

    Results that came as Arrow are not copied; for others the columns are made from the rows.

    Attributes:
        names: Of the columns.
    """

    def __init__(self, rows: Sequence[ParameterResult]) -> None:
        blocks = rows.blocks if isinstance(rows, Rows) else ()
        self._batches = [_flat(each.batch) for each in blocks if isinstance(each, ArrowBlock)]
        if not self._batches or len(self._batches) < len(blocks):
            self._batches = [_from_rows(rows)]
        self.names = tuple(child.name for child in self._batches[0].schema.children)

    def arrow_stream(self, requested_schema: object = None) -> object:
        """Return a PyCapsule of an ArrowArrayStream."""
        stream = CArrayStream.from_c_arrays(self._batches, self._batches[0].schema)
        return stream.__arrow_c_stream__(requested_schema)

    def lists(self) -> Iterator[list[list[Any]]]:
        """Return the columns as Python values, some thousand rows at a time; None for null."""
        for batch in self._batches:
            yield [list(iter_py(child)) for child in batch.children]

    def arrays(self) -> dict[str, Any]:
        """Return the columns as numpy arrays; a null is NaN. Texts are lists of str."""
        return {name: self._array(number) for number, name in enumerate(self.names)}

    def _array(self, number: int) -> Any:  # noqa: ANN401 - numpy is imported only here
        import numpy as np  # noqa: PLC0415 - optional: what asks for arrays has it

        columns = [batch.child(number) for batch in self._batches]
        if columns[0].schema.format not in _NUMPY_TYPES:
            return [value for column in columns for value in iter_py(column)]
        values = np.concatenate([np.asarray(column.view().buffer(1)) for column in columns])
        if not any(column.null_count for column in columns):
            return values
        return np.where(np.concatenate([_validity(column) for column in columns]), values, np.nan)


_NUMPY_TYPES = {"l", "g"}  # int64, double: the others are not laid out as numpy has them


def _validity(column: CArray) -> Any:  # noqa: ANN401 - numpy is imported only here
    import numpy as np  # noqa: PLC0415 - optional: what asks for arrays has it

    if column.null_count == 0:
        return np.ones(column.length, dtype=np.bool_)
    bits = np.frombuffer(column.view().buffer(0), dtype=np.uint8)
    return np.unpackbits(bits, count=column.length, bitorder="little").astype(np.bool_)


def _flat(batch: CArray) -> CArray:
    """Return the columns of a message's results as those of the table, sharing their buffers."""
    columns = {child.name: batch.child(n) for n, child in enumerate(batch.schema.children)}
    flat = {name: columns[name] for name in ("rank", "combination_index")}
    for kind in ("parameter", "metric"):
        if f"{kind}s" in columns:
            struct = columns[f"{kind}s"]
            for child, column in zip(struct.schema.children, struct.children, strict=True):
                flat[_label(child.name, kind, flat)] = column
    return _table(flat, len(batch))


def _from_rows(rows: Sequence[ParameterResult]) -> CArray:
    rows = list(rows)  # each is decoded when it is looked at: once
    flat = {
        "rank": c_array([row.rank for row in rows], na.int64()),
        "combination_index": c_array([row.combination_index for row in rows], na.int64()),
    }
    for name in names_of(row.parameters for row in rows):
        values = [row.parameters.get(name) for row in rows]
        flat[_label(name, "parameter", flat)] = c_array(values, _type_of(values))
    for name in sorted(names_of(row.metrics for row in rows)):
        values = [row.metrics.get(name) for row in rows]
        flat[_label(name, "metric", flat)] = c_array(values, na.float64())
    return _table(flat, len(rows))


def _table(columns: dict[str, CArray], length: int) -> CArray:
    schema = na.struct({name: na.Schema(column.schema) for name, column in columns.items()})
    children = columns.values()
    return c_array_from_buffers(schema, length, [None], null_count=0, children=children)


def _label(name: str, kind: str, taken: Iterable[str]) -> str:
    return f"{kind}_{name}" if name in taken else name


def _type_of(values: Iterable[object]) -> na.Schema:
    types = {type(value) for value in values} - {type(None)}
    if types == {bool}:
        return na.bool_()
    if types == {int}:
        return na.int64()
    return na.large_string() if types == {str} else na.float64()
