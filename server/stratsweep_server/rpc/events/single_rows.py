"""Write each outcome into a progress message of its own, as the bytes that are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage
from stratsweep.v1.outcome_pb2 import Outcome, ParameterResult
from stratsweep.v1.parameter_pb2 import ParameterValue

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.rpc.events.formats import EncodedOutcomes
from stratsweep_server.rpc.events.rows import (
    VALUE_FIELDS,
    add_failures,
    encoded_rows,
    fill_seconds,
    max_rows,
)
from stratsweep_server.rpc.events.wire import Pieces, field

_MAX_ROWS = 100
_MAX_CACHED_VALUES = 4_096
_DOUBLE_BYTES = 8


class SingleRowProgress:
    """Implement `ProgressFormat`: each outcome in a progress message of its own.

    Args:
        log: Where the outcomes are.
        grid: The parameters' values.
    """

    def __init__(self, log: FollowedLog, grid: GridColumns) -> None:
        self._log = log
        self._grid = grid
        self._block_size = min(_MAX_ROWS, max_rows(grid))
        self._encode_parameters = {
            name: lru_cache(_MAX_CACHED_VALUES)(
                partial(_parameter_bytes, name, VALUE_FIELDS[values.dtype.kind])
            )
            for name, values in grid.at(np.empty(0, dtype=np.int64)).items()
        }

    def block_size(self) -> int:
        """Return how many outcomes to ask `encoded` for at a time."""
        return self._block_size

    def encoded(self, start: int, stop: int) -> Iterator[EncodedOutcomes]:
        """Yield a message for each of a range of the log's outcomes, in order."""
        columns = self._log.columns(slice(start, stop))
        parameters = self._parameter_rows(columns.indices)
        metrics = _metric_rows(columns.metrics, stop - start)
        head = ParameterResult()
        rows = zip(columns.indices.tolist(), columns.durations.tolist(), strict=True)
        for (index, seconds), *entries in zip(rows, parameters, metrics, strict=True):
            failure = self._log.failures.get(index)
            if failure is None:
                head.combination_index = index
                fill_seconds(head.backtest_duration, seconds)
                yield EncodedOutcomes(_progress(head.SerializeToString(), *entries))
            else:
                message = ProgressMessage()
                add_failures(message, [failure], self._grid)
                yield encoded_rows(message, failed_count=1)

    def _parameter_rows(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """Return the map entries of each combination's parameters."""
        columns = [
            map(self._encode_parameters[name], values.tolist())
            for name, values in self._grid.at(indices).items()
        ]
        return map(b"".join, zip(*columns, strict=True)) if columns else iter([b""] * len(indices))


def _progress(*result: bytes) -> Pieces:
    """Return a progress message of one result."""
    outcome = field(Outcome.RESULT_FIELD_NUMBER, result)
    return field(ProgressMessage.OUTCOMES_FIELD_NUMBER, outcome)


def _parameter_bytes(name: str, value_field: str, value: object) -> bytes:
    """Return the map entry of a parameter's value."""
    set_value: Callable[..., ParameterValue] = ParameterValue
    return ParameterResult(parameters={name: set_value(**{value_field: value})}).SerializeToString()


def _metric_rows(metrics: Mapping[str, NDArray[np.float64]], count: int) -> Iterator[bytes]:
    """Yield the map entries of each row's metrics that have a value.

    An entry ends with its number, so that the rows of many are a table of bytes: the names are in
    place, and each column of numbers is written at once.
    """
    metrics = dict(sorted(metrics.items()))  # whatever the order in which they came to the log
    entries = [_metric_entry(name) for name in metrics]
    ends = np.cumsum([len(entry) for entry in entries], dtype=np.int64).tolist()
    table = np.tile(np.frombuffer(b"".join(entries), dtype=np.uint8), (count, 1))
    has_values = np.ones((count, len(entries)), dtype=np.bool_)
    for position, (end, values) in enumerate(zip(ends, metrics.values(), strict=True)):
        numbers = np.ascontiguousarray(values, dtype="<f8").view(np.uint8)
        table[:, end - _DOUBLE_BYTES : end] = numbers.reshape(count, _DOUBLE_BYTES)
        has_values[:, position] = ~np.isnan(values)
    rows, size = table.tobytes(), table.shape[1]
    is_whole = np.logical_and.reduce(has_values, axis=1).tolist()
    for position, whole in enumerate(is_whole):
        row = rows[position * size : (position + 1) * size]
        yield row if whole else _without_gaps(row, ends, has_values[position].tolist())


def _metric_entry(name: str) -> bytes:
    return ParameterResult(metrics={name: 0.0}).SerializeToString()


def _without_gaps(row: bytes, ends: Sequence[int], has_values: Sequence[bool]) -> bytes:
    """Return a row without the entries that have no value."""
    entries = zip([0, *ends], ends, has_values, strict=False)
    return b"".join(row[start:end] for start, end, has_value in entries if has_value)
