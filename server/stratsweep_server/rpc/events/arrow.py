"""Write outcomes and rankings as Arrow, from the log's columns without an object per row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage

from stratsweep_server.arrow.batches import BatchLayout
from stratsweep_server.arrow.bodies import Values
from stratsweep_server.arrow.messages import END_OF_STREAM
from stratsweep_server.arrow.schema import (
    AnyColumn,
    Column,
    ColumnType,
    FigureTable,
    Structure,
    schema_message,
)
from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.outcome_columns import OutcomeColumns
from stratsweep_server.optimization.result import RankedResults
from stratsweep_server.rpc.events.formats import (
    MAX_ROWS,
    EncodedOutcomes,
    ResultPart,
    arrow_field,
    fits,
    rows_that_fit,
)
from stratsweep_server.rpc.events.rows import add_failures
from stratsweep_server.rpc.events.wire import Pieces

_PLACES_AT_ONCE = 16_000
_OTHER_COLUMNS = 3  # rank, combination_index, backtest_duration
_TYPES = {
    "i": ColumnType.INT64,
    "f": ColumnType.FLOAT64,
    "b": ColumnType.BOOL,
    "O": ColumnType.LONG_TEXT,
}
"""The type of a parameter's column, by the kind of numpy's type."""


class ArrowProgress:
    """Implement `ProgressFormat`: an Arrow IPC stream for a message's results, rows for failures.

    Args:
        log: Where the outcomes are.
        grid: The parameters' values.
        is_grouped: Whether outcomes share progress messages.
    """

    def __init__(self, log: FollowedLog, grid: GridColumns, *, is_grouped: bool) -> None:
        self._log = log
        self._grid = grid
        self._is_grouped = is_grouped

    def block_size(self) -> int:
        """Return how many outcomes to ask `encoded` for at a time."""
        return max_arrow_rows(self._grid, self._log.metric_count) if self._is_grouped else 1

    def encoded(self, start: int, stop: int) -> Iterator[EncodedOutcomes]:
        """Yield messages with a range of the log's outcomes, in order."""
        failed = start + np.flatnonzero(self._log.is_failure(start, stop))
        count, message = stop - start, ProgressMessage()
        if len(failed):
            self._add_failures(message, failed[:MAX_ROWS])
        if len(failed) > MAX_ROWS or (count > 1 and not fits(message.ByteSize())):
            middle = (start + stop) // 2
            yield from self.encoded(start, middle)
            yield from self.encoded(middle, stop)
            return
        stream: Pieces = ()
        if len(failed) < count:
            rows = _without(failed, start, stop)
            columns = self._log.columns(rows, self._log.metric_names(rows))
            stream = arrow_stream(columns, self._grid)
        failures = message.SerializeToString(deterministic=True)
        results = arrow_field(ProgressMessage.ARROW_RESULTS_FIELD_NUMBER, stream)
        yield EncodedOutcomes((failures, *results), count, len(failed))

    def _add_failures(self, message: ProgressMessage, rows: NDArray[np.intp]) -> None:
        indices = self._log.columns(rows, ()).indices.tolist()
        failures = [self._log.failures[index] for index in indices]
        add_failures(message, failures, self._grid)


class ArrowRanking:
    """Implement `RankingFormat`: an Arrow IPC stream for each part.

    Args:
        grid: The parameters' values.
    """

    def __init__(self, grid: GridColumns) -> None:
        self._grid = grid

    def ranked_parts(self, ranking: RankedResults) -> Iterator[ResultPart]:
        """Yield result parts with a whole ranking, in order."""
        max_rows = max_arrow_rows(self._grid, len(ranking.metric_names))
        # Places lie all over a log: those of several parts are looked for together.
        step = max_rows * max(1, _PLACES_AT_ONCE // max_rows)
        for first in range(0, len(ranking), step):
            columns = ranking.columns(first, min(first + step, len(ranking)))
            for start in range(0, len(columns.indices), max_rows):
                part = columns.part(start, start + max_rows)
                rank = first + start + 1
                yield ResultPart(arrow_ranked_results=arrow_stream(part, self._grid, rank))


def max_arrow_rows(grid: GridColumns, metric_count: int) -> int:
    """Return how many rows a message may have."""
    return rows_that_fit(grid.row_bytes + 8 * (_OTHER_COLUMNS + metric_count))


def arrow_stream(
    columns: OutcomeColumns, grid: GridColumns, first_rank: int | None = None
) -> Pieces:
    """Return results as a complete Arrow IPC stream, with the columns of `RESULT_FORMAT_ARROW`.

    Args:
        columns: The results; none of them is a failure.
        grid: The parameters' values.
        first_rank: The first one's rank, in a ranking.
    """
    # Rounded to nanoseconds first, as in rows, so that both formats round alike.
    microseconds = np.rint(np.rint(columns.durations * 1e9) / 1e3).astype(np.int64)
    parameters = grid.at(columns.indices)
    metric_names = tuple(sorted(columns.metrics))
    values: list[Values] = [columns.indices, microseconds]
    if first_rank is not None:
        values.insert(0, np.arange(first_rank, first_rank + len(columns.indices)))
    if parameters:
        values.append(list(parameters.values()))
    if metric_names:
        values.append(_table(columns, metric_names))
    kinds = tuple((name, column.dtype.kind) for name, column in parameters.items())
    schema, layout = _layout(kinds, metric_names, is_ranked=first_rank is not None)
    return schema, *layout.encode(len(columns.indices), values), END_OF_STREAM


@lru_cache(maxsize=1 << 7)
def _layout(
    parameters: tuple[tuple[str, str], ...], metric_names: tuple[str, ...], *, is_ranked: bool
) -> tuple[bytes, BatchLayout]:
    """Return what a stream begins with, and how its batch is encoded.

    Args:
        parameters: Names, and the kinds of numpy's types.
        metric_names: In the order of their columns.
        is_ranked: Whether the results have ranks.
    """
    # Nothing is ever missing but metrics; readers were told from the start that all may be.
    columns: list[AnyColumn] = [
        Column("combination_index", ColumnType.INT64, is_nullable=True),
        Column("backtest_duration", ColumnType.MICROSECONDS, is_nullable=True),
    ]
    if is_ranked:
        columns.insert(0, Column("rank", ColumnType.INT64, is_nullable=True))
    if parameters:
        inner = tuple(Column(name, _TYPES[kind], is_nullable=True) for name, kind in parameters)
        columns.append(Structure("parameters", inner, is_nullable=True))
    if metric_names:
        columns.append(FigureTable("metrics", metric_names, is_nullable=True))
    schema = schema_message(columns, {}, has_checksum=False)
    return schema, BatchLayout(columns, has_checksums=False)


def _table(columns: OutcomeColumns, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return metrics as a table with contiguous columns."""
    table = np.empty((len(columns.indices), len(names)), order="F")
    for position, name in enumerate(names):
        table[:, position] = columns.metrics[name]
    return table


def _without(failed: NDArray[np.intp], start: int, stop: int) -> slice | NDArray[np.intp]:
    """Return a range's rows that are not failed; as a slice, which makes views, where none is."""
    if len(failed) == 0:
        return slice(start, stop)
    return np.setdiff1d(np.arange(start, stop), failed, assume_unique=True)
