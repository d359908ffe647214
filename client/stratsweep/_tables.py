"""A ranking as one flat table: the one shape behind data frames, CSV and Parquet.

Importing this module imports nanoarrow; the rest of the client does so only when there is a table.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import nanoarrow as na
from nanoarrow.c_array import CArray, c_array, c_array_from_buffers
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.iterator import iter_py

from stratsweep._arrow import ArrowBlock
from stratsweep._rows import Rows, names_of
from stratsweep.outcomes import ParameterResult

_Ranking: TypeAlias = Sequence[ParameterResult]


class RankingTable:
    """Columns rank, combination_index, every parameter, every metric.

    A metric that a row does not have is null. A parameter or metric whose name is taken by a column
    before it is called `parameter_NAME` or `metric_NAME`.

    Results that came as Arrow are not copied; for others the columns are made from the rows.

    Args:
        rankings: The rows of one ranking, or those of several by symbol, which is then the first
            column. Several have the same parameters.
        counts: The metrics that are integers, as long as all of their values are whole.

    Attributes:
        names: Of the columns.
    """

    def __init__(
        self, rankings: _Ranking | Mapping[str, _Ranking], counts: Collection[str] = ()
    ) -> None:
        by_symbol = rankings.items() if isinstance(rankings, Mapping) else [("", rankings)]
        batches = [batch for symbol, rows in by_symbol for batch in _batches(symbol, rows)]
        batches = [each for each in batches if each.length] or [_from_rows("", [])]
        if isinstance(rankings, Mapping):
            for batch in batches:
                symbols = c_array([batch.symbol] * batch.length, na.large_string())
                batch.head = {"symbol": symbols, **batch.head}
        for name in counts:
            _make_whole(name, batches)
        self._batches = _labelled(batches)
        self.names = tuple(child.name for child in self._batches[0].schema.children)

    def arrow_stream(self, requested_schema: object = None) -> object:
        """Return a PyCapsule of an ArrowArrayStream."""
        stream = CArrayStream.from_c_arrays(self._batches, self._batches[0].schema)
        return stream.__arrow_c_stream__(requested_schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the table to any library that reads Arrow."""
        return self.arrow_stream(requested_schema)

    def lists(self) -> Iterator[list[list[Any]]]:
        """Return the columns as Python values, some thousand rows at a time; None for null."""
        for batch in self._batches:
            yield [list(iter_py(child)) for child in batch.children]

    def pandas_columns(self) -> dict[str, Any]:
        """Return the columns as pandas takes them: a null is NaN, or NA among integers."""
        return {name: self._pandas_column(number) for number, name in enumerate(self.names)}

    def _pandas_column(self, number: int) -> Any:  # noqa: ANN401 - numpy is imported only here
        import numpy as np  # noqa: PLC0415 - optional: pandas has it

        columns = [batch.child(number) for batch in self._batches]
        if columns[0].schema.format not in _NUMPY_TYPES:
            return [value for column in columns for value in iter_py(column)]
        values = np.concatenate([np.asarray(column.view().buffer(1)) for column in columns])
        if not any(column.null_count for column in columns):
            return values
        is_valid = np.concatenate([_validity(column) for column in columns])
        if values.dtype.kind == "i":
            import pandas as pd  # noqa: PLC0415 - optional: who asks for this has it

            return pd.arrays.IntegerArray(values, ~is_valid)
        return np.where(is_valid, values, np.nan)


_NUMPY_TYPES = {"l", "g"}  # int64, double: the others are not laid out as numpy has them


@dataclass
class _Batch:
    """Rows in columns by name, before those get the names that they have in the table."""

    symbol: str
    length: int
    head: dict[str, CArray]
    parameters: dict[str, CArray]
    metrics: dict[str, CArray]


def _batches(symbol: str, rows: _Ranking) -> list[_Batch]:
    blocks = rows.blocks if isinstance(rows, Rows) else ()
    batches = [_from_arrow(symbol, each.batch) for each in blocks if isinstance(each, ArrowBlock)]
    if not batches or len(batches) < len(blocks):
        return [_from_rows(symbol, rows)]
    return batches


def _from_arrow(symbol: str, batch: CArray) -> _Batch:
    """Take the columns of a message's results, sharing their buffers."""
    columns = _children(batch)
    head = {name: columns[name] for name in ("rank", "combination_index")}
    parameters, metrics = (
        _children(columns[name]) if name in columns else {} for name in ("parameters", "metrics")
    )
    return _Batch(symbol, len(batch), head, parameters, metrics)


def _children(struct: CArray) -> dict[str, CArray]:
    names = (child.name for child in struct.schema.children)
    return dict(zip(names, struct.children, strict=True))


def _validity(column: CArray) -> Any:  # noqa: ANN401 - numpy is imported only here
    import numpy as np  # noqa: PLC0415 - optional: what asks for it has it

    if column.null_count == 0:
        return np.ones(column.length, dtype=np.bool_)
    bits = np.frombuffer(column.view().buffer(0), dtype=np.uint8)
    return np.unpackbits(bits, count=column.length, bitorder="little").astype(np.bool_)


def _from_rows(symbol: str, rows: _Ranking) -> _Batch:
    rows = list(rows)  # each is decoded when it is looked at: once
    head = {
        "rank": c_array([row.rank for row in rows], na.int64()),
        "combination_index": c_array([row.combination_index for row in rows], na.int64()),
    }
    parameters = {}
    for name in names_of(row.parameters for row in rows):
        values = [row.parameters.get(name) for row in rows]
        parameters[name] = c_array(values, _type_of(values))
    metrics = {
        name: c_array([row.metrics.get(name) for row in rows], na.float64())
        for name in names_of(row.metrics for row in rows)
    }
    return _Batch(symbol, len(rows), head, parameters, metrics)


def _make_whole(name: str, batches: Sequence[_Batch]) -> None:
    """Make a metric's columns of doubles ones of integers, unless a value is not whole."""
    columns = [batch.metrics.get(name) for batch in batches]
    whole = [None if column is None else _whole(column) for column in columns]
    if all(
        (before is None) == (after is None) for before, after in zip(columns, whole, strict=True)
    ):
        for batch, column in zip(batches, whole, strict=True):
            if column is not None:
                batch.metrics[name] = column


def _whole(column: CArray) -> CArray | None:
    """Return a column of doubles as one of integers; None where a value is not whole."""
    numbers = _integers(column)
    if numbers is None:
        return None
    is_valid = bytes(column.view().buffer(0)) if column.null_count else None
    buffers = [is_valid, numbers]
    return c_array_from_buffers(na.int64(), column.length, buffers, null_count=column.null_count)


def _integers(column: CArray) -> Any | None:  # noqa: ANN401 - numpy's, where it is installed
    """Return the numbers of a column, 0 for null; None where one is not whole."""
    try:
        import numpy as np  # noqa: PLC0415 - optional, and 50 times as fast
    except ImportError:
        numbers = [value or 0.0 for value in iter_py(column)]
        are_whole = all(each.is_integer() and abs(each) <= _EXACT for each in numbers)
        return array("q", map(int, numbers)) if are_whole else None
    values = np.where(_validity(column), np.asarray(column.view().buffer(1)), 0.0)
    is_whole = (np.abs(values) <= _EXACT) & (values == np.trunc(values))
    return values.astype(np.int64) if is_whole.all() else None


_EXACT = 2**53
"""Up to here a double is an exact whole number."""


def _labelled(batches: Sequence[_Batch]) -> list[CArray]:
    """Return batches with the same columns, each under a name of its own."""
    parameters = names_of(batch.parameters for batch in batches)
    metrics = sorted(names_of(batch.metrics for batch in batches))
    types = {name: batch.metrics[name].schema for batch in batches for name in batch.metrics}
    tables = []
    for batch in batches:
        columns = dict(batch.head)
        for name in parameters:
            columns[_label(name, "parameter", columns)] = batch.parameters[name]
        for name in metrics:
            column = batch.metrics.get(name)
            if column is None:
                column = c_array([None] * batch.length, types[name])
            columns[_label(name, "metric", columns)] = column
        tables.append(_table(columns, batch.length))
    return tables


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
