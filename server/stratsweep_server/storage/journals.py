"""Write the outcomes of all running optimizations in one thread, which shares its syncs among them.

What gathers while the disk is busy is written and synced together (group commit), so that a slow
disk makes larger batches, not a longer queue of syncs. A write or a sync that failed is never tried
again: what the system still holds of it then is not what is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.store import (
    OnDurable,
    OnFailure,
    Run,
    StoreUnavailableError,
)
from stratsweep_server.storage.file_layer import FileLayer
from stratsweep_server.storage.outcome_files import OutcomeWriter, TimedBatch

GATHER_SECONDS = 0.005
"""Few outcomes wait until this long after the last write began: for company, at a sync each."""

ENOUGH_ROWS = 2_000
"""So many outcomes are worth a sync of their own."""

_Argument = TypeVar("_Argument")

logger = logging.getLogger(__name__)


class OutcomeJournals:
    """Keep the outcomes of optimizations that this process holds.

    Args:
        files: Where the files are.
    """

    def __init__(self, files: FileLayer) -> None:
        self._files = files
        self._condition = threading.Condition()
        self._waiting: dict[DiskJournal, list[TimedBatch]] = {}
        self._waiting_rows = 0
        self._is_urgent = False
        self._is_closed = False
        self._next_write = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="outcome journals", daemon=True)
        self._thread.start()

    def begin(
        self, folder: Path, run: Run, on_durable: OnDurable, on_failure: OnFailure
    ) -> DiskJournal:
        """Return a journal for a run, whose files are made with its first outcomes.

        To be called on the event loop, where `on_durable` and `on_failure` will be, too.

        Args:
            folder: The log's folder; its parent must be there.
            run: Who writes; its first row is what the log has by now.
            on_durable: Is told how many outcomes of the log are kept for good.
            on_failure: Is told once that nothing more can be kept.
        """
        writer = OutcomeWriter(self._files, folder, run)
        return DiskJournal(self, writer, run.first_row, on_durable, on_failure)

    def close(self) -> None:
        """Write all that waits, and end; blocks for as long as the disk takes."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()
        self._thread.join()

    def add(self, journal: DiskJournal, batch: TimedBatch | None) -> bool:
        """Have outcomes written soon; None: have what waits written at once.

        Returns:
            False after the end, when nothing is written any more.
        """
        with self._condition:
            if self._is_closed:
                return False
            is_first = not self._waiting
            batches = self._waiting.setdefault(journal, [])
            if batch is None:
                self._is_urgent = True
            else:
                batches.append(batch)
                self._waiting_rows += len(batch[0])
            if is_first or self._is_worth_a_sync():
                self._condition.notify()
            return True

    def _run(self) -> None:
        open_journals: set[DiskJournal] = set()
        while waiting := self._take():
            for journal, batches in waiting.items():
                journal.write(batches)
            for journal in waiting:
                if journal.commit():
                    open_journals.discard(journal)
                else:
                    open_journals.add(journal)
        for journal in open_journals:
            journal.release()

    def _take(self) -> dict[DiskJournal, list[TimedBatch]]:
        """Wait for outcomes, and a little for more; returns nothing when there will be none."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._is_closed)
            patience = self._next_write - time.monotonic()
            self._condition.wait_for(self._is_worth_a_sync, max(patience, 0))
            self._next_write = time.monotonic() + GATHER_SECONDS
            taken, self._waiting = self._waiting, {}
            self._waiting_rows, self._is_urgent = 0, False
            return taken

    def _is_worth_a_sync(self) -> bool:
        return self._is_urgent or self._is_closed or self._waiting_rows >= ENOUGH_ROWS


class DiskJournal:
    """Implement `OutcomeJournal` by the files of a run.

    `append`, `flush` and the callbacks are of the event loop; `write` and `commit` of the writing
    thread.
    """

    def __init__(
        self,
        journals: OutcomeJournals,
        writer: OutcomeWriter,
        row_count: int,
        on_durable: OnDurable,
        on_failure: OnFailure,
    ) -> None:
        self._journals = journals
        self._loop = asyncio.get_running_loop()
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._appended_count = self._durable_count = row_count
        self._failure: StoreUnavailableError | None = None
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []

        self._writer = writer
        self._written_count = self._committed_count = row_count
        self._is_broken = False
        self._is_closed = False

    @property
    def leaves_large_batches(self) -> bool:
        """Return whether a log that was flushed needs not be written anew."""
        return self._writer.leaves_large_batches

    def append(self, batch: OutcomeBatch, elapsed: float) -> None:
        """Keep outcomes soon; never waits. Nothing is kept any more after a failure."""
        if self._failure is None and len(batch):
            self._appended_count += len(batch)
            self._journals.add(self, (batch, elapsed))

    async def flush(self) -> None:
        """Return once all that was appended is kept for good.

        Raises:
            StoreUnavailableError: It cannot be.
        """
        if self._failure is not None:
            raise self._failure
        if self._durable_count < self._appended_count:
            if not self._journals.add(self, None):
                raise StoreUnavailableError("outcomes are not kept any more: the store is closed")
            done = self._loop.create_future()
            self._flushes.append((self._appended_count, done))
            await done

    def close(self) -> None:
        """Let go of the file once what was appended is written. Any thread may call it."""
        self._is_closed = True
        self._journals.add(self, None)

    def write(self, batches: Sequence[TimedBatch]) -> None:
        """Write outcomes, after all that came before."""
        if not self._is_broken:
            try:
                self._writer.append(batches)
            except Exception as error:  # whatever it is, the others go on
                self._break(error)
            else:
                self._written_count += sum(len(batch) for batch, _ in batches)

    def commit(self) -> bool:
        """Sync what was written and report it; returns whether nothing more will be written."""
        if self._written_count > self._committed_count and not self._is_broken:
            try:
                self._writer.sync()
            except Exception as error:
                self._break(error)
            else:
                self._committed_count = self._written_count
                self._call(self._report, self._committed_count)
        if self._is_closed or self._is_broken:
            self.release()
        return self._is_closed or self._is_broken

    def release(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            self._writer.close()

    def _break(self, error: Exception) -> None:
        unexpected = None if isinstance(error, OSError) else error
        folder = self._writer.folder
        logger.error("outcomes cannot be kept in %s: %s", folder, error, exc_info=unexpected)
        self._is_broken = True
        reason = error.strerror if isinstance(error, OSError) else None
        failure = StoreUnavailableError(
            f"the optimization's outcomes cannot be kept: {reason or type(error).__name__}; those "
            "that were reported are; when the disk can be written, ask for it again"
        )
        self._call(self._fail, failure)

    def _call(self, function: Callable[[_Argument], None], argument: _Argument) -> None:
        with contextlib.suppress(RuntimeError):  # nobody listens once the loop is closed
            self._loop.call_soon_threadsafe(function, argument)

    def _report(self, row_count: int) -> None:
        self._durable_count = row_count
        while self._flushes and self._flushes[0][0] <= row_count:
            _, done = self._flushes.pop(0)
            if not done.done():
                done.set_result(None)
        self._on_durable(row_count)

    def _fail(self, failure: StoreUnavailableError) -> None:
        self._failure = failure
        for _, done in self._flushes:
            if not done.done():
                done.set_exception(failure)
        self._flushes.clear()
        self._on_failure(failure)
