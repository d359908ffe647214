"""Results that came as Arrow: kept in columns, a row is made when it is looked at.

Importing this module imports nanoarrow; the rest of the client does so only when there is Arrow.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from nanoarrow import c_array_stream
from nanoarrow.c_array import CArray
from nanoarrow.ipc import InputStream, StreamWriter
from nanoarrow.iterator import iter_py

from stratsweep.outcomes import ParameterResult


class ArrowBlock:
    """The results of one message.

    Attributes:
        batch: A struct array with the columns of `RESULT_FORMAT_ARROW`.
    """

    def __init__(self, batch: CArray) -> None:
        self.batch = batch

    def __len__(self) -> int:
        length: int = self.batch.length
        return length

    def __getitem__(self, position: int, /) -> ParameterResult:
        return _result(next(iter_py(self.batch[position : position + 1])))

    def __iter__(self) -> Iterator[ParameterResult]:
        return map(_result, iter_py(self.batch))

    def __reduce__(self) -> tuple[object, ...]:
        stream = io.BytesIO()
        with StreamWriter.from_writable(stream) as writer:
            writer.write_array(self.batch)
        return _first_block, (stream.getvalue(),)


def arrow_blocks(stream: bytes) -> list[ArrowBlock]:
    """Return the record batches of an Arrow IPC stream.

    Raises:
        ValueError: The bytes are no such stream.
    """
    try:
        with InputStream.from_readable(stream) as source, c_array_stream(source) as batches:
            return [ArrowBlock(batch) for batch in batches]
    except RuntimeError as error:
        raise ValueError(f"no Arrow IPC stream: {error}") from error


def _first_block(stream: bytes) -> ArrowBlock:
    return arrow_blocks(stream)[0]


def _result(row: dict[str, Any]) -> ParameterResult:
    metrics = row.get("metrics", {})
    return ParameterResult(
        combination_index=row["combination_index"],
        parameters=row.get("parameters", {}),
        metrics={name: value for name, value in metrics.items() if value is not None},
        rank=row.get("rank"),
        backtest_duration=row["backtest_duration"],
    )
