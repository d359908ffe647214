"""Say how outcomes stand in a file: the format of the outcome log on the disk, and its version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.arrow.batches import BatchLayout, StoredBatch
from stratsweep_server.arrow.bodies import Values
from stratsweep_server.arrow.messages import Message, Piece
from stratsweep_server.arrow.schema import (
    Column,
    ColumnType,
    FigureTable,
    read_schema,
    schema_message,
)
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.optimization.store import Run, StoreUnavailableError

FORMAT_VERSION = 1
"""Grows when readers of an earlier version would read a file wrongly."""

VERSION_KEY = "stratsweep.format_version"
RUNS_KEY = "stratsweep.runs"

_KIND_NUMBERS = {FailureKind.ERROR: 1, FailureKind.TIMED_OUT: 2, FailureKind.CRASHED: 3}
_KINDS = {number: kind for kind, number in _KIND_NUMBERS.items()}
_FAILURE_COLUMNS = (
    Column("failure_kind", ColumnType.INT8),
    Column("failure_message", ColumnType.TEXT, is_nullable=True),
    Column("failure_traceback", ColumnType.TEXT, is_nullable=True),
)
_Item = TypeVar("_Item", bound=np.generic)
_LARGEST_SMALL_INDEX = np.iinfo(np.uint32).max


@dataclass(frozen=True, eq=False)
class OutcomeRows:
    """Hold rows of a file, in columns of equal length.

    Attributes:
        indices: Combination indices.
        elapsed: Seconds for which the optimization had run when each arrived.
        durations: Seconds that each backtest ran.
        metrics: Of shape (rows, metric names of the file), each column contiguous; NaN where a
            metric has no value.
        failures: The failures among them, by row.
    """

    indices: NDArray[np.int64]
    elapsed: NDArray[np.float64]
    durations: NDArray[np.float64]
    metrics: NDArray[np.float64]
    failures: Mapping[int, BacktestFailure]


@dataclass(frozen=True)
class OutcomeSchema:
    """Describe the columns of a file of outcomes.

    Attributes:
        metric_names: The metrics that have a place, in the order of their columns.
        has_failures: Whether failures have one.
        has_large_indices: Whether combination indices have more than 32 bits.
    """

    metric_names: tuple[str, ...] = ()
    has_failures: bool = False
    has_large_indices: bool = False

    @staticmethod
    def of(batch: OutcomeBatch) -> OutcomeSchema:
        """Return the schema that has a place for some outcomes, and no other."""
        has_large_indices = bool(batch.indices.max() > _LARGEST_SMALL_INDEX)
        return OutcomeSchema(batch.metric_names, bool(batch.failures), has_large_indices)

    def including(self, other: OutcomeSchema) -> OutcomeSchema:
        """Return a schema with the columns of both; this one where it has them all."""
        union = OutcomeSchema(
            tuple(dict.fromkeys((*self.metric_names, *other.metric_names))),
            self.has_failures or other.has_failures,
            self.has_large_indices or other.has_large_indices,
        )
        return self if union == self else union

    def message(self, runs: Sequence[Run]) -> bytes:
        """Return what a file begins with.

        Args:
            runs: Who wrote its outcomes.
        """
        described = [[run.first_row, run.start_time, run.start_elapsed] for run in runs]
        metadata = {VERSION_KEY: str(FORMAT_VERSION), RUNS_KEY: json.dumps(described)}
        return schema_message(self._layout.columns, metadata)

    def encode(self, rows: OutcomeRows) -> tuple[Piece, ...]:
        """Return a record batch, in pieces."""
        index_type = np.int64 if self.has_large_indices else np.uint32
        columns: list[Values] = [
            rows.indices.astype(index_type, copy=False),
            rows.elapsed,
            rows.durations,
        ]
        if self.metric_names:
            columns.append(rows.metrics)
        if self.has_failures:
            columns += _failure_columns(rows)
        return self._layout.encode(len(rows.indices), columns)

    def decode(self, message: Message) -> StoredOutcomes:
        """Return what is in a record batch."""
        return StoredOutcomes(self, self._layout.decode(message))

    def gather(self, batches: Sequence[tuple[OutcomeBatch, float]]) -> OutcomeRows:
        """Return outcomes, which have a place, as rows of one record batch.

        Args:
            batches: The outcomes, and for how many seconds the optimization had run.
        """
        indices = _concatenated([batch.indices for batch, _ in batches])
        durations = _concatenated([batch.durations for batch, _ in batches])
        elapsed = _concatenated([np.full(len(batch), elapsed) for batch, elapsed in batches])
        failures = {
            failure.combination_index: failure for batch, _ in batches for failure in batch.failures
        }
        by_row = {
            row: failures[index]
            for row, index in enumerate(indices.tolist() if failures else ())
            if index in failures
        }
        metrics = self._metrics([batch for batch, _ in batches], len(indices))
        return OutcomeRows(indices, elapsed, durations, metrics, by_row)

    def join(self, batches: Sequence[StoredOutcomes]) -> OutcomeRows:
        """Return stored outcomes, which have a place, as rows of one record batch."""
        table = np.empty((sum(map(len, batches)), len(self.metric_names)), order="F")
        failures: dict[int, BacktestFailure] = {}
        end = 0
        for batch in batches:
            start, end = end, end + len(batch)
            self._fill(table[start:end], batch.metric_names, batch.metrics())
            failures.update((start + row, batch.failure(row)) for row in batch.failed_rows())
        return OutcomeRows(
            _concatenated([batch.indices() for batch in batches]),
            _concatenated([batch.elapsed() for batch in batches]),
            _concatenated([batch.durations() for batch in batches]),
            table,
            failures,
        )

    def _metrics(self, batches: Sequence[OutcomeBatch], row_count: int) -> NDArray[np.float64]:
        """Return a table with the file's columns; that of a single batch where it has them."""
        if len(batches) == 1 and batches[0].metric_names == self.metric_names:
            return batches[0].metrics
        table = np.empty((row_count, len(self.metric_names)), order="F")
        end = 0
        for batch in batches:
            start, end = end, end + len(batch)
            self._fill(table[start:end], batch.metric_names, batch.metrics)
        return table

    def _fill(
        self, table: NDArray[np.float64], names: Sequence[str], metrics: NDArray[np.float64]
    ) -> None:
        if names == self.metric_names:
            table[:] = metrics
            return
        table[:] = np.nan
        places = {name: place for place, name in enumerate(self.metric_names)}
        for position, name in enumerate(names):
            table[:, places[name]] = metrics[:, position]

    @cached_property
    def _layout(self) -> BatchLayout:
        columns: list[Column | FigureTable] = [
            Column(
                "combination_index",
                ColumnType.INT64 if self.has_large_indices else ColumnType.UINT32,
            ),
            Column("elapsed", ColumnType.FLOAT64),
            Column("backtest_seconds", ColumnType.FLOAT64),
        ]
        if self.metric_names:  # not every reader knows a structure of nothing
            columns.append(FigureTable("metrics", self.metric_names))
        if self.has_failures:
            columns += _FAILURE_COLUMNS
        return BatchLayout(columns)


class StoredOutcomes:
    """Give the outcomes of a record batch as views of the file.

    Args:
        schema: The file's columns.
        batch: The record batch.
    """

    def __init__(self, schema: OutcomeSchema, batch: StoredBatch) -> None:
        self._schema = schema
        self._batch = batch

    def __len__(self) -> int:
        return self._batch.row_count

    def indices(self) -> NDArray[np.int64]:
        """Return the combination indices (int64)."""
        return self._batch.array("combination_index").astype(np.int64, copy=False)

    def elapsed(self) -> NDArray[np.float64]:
        """Return for how many seconds the optimization had run when each arrived (float64)."""
        return self._batch.array("elapsed")

    def durations(self) -> NDArray[np.float64]:
        """Return the seconds that each backtest ran (float64)."""
        return self._batch.array("backtest_seconds")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Return the metrics that have a column."""
        return self._schema.metric_names

    def metrics(self) -> NDArray[np.float64]:
        """Return all metrics, of shape (outcomes, names); NaN where one has no value."""
        if not self.metric_names:
            return np.empty((len(self), 0))
        return self._batch.figure_table("metrics", len(self.metric_names))

    def metric(self, name: str) -> NDArray[np.float64]:
        """Return a metric (float64); NaN where it has no value."""
        if name not in self._schema.metric_names:
            return np.full(len(self), np.nan)
        return self._batch.figures("metrics", self._schema.metric_names.index(name))

    def is_failure(self) -> NDArray[np.bool_]:
        """Return for each whether it is a failure (bool)."""
        if not self._schema.has_failures:
            return np.zeros(len(self), np.bool_)
        return self._batch.array("failure_kind").astype(np.bool_)

    def failed_rows(self) -> list[int]:
        """Return the rows that are failures."""
        return np.flatnonzero(self.is_failure()).tolist() if self._schema.has_failures else []

    def failure(self, row: int) -> BacktestFailure:
        """Return the failure in a row."""
        return BacktestFailure(
            int(self.indices()[row]),
            _KINDS[int(self._batch.array("failure_kind")[row])],
            self._batch.text("failure_message", row),
            self._batch.text("failure_traceback", row),
            float(self.durations()[row]),
        )


def read_outcome_schema(message: Message) -> tuple[OutcomeSchema, list[Run]]:
    """Return the columns of a file, and who wrote its outcomes, of the message it begins with.

    Raises:
        StoreUnavailableError: It was written by a newer version.
    """
    try:
        columns, metadata = read_schema(bytes(message.start))
    except ValueError as error:
        raise StoreUnavailableError(
            f"outcomes are kept in columns that this version of Stratsweep cannot read: {error}; "
            "use the version that wrote them, or a newer one"
        ) from error
    version = int(metadata[VERSION_KEY])
    if version > FORMAT_VERSION:
        raise StoreUnavailableError(
            f"outcomes are kept in the format {version}, and this version of Stratsweep reads up "
            f"to {FORMAT_VERSION}; use the version that wrote them, or a newer one"
        )
    types = {column.name: column for column in columns}
    metrics, index = types.get("metrics"), types["combination_index"]
    schema = OutcomeSchema(
        metrics.names if isinstance(metrics, FigureTable) else (),
        "failure_kind" in types,
        isinstance(index, Column) and index.type is ColumnType.INT64,
    )
    return schema, [Run(*described) for described in json.loads(metadata[RUNS_KEY])]


def _concatenated(arrays: Sequence[NDArray[_Item]]) -> NDArray[_Item]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _failure_columns(rows: OutcomeRows) -> list[Values]:
    kinds = np.zeros(len(rows.indices), np.int8)
    for row, failure in rows.failures.items():
        kinds[row] = _KIND_NUMBERS[failure.kind]
    messages = {row: failure.message for row, failure in rows.failures.items()}
    tracebacks = {
        row: failure.traceback for row, failure in rows.failures.items() if failure.traceback
    }
    return [kinds, messages, tracebacks]
