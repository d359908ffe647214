"""Name the files of an outcome log, and append to them.

A file's name says which of the files that were ever written it has the outcomes of:
`outcomes-3.arrow` is the third, `outcomes-1-to-3.arrow` has those of the first three. A file whose
outcomes another one has does not count, so that a rename alone puts one in the place of many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.store import Run
from stratsweep_server.storage.file_layer import AppendedFile, FileLayer
from stratsweep_server.storage.outcome_batches import OutcomeSchema

MOST_ROWS = 1 << 16
"""Outcomes in a record batch."""

SMALL_BATCH = 1_024
"""Outcomes: batches that have fewer on average are written anew. Then a reader of one metric loads
its pages and few others; the metadata, 1.3 KB of a batch with sixteen metrics, are the lesser part.
"""

_NAME = re.compile(r"outcomes-(\d+)(?:-to-(\d+))?\.arrow")

TimedBatch = tuple[OutcomeBatch, float]
"""Outcomes, and for how many seconds the optimization had run when they arrived."""


@dataclass(frozen=True, slots=True)
class OutcomeFile:
    """Name a file of a log.

    Attributes:
        first: The number of the first file whose outcomes it has, from 1.
        last: The number of the last one.
    """

    first: int
    last: int

    @property
    def name(self) -> str:
        """Return what it is called in its folder."""
        if self.first == self.last:
            return f"outcomes-{self.first}.arrow"
        return f"outcomes-{self.first}-to-{self.last}.arrow"


def current_files(names: Iterable[str]) -> list[OutcomeFile]:
    """Return the files that make up a log, in order, of the names in its folder."""
    current: list[OutcomeFile] = []
    for file in sorted(outcome_files(names), key=lambda file: (file.first, -file.last)):
        if not current or file.first > current[-1].last:
            current.append(file)
    return current


def outcome_files(names: Iterable[str]) -> list[OutcomeFile]:
    """Return all files of outcomes among the names in a folder."""
    matches = filter(None, map(_NAME.fullmatch, names))
    return [OutcomeFile(int(first), int(last or first)) for first, last in map(_groups, matches)]


def last_number(names: Iterable[str]) -> int:
    """Return the number of the file that was begun last; 0 where there is none."""
    return max((file.last for file in outcome_files(names)), default=0)


def are_small(batch_count: int, row_count: int) -> bool:
    """Return whether record batches are to be written anew as larger ones."""
    return batch_count > 1 and row_count < SMALL_BATCH * batch_count


class OutcomeWriter:
    """Append the outcomes of a run to files of its own. All methods raise OSError.

    A file begins with the first outcomes, and whenever there is something that has no column yet.

    Args:
        files: Where the files are.
        folder: The log's folder; it is made where there is none.
        run: Who writes.

    Attributes:
        folder: The log's folder.
    """

    def __init__(self, files: FileLayer, folder: Path, run: Run) -> None:
        self._files = files
        self.folder = folder
        self._run = run
        self._schema = OutcomeSchema()
        self._number: int | None = None
        self._file: AppendedFile | None = None
        self._is_named = True
        self._batch_count = self._row_count = 0

    @property
    def leaves_large_batches(self) -> bool:
        """Return whether the log is in its final form by what was written of it: all of it."""
        return not self._run.first_row and not are_small(self._batch_count, self._row_count)

    def append(self, batches: Sequence[TimedBatch]) -> None:
        """Write outcomes; each batch has at least one."""
        gathered: list[TimedBatch] = []
        row_count = 0
        for batch, elapsed in batches:
            schema = self._schema.including(OutcomeSchema.of(batch))
            is_new = self._file is None or schema is not self._schema
            if is_new or row_count + len(batch) > MOST_ROWS:
                self._write(gathered)
                gathered, row_count = [], 0
            if is_new:
                self._begin_file(schema)
            gathered.append((batch, elapsed))
            row_count += len(batch)
        self._write(gathered)

    def sync(self) -> None:
        """Return once all that was written is kept for good."""
        if self._file is not None:
            self._file.sync()
        if not self._is_named:
            self._files.sync_folder(self.folder)
            self._is_named = True

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_file(self, schema: OutcomeSchema) -> None:
        if self._number is None:
            self._files.make_folder(self.folder)
            self._files.sync_folder(self.folder.parent)
            self._number = last_number(self._files.names(self.folder))
        # What is in one file is there for good before there is another, so that outcomes are never
        # missing in the middle.
        self.sync()
        self.close()
        self._number += 1
        path = self.folder / OutcomeFile(self._number, self._number).name
        self._file = self._files.create(path)
        self._is_named = False
        self._schema = schema
        self._file.append([schema.message([self._run])])

    def _write(self, batches: Sequence[TimedBatch]) -> None:
        if batches and self._file is not None:
            rows = self._schema.gather(batches)
            self._file.append(self._schema.encode(rows))
            self._batch_count += 1
            self._row_count += len(rows.indices)


def _groups(match: re.Match[str]) -> tuple[str, str | None]:
    first, last = match.groups()
    return first, last
