"""Write outcomes and rankings as protobuf rows, straight from the log's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from stratsweep.v1 import outcome_pb2, parameter_pb2
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.outcome_columns import OutcomeColumns
from stratsweep_server.optimization.result import RankedResults
from stratsweep_server.rpc.events.formats import (
    MAX_ROWS,
    EncodedOutcomes,
    ResultPart,
    fits,
    rows_that_fit,
)

_FAILURE_KINDS = {
    FailureKind.ERROR: outcome_pb2.FAILURE_KIND_ERROR,
    FailureKind.TIMED_OUT: outcome_pb2.FAILURE_KIND_TIMED_OUT,
    FailureKind.CRASHED: outcome_pb2.FAILURE_KIND_CRASHED,
}
VALUE_FIELDS = {
    "i": "integer_value",
    "f": "double_value",
    "b": "bool_value",
    "O": "string_value",
}
"""The field of a parameter's value, by the kind of numpy's type."""

_ParameterRow: TypeAlias = Sequence[tuple[str, str, object]]
"""Name, field and value of each parameter of a combination."""
_MetricRow: TypeAlias = tuple[int, float, dict[str, float]]
"""Combination index, seconds, and the metrics that have a value."""


class RowProgress:
    """Implement `ProgressFormat`: a message within a message for each outcome.

    Args:
        log: Where the outcomes are.
        grid: The parameters' values.
    """

    def __init__(self, log: FollowedLog, grid: GridColumns) -> None:
        self._log = log
        self._grid = grid
        self._max_rows = max_rows(grid)

    def block_size(self) -> int:
        """Return how many outcomes to ask `encoded` for at a time."""
        return self._max_rows

    def encoded(self, start: int, stop: int) -> Iterator[EncodedOutcomes]:
        """Yield messages with a range of the log's outcomes, in order."""
        message, failed_count, size = ProgressMessage(), 0, 0
        for row, parameters, failure in self._rows(start, stop):
            size += _add_outcome(message, row, parameters, failure).ByteSize()
            failed_count += failure is not None
            if not fits(size):
                yield encoded_rows(message, failed_count)
                message, failed_count, size = ProgressMessage(), 0, 0
        if message.outcomes:
            yield encoded_rows(message, failed_count)

    def _rows(
        self, start: int, stop: int
    ) -> Iterator[tuple[_MetricRow, _ParameterRow, BacktestFailure | None]]:
        columns = self._log.columns(slice(start, stop))
        parameter_rows = _parameter_rows(self._grid, columns.indices)
        for row, parameters in zip(columns.rows(), parameter_rows, strict=True):
            yield row, parameters, self._log.failures.get(row[0])


class RowRanking:
    """Implement `RankingFormat`: a message within a message for each place of the ranking.

    Args:
        grid: The parameters' values.
    """

    def __init__(self, grid: GridColumns) -> None:
        self._grid = grid
        self._max_rows = max_rows(grid)

    def ranked_parts(self, ranking: RankedResults) -> Iterator[ResultPart]:
        """Yield result parts with a whole ranking, in order."""
        for start in range(0, len(ranking), self._max_rows):
            columns = ranking.columns(start, min(start + self._max_rows, len(ranking)))
            parameter_rows = _parameter_rows(self._grid, columns.indices)
            part, size = ResultPart(), 0
            for place, (row, parameters) in enumerate(
                zip(columns.rows(), parameter_rows, strict=True), start
            ):
                result = part.result.ranked_results.add()
                _fill_result(result, row, parameters)
                result.rank = place + 1
                size += result.ByteSize()
                if not fits(size):
                    yield part
                    part, size = ResultPart(), 0
            if size:
                yield part


def max_rows(grid: GridColumns) -> int:
    """Return how many rows to make in one go, with a grid's parameters in each."""
    return min(MAX_ROWS, rows_that_fit(grid.row_bytes))


def encoded_rows(message: ProgressMessage, failed_count: int) -> EncodedOutcomes:
    """Return the outcomes of a message, which has nothing else."""
    wire = (message.SerializeToString(deterministic=True),)
    return EncodedOutcomes(wire, len(message.outcomes), failed_count)


def failure_parts(failures: Sequence[BacktestFailure], grid: GridColumns) -> Iterator[ResultPart]:
    """Yield failures, in order, in parts that have nothing else."""
    for start in range(0, len(failures), MAX_ROWS):
        block = failures[start : start + MAX_ROWS]
        part, size = ResultPart(), 0
        for failure, parameters in zip(block, _failure_parameters(block, grid), strict=True):
            message = part.result.failures.add()
            _fill_failure(message, failure, parameters)
            size += message.ByteSize()
            if not fits(size):
                yield part
                part, size = ResultPart(), 0
        if size:
            yield part


def result_message(log: FollowedLog, row: int, grid: GridColumns) -> outcome_pb2.ParameterResult:
    """Return a successful outcome of a log as a message, without a rank."""
    columns = log.columns(slice(row, row + 1))
    message = outcome_pb2.ParameterResult()
    _fill_result(message, columns.rows()[0], next(_parameter_rows(grid, columns.indices)))
    return message


def ranked_messages(
    columns: OutcomeColumns, grid: GridColumns, first_rank: int
) -> Iterator[outcome_pb2.ParameterResult]:
    """Yield results as messages, with ranks from `first_rank` on."""
    rows = zip(columns.rows(), _parameter_rows(grid, columns.indices), strict=True)
    for rank, (row, parameters) in enumerate(rows, first_rank):
        message = outcome_pb2.ParameterResult(rank=rank)
        _fill_result(message, row, parameters)
        yield message


def add_failures(
    progress: ProgressMessage, failures: Sequence[BacktestFailure], grid: GridColumns
) -> None:
    """Write failures into a progress message."""
    for failure, parameters in zip(failures, _failure_parameters(failures, grid), strict=True):
        _fill_failure(progress.outcomes.add().failure, failure, parameters)


def _failure_parameters(
    failures: Sequence[BacktestFailure], grid: GridColumns
) -> Iterator[_ParameterRow]:
    indices = [failure.combination_index for failure in failures]
    return _parameter_rows(grid, np.array(indices, dtype=np.int64))


def _parameter_rows(grid: GridColumns, indices: NDArray[np.int64]) -> Iterator[_ParameterRow]:
    """Yield name, field and value of each combination's parameters."""
    columns = grid.at(indices)
    names = [(name, VALUE_FIELDS[values.dtype.kind]) for name, values in columns.items()]
    if not columns:
        yield from ([] for _ in indices)
    for row in zip(*(values.tolist() for values in columns.values()), strict=True):
        yield [(name, field, value) for (name, field), value in zip(names, row, strict=True)]


def _add_outcome(
    progress: ProgressMessage,
    row: _MetricRow,
    parameters: _ParameterRow,
    failure: BacktestFailure | None,
) -> outcome_pb2.Outcome:
    outcome = progress.outcomes.add()
    if failure is None:
        _fill_result(outcome.result, row, parameters)
    else:
        _fill_failure(outcome.failure, failure, parameters)
    return outcome


def _fill_result(
    message: outcome_pb2.ParameterResult,
    row: _MetricRow,
    parameters: _ParameterRow,
) -> None:
    message.combination_index, seconds, metrics = row
    _fill_parameters(message.parameters, parameters)
    values = message.metrics
    for name, value in metrics.items():
        values[name] = value
    fill_seconds(message.backtest_duration, seconds)


def _fill_failure(
    message: outcome_pb2.BacktestFailure, failure: BacktestFailure, parameters: _ParameterRow
) -> None:
    message.combination_index = failure.combination_index
    _fill_parameters(message.parameters, parameters)
    message.kind = _FAILURE_KINDS[failure.kind]
    message.message = failure.message
    message.traceback = failure.traceback
    fill_seconds(message.backtest_duration, failure.duration)


def _fill_parameters(
    message: Mapping[str, parameter_pb2.ParameterValue], parameters: _ParameterRow
) -> None:
    for name, field, value in parameters:
        setattr(message[name], field, value)


def fill_seconds(message: Duration | Timestamp, seconds: float) -> None:
    """Write seconds, of a span or since the epoch, into a message in place."""
    message.seconds, message.nanos = divmod(round(seconds * 1e9), 1_000_000_000)
