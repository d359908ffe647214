"""Read an outcome log from its files, which are mapped, so that memory does not follow its size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.arrow.messages import MessageKind, read_messages
from stratsweep_server.execution.outcomes import BacktestFailure
from stratsweep_server.optimization.outcome_columns import OutcomeColumns
from stratsweep_server.optimization.store import Rows, Run, StoreUnavailableError
from stratsweep_server.storage.file_layer import FileLayer, unload
from stratsweep_server.storage.outcome_batches import (
    OutcomeSchema,
    StoredOutcomes,
    read_outcome_schema,
)
from stratsweep_server.storage.outcome_files import current_files

_ATTEMPTS = 10
_NO_ROWS = np.empty(0, np.intp)
_Item = TypeVar("_Item", bound=np.generic)

_Part = tuple[StoredOutcomes, Rows, Rows]


class StoredLog:
    """Implement `LogView` over the files of a folder, as they are now.

    A file counts up to the first message that is not whole. What is mapped stays readable when the
    files are written anew or removed.

    Args:
        files: Where the files are.
        folder: The log's folder; a log without one is empty.
        total_count: Outcomes that there will be when nothing is missing.

    Attributes:
        runs: Who wrote which stretch, in order.
        schema: The columns of all of its files.
        stored_bytes: What its files take.

    Raises:
        StoreUnavailableError: The files cannot be read, or are of a newer version.
    """

    def __init__(self, files: FileLayer, folder: Path, total_count: int) -> None:
        self.total_count = total_count
        self.runs: list[Run] = []
        self.schema = OutcomeSchema()
        self.stored_bytes = 0
        self._batches: list[StoredOutcomes] = []
        self._contents = _map_files(files, folder)
        for content in self._contents:
            self._read(content)
        self.unload()  # all of it was read for its checksums
        self._starts = np.cumsum([0, *map(len, self._batches)]).tolist()

    @property
    def count(self) -> int:
        """Return how many outcomes there are."""
        return int(self._starts[-1])

    @property
    def batches(self) -> Sequence[StoredOutcomes]:
        """Return them as they were written: in record batches."""
        return self._batches

    @cached_property
    def failures(self) -> Mapping[int, BacktestFailure]:
        """Return the failures by combination index, in order; each is read when it is looked up."""
        rows = np.flatnonzero(self.is_failure()) if self.schema.has_failures else _NO_ROWS
        indices = self.columns(rows, ()).indices
        return _StoredFailures(self._batches, self._starts, rows, indices)

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the combination indices of a range of outcomes (int64)."""
        return self._column(StoredOutcomes.indices, np.int64, self._range(start, stop))

    def durations(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the seconds that each of a range of backtests ran (float64)."""
        return self._column(StoredOutcomes.durations, np.float64, self._range(start, stop))

    def elapsed(self, row: int) -> float:
        """Return for how many seconds the optimization had run when an outcome arrived."""
        return float(self.elapsed_range(row, row + 1)[0])

    def elapsed_range(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return `elapsed` of a range of outcomes (float64)."""
        return self._column(StoredOutcomes.elapsed, np.float64, self._range(start, stop))

    def is_failure(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Return for each of a range of outcomes whether it is a failure (bool)."""
        return self._column(StoredOutcomes.is_failure, np.bool_, self._range(start, stop))

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return one metric of a range of outcomes (float64); NaN where it has no value."""
        return self._metric(name, self._range(start, stop))

    def metric_names(self, rows: Rows | None = None) -> tuple[str, ...]:
        """Return by name the metrics that any of some outcomes has a value of; default: of all."""
        missing = set(self.schema.metric_names)
        for batch, of_batch, _ in self._parts(self._range(0, None) if rows is None else rows):
            missing -= {name for name in missing if _has_a_value(batch.metric(name)[of_batch])}
        return tuple(sorted(set(self.schema.metric_names) - missing))

    def columns(self, rows: Rows, metric_names: Sequence[str] | None = None) -> OutcomeColumns:
        """Return outcomes by row number, in columns; default: with every metric in the log."""
        names = self.schema.metric_names if metric_names is None else metric_names
        parts = list(self._parts(rows))  # once for all columns: to look for them takes longest
        return OutcomeColumns(
            self._column(StoredOutcomes.indices, np.int64, rows, parts),
            self._column(StoredOutcomes.durations, np.float64, rows, parts),
            {name: self._metric(name, rows, parts) for name in names},
        )

    def unload(self) -> None:
        """Let the system take back the memory of what was read; views of it stay valid."""
        for content in self._contents:
            unload(content)

    def _read(self, content: memoryview) -> None:
        schema = None
        for message in read_messages(content):
            if schema is None:
                schema, runs = read_outcome_schema(message)
                self.schema = self.schema.including(schema)
                self.runs += [run for run in runs if run not in self.runs]
            elif message.kind == MessageKind.RECORD_BATCH:
                self._batches.append(schema.decode(message))
        self.stored_bytes += len(content)

    def _range(self, start: int, stop: int | None) -> slice:
        return slice(start, self.count if stop is None else stop)

    def _metric(
        self, name: str, rows: Rows, parts: Sequence[_Part] | None = None
    ) -> NDArray[np.float64]:
        return self._column(lambda batch: batch.metric(name), np.float64, rows, parts)

    def _column(
        self,
        read: Callable[[StoredOutcomes], NDArray[_Item]],
        dtype: type[_Item],
        rows: Rows,
        known_parts: Sequence[_Part] | None = None,
    ) -> NDArray[_Item]:
        """Return a column of some outcomes: a view where they are a range in one batch."""
        parts = self._parts(rows) if known_parts is None else known_parts
        if isinstance(rows, slice):
            found = [read(batch)[of_batch] for batch, of_batch, _ in parts]
            if len(found) == 1:
                return found[0]
            return np.concatenate(found) if found else np.empty(0, dtype)
        column = np.empty(len(rows), dtype)
        for batch, of_batch, places in parts:
            column[places] = read(batch)[of_batch]
        return column

    def _parts(self, rows: Rows) -> Iterator[_Part]:
        """Yield the batches that have some of the rows: where these are there, and in `rows`."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.count)
            first = max(bisect_right(self._starts, start) - 1, 0)
            for batch, (begin, end) in zip(
                self._batches[first:], pairwise(self._starts[first:]), strict=True
            ):
                if begin >= stop:
                    return
                low, high = max(start, begin), min(stop, end)
                yield batch, slice(low - begin, high - begin), slice(low - start, high - start)
        else:
            numbers = np.searchsorted(self._starts, rows, side="right") - 1
            for number in np.unique(numbers).tolist():
                places = np.flatnonzero(numbers == number)
                yield self._batches[number], rows[places] - self._starts[number], places


class _StoredFailures(Mapping[int, BacktestFailure]):
    """Give failures by combination index, with 16 bytes of memory for each.

    It does not know its log: in a circle both would stay, and the files mapped, until the garbage
    collector comes.
    """

    def __init__(
        self,
        batches: Sequence[StoredOutcomes],
        starts: Sequence[int],
        rows: NDArray[np.intp],
        indices: NDArray[np.int64],
    ) -> None:
        self._batches = batches
        self._starts = starts
        self._rows = rows
        self._indices = indices
        self._order = np.argsort(indices, kind="stable")

    def __getitem__(self, index: int) -> BacktestFailure:
        place = int(np.searchsorted(self._indices, index, sorter=self._order))
        if place < len(self._order) and self._indices[self._order[place]] == index:
            row = int(self._rows[self._order[place]])
            batch = bisect_right(self._starts, row) - 1
            return self._batches[batch].failure(row - self._starts[batch])
        raise KeyError(index)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices.tolist())

    def __len__(self) -> int:
        return len(self._rows)


def _map_files(files: FileLayer, folder: Path) -> list[memoryview]:
    for attempt in range(_ATTEMPTS):
        try:
            names = files.names(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(error) from error
        try:
            return [files.map(folder / file.name) for file in current_files(names)]
        except FileNotFoundError as error:  # written anew since we looked
            if attempt == _ATTEMPTS - 1:
                raise _unreadable(error) from error
        except OSError as error:
            raise _unreadable(error) from error
    return []


def _unreadable(error: OSError) -> StoreUnavailableError:
    return StoreUnavailableError(f"outcomes cannot be read: {error.strerror}; look at the disk")


def _has_a_value(values: NDArray[np.float64]) -> bool:
    # The first one nearly always has.
    return not (np.isnan(values[:1]).all() and np.isnan(values).all())
