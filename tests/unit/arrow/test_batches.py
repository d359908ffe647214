"""What is written as Arrow is read alike by every reader, and costs no copy of the columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from nanoarrow import Array, c_array_stream
from nanoarrow.ipc import InputStream
from stratsweep_server.arrow.batches import BatchLayout
from stratsweep_server.arrow.messages import END_OF_STREAM, MessageKind, read_messages
from stratsweep_server.arrow.schema import (
    Column,
    ColumnType,
    FigureTable,
    Structure,
    read_schema,
    schema_message,
)

COLUMNS = (
    Column("small", ColumnType.UINT32),
    Column("kind", ColumnType.INT8),
    Column("large", ColumnType.INT64),
    Column("seconds", ColumnType.FLOAT64),
    Column("price", ColumnType.FLOAT64, is_nullable=True),
    FigureTable("metrics", ("sharpe", "größe", "trades")),
    Column("text", ColumnType.TEXT, is_nullable=True),
)
METADATA = {"about": "ä", "empty": ""}
LAYOUT = BatchLayout(COLUMNS)

Rows = list[dict[str, object]]


def with_pyarrow(stream: bytes) -> Rows:
    table = pa.ipc.open_stream(stream).read_all()
    table.validate(full=True)
    return table.to_pylist()


def with_polars(stream: bytes) -> Rows:
    return pl.read_ipc_stream(io.BytesIO(stream)).to_dicts()


def with_nanoarrow(stream: bytes) -> Rows:
    with InputStream.from_readable(io.BytesIO(stream)) as messages:
        return list(Array(c_array_stream(messages)).iter_py())


READERS = [with_pyarrow, with_polars, with_nanoarrow]


def numbers(rows: int, seed: int = 0) -> np.ndarray:
    """A table whose columns are contiguous, with nothing missing."""
    return np.asfortranarray(np.random.default_rng(seed).normal(size=(rows, 3)))


def columns_of(rows: int, metrics: np.ndarray, texts: dict[int, str]) -> list:
    price = metrics[:, 0].copy()
    price[::3] = np.nan
    counted = np.arange(rows)
    return [
        (counted + 2**32 - rows).astype(np.uint32),
        (counted % 5 - 2).astype(np.int8),
        counted - 2**62,
        counted / 3,
        price,
        metrics,
        texts,
    ]


def stream_of(*batches: list) -> bytes:
    messages = [b"".join(LAYOUT.encode(len(columns[0]), columns)) for columns in batches]
    return schema_message(COLUMNS, METADATA) + b"".join(messages) + END_OF_STREAM


def rows_of(columns: list) -> Rows:
    small, kind, large, seconds, price, metrics, texts = columns
    return [
        {
            "small": int(small[row]),
            "kind": int(kind[row]),
            "large": int(large[row]),
            "seconds": float(seconds[row]),
            "price": number(price[row]),
            "metrics": dict(
                zip(("sharpe", "größe", "trades"), map(number, metrics[row]), strict=True)
            ),
            "text": texts.get(row),
        }
        for row in range(len(small))
    ]


def number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("row_count", [1, 2, 7, 8, 9, 63, 64, 65, 1_000])
def test_every_reader_gives_the_values_with_what_is_missing(
    read: Callable[[bytes], Rows], row_count: int
):
    metrics = numbers(row_count)
    metrics[1::2, 1] = np.nan
    metrics[:, 2] = np.nan
    columns = columns_of(row_count, metrics, {0: "größer 🙂", row_count - 1: ""})
    assert read(stream_of(columns)) == rows_of(columns)


@pytest.mark.parametrize("read", READERS)
def test_batches_follow_one_another(read: Callable[[bytes], Rows]):
    batches = [
        columns_of(3, numbers(3), {}),
        columns_of(1, numbers(1), {0: "x"}),
        columns_of(20, numbers(20), {5: "y"}),
    ]
    assert read(stream_of(*batches)) == [row for batch in batches for row in rows_of(batch)]


def test_infinities_are_values():
    metrics = numbers(2)
    metrics[0, 0], metrics[1, 0] = np.inf, -np.inf
    table = pa.ipc.open_stream(stream_of(columns_of(2, metrics, {}))).read_all()
    sharpe = [row["sharpe"] for row in table["metrics"].to_pylist()]
    assert sharpe == [np.inf, -np.inf]


def test_readers_find_what_they_are_to_know():
    stream = stream_of(columns_of(1, numbers(1), {}))
    assert pa.ipc.open_stream(stream).schema.metadata == {b"about": "ä".encode(), b"empty": b""}
    assert read_schema(schema_message(COLUMNS, METADATA)) == (list(COLUMNS), METADATA)


def test_without_anything_to_know_there_is_nothing():
    assert read_schema(schema_message(COLUMNS, {})) == (list(COLUMNS), {})


def test_a_column_of_another_kind_is_refused():
    schema = pa.schema([("when", pa.date32())])
    with pytest.raises(ValueError, match="'when' has the unknown type DATE32"):
        read_schema(schema.serialize().to_pybytes())


def test_columns_are_handed_on_without_a_copy():
    columns = columns_of(100, numbers(100), {})
    pieces = LAYOUT.encode(100, columns)
    views = [np.asarray(piece) for piece in pieces if isinstance(piece, memoryview)]
    for column in columns[:6]:
        assert any(np.shares_memory(view, column) for view in views)


def test_what_was_written_is_read_back_as_views():
    metrics = numbers(9)
    metrics[4, 1] = np.nan
    columns = columns_of(9, metrics, {3: "é", 8: "z"})
    content = stream_of(columns)
    schema, message = read_messages(memoryview(content))
    assert [schema.kind, message.kind] == [MessageKind.SCHEMA, MessageKind.RECORD_BATCH]
    batch = LAYOUT.decode(message)
    assert batch.row_count == 9
    for column, values in zip(COLUMNS[:5], columns, strict=False):
        read = batch.array(column.name)
        np.testing.assert_array_equal(read, values)
        assert np.shares_memory(read, np.frombuffer(content, np.uint8))
    for position in range(3):
        np.testing.assert_array_equal(batch.figures("metrics", position), metrics[:, position])
    assert [batch.text("text", row) for row in (0, 3, 7, 8)] == ["", "é", "", "z"]


WIRE_COLUMNS = (
    Column("seconds", ColumnType.MICROSECONDS, is_nullable=True),
    Structure(
        "inner",
        (
            Column("count", ColumnType.INT64, is_nullable=True),
            Column("share", ColumnType.FLOAT64, is_nullable=True),
            Column("is_short", ColumnType.BOOL, is_nullable=True),
            Column("kind", ColumnType.LONG_TEXT, is_nullable=True),
        ),
        is_nullable=True,
    ),
    FigureTable("metrics", ("sharpe",), is_nullable=True),
)


def wire_columns_of(rows: int) -> list:
    counted = np.arange(rows)
    texts = np.array([["", "größer 🙂", "x" * 100][row % 3] for row in counted], dtype=object)
    inner = [counted - 2**62, counted / 7, counted % 3 == 0, texts]
    metrics = np.where(counted % 4, counted / 3, np.nan).reshape(rows, 1)
    return [counted * 1_000_003, inner, metrics]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("row_count", [1, 7, 8, 9, 65, 1_000])
def test_every_reader_gives_structures_flags_texts_and_spans_without_checksums(
    read: Callable[[bytes], Rows], row_count: int
):
    seconds, (count, share, is_short, kind), metrics = columns = wire_columns_of(row_count)
    batch = BatchLayout(WIRE_COLUMNS, has_checksums=False).encode(row_count, columns)
    assert all(len(piece) == memoryview(piece).nbytes for piece in batch)
    schema = schema_message(WIRE_COLUMNS, {}, has_checksum=False)
    assert b"crc32" not in schema + b"".join(batch)
    assert read(schema + b"".join(batch) + END_OF_STREAM) == [
        {
            "seconds": timedelta(microseconds=int(seconds[row])),
            "inner": {
                "count": int(count[row]),
                "share": float(share[row]),
                "is_short": bool(is_short[row]),
                "kind": kind[row],
            },
            "metrics": {"sharpe": number(metrics[row, 0])},
        }
        for row in range(row_count)
    ]
