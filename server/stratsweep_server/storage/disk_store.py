"""Keep optimizations in a state directory: a catalogue, and a directory of outcomes for each."""

from __future__ import annotations

import os
import weakref
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from stratsweep_server.optimization.store import (
    LogView,
    OnDurable,
    OnFailure,
    OptimizationFilter,
    OptimizationRecord,
    OutcomeJournal,
    Run,
    StoreUnavailableError,
)
from stratsweep_server.storage import retention
from stratsweep_server.storage.catalogue import Catalogue
from stratsweep_server.storage.catalogue_rows import Entry
from stratsweep_server.storage.file_layer import FileLayer, SystemFiles
from stratsweep_server.storage.holders import Holder, is_alive, sweep
from stratsweep_server.storage.journals import DiskJournal, OutcomeJournals
from stratsweep_server.storage.optimization_directories import OptimizationDirectories, explained
from stratsweep_server.storage.rewriting import conclude_log, settle_log
from stratsweep_server.storage.state_directory import StateDirectory
from stratsweep_server.storage.stored_log import StoredLog


def open_store(path: Path, address: str, files: FileLayer | None = None) -> DiskStore:
    """Open the store in a state directory; make it where there is none.

    Args:
        path: The state directory.
        address: Where this process listens, for those who look for what it holds.
        files: Where outcome logs are; default: the system's files.

    Raises:
        StoreUnavailableError: It cannot keep anything: the message says why, where, and what to do.
    """
    directory = StateDirectory(path)
    with ExitStack() as stack:
        stack.callback(directory.close)
        try:
            return _open(directory, address, files or SystemFiles(), stack)
        except StoreUnavailableError as error:
            raise StoreUnavailableError(f"{error} (state directory: {directory.path})") from error


def _open(directory: StateDirectory, address: str, files: FileLayer, stack: ExitStack) -> DiskStore:
    path = directory.path
    directories = OptimizationDirectories(path / "optimizations")
    catalogue = Catalogue(path / "catalogue.sqlite")
    stack.callback(catalogue.close)
    directory.share(
        catalogue.is_current, lambda: catalogue.migrate(max(directories.numbers(), default=0))
    )
    holders = path / "holders"
    with explained():
        holder = Holder(holders)
        stack.callback(holder.close)
        sweep(holders)
        _sync_names(path)
        if not is_alive(holders, holder.holder_id):
            raise StoreUnavailableError(
                "the state directory is on a file system without locks; choose one on a disk of"
                " this machine with --state, or --state none to keep nothing"
            )
    catalogue.register(holder.holder_id, address)
    return DiskStore(catalogue, directories, files, holders, holder.holder_id, stack.pop_all())


def _sync_names(path: Path) -> None:
    """Return once what was just made in a state directory, and it itself, survive a crash."""
    SystemFiles().sync_folder(path)
    with suppress(PermissionError):  # of a directory that is not ours: who made this one saw to it
        SystemFiles().sync_folder(path.parent)


class DiskStore:
    """Keep optimizations beyond the process, in a directory that several processes share.

    Made by `open_store`. See `Store` for what the methods do.
    """

    outlives_process = True

    def __init__(
        self,
        catalogue: Catalogue,
        directories: OptimizationDirectories,
        files: FileLayer,
        holders: Path,
        holder_id: str,
        resources: ExitStack,
    ) -> None:
        self._catalogue = catalogue
        self._directories = directories
        self._files = files
        self._holders = holders
        self._holder_id = holder_id
        self._resources = resources
        self._journals = OutcomeJournals(files)
        resources.callback(self._release)
        resources.callback(self._journals.close)  # first: nobody may claim what it still writes
        self._held: dict[tuple[str, str], int] = {}
        self._written: dict[tuple[str, str], DiskJournal] = {}

    def create(self, record: OptimizationRecord) -> None:
        """Keep a new optimization, held by this process."""
        row_number = self._catalogue.add(record, self._holder_id)
        self._held[record.key] = row_number

    def find(self, caller: str, optimization_id: str) -> OptimizationRecord:
        """Return an optimization as it is now."""
        return self._seen([self._catalogue.find(caller, optimization_id)])[0]

    def page(
        self, caller: str, wanted: OptimizationFilter, limit: int, token: str = ""
    ) -> tuple[list[OptimizationRecord], str]:
        """Return up to `limit` optimizations, newest first, and the token of the page after."""
        entries = self._catalogue.page(caller, wanted, limit + 1, before=_row_number(token))
        is_last = len(entries) <= limit
        entries = entries[:limit]
        return self._seen(entries), "" if is_last else str(entries[-1].row_number)

    def claim(self, caller: str, optimization_id: str) -> OptimizationRecord:
        """Hold an optimization that nobody holds any more, in the state that it has."""
        self._release_dead()
        entry = self._catalogue.find(caller, optimization_id)
        if entry.holder_id in {None, self._holder_id} and not entry.record.state.is_ended:
            with explained():  # what a process that was killed, or failed, has left may not be
                settle_log(self._files, self._directories.path(entry.row_number))
        entry = self._catalogue.hold(caller, optimization_id, self._holder_id)
        if entry.holder_id is not None:
            self._held[caller, optimization_id] = entry.row_number
        return self._seen([entry])[0]

    def move(self, record: OptimizationRecord) -> None:
        """Write the state, counts, times and message of an optimization that this process holds."""
        key = record.key
        if key in self._held:
            record = replace(record, stored_bytes=self._directories.size(self._held[key]))
        if not self._catalogue.change(record, self._holder_id):
            self._held.pop(key, None)
            if journal := self._written.pop(key, None):
                journal.close()

    def journal(
        self,
        caller: str,
        optimization_id: str,
        run: Run,
        log: LogView,  # noqa: ARG002 - it is in files
        on_durable: OnDurable,
        on_failure: OnFailure,
    ) -> OutcomeJournal:
        """Begin a run of an optimization that this process holds; call it on the event loop."""
        key = caller, optimization_id
        directory = self._directories.path(self._held[key])
        if journal := self._written.pop(key, None):  # of a run that could not be moved on
            journal.close()
        journal = self._journals.begin(directory, run, on_durable, on_failure)
        self._written[key] = journal
        return journal

    def conclude(self, caller: str, optimization_id: str) -> None:
        """Write the log in its final form, after its journal was flushed and before it is moved."""
        journal = self._written.get((caller, optimization_id))
        if journal is not None and journal.leaves_large_batches:
            return  # to look for that in the files takes as long as to read all of them
        row_number = self._catalogue.find(caller, optimization_id).row_number
        conclude_log(self._files, self._directories.path(row_number))

    def log(self, caller: str, optimization_id: str) -> LogView:
        """Return the outcomes that are kept, as they are now; valid after a deletion, too."""
        entry = self._catalogue.find(caller, optimization_id)
        lock = self._directories.keep(entry.row_number)
        try:
            directory = self._directories.path(entry.row_number)
            log = StoredLog(self._files, directory, entry.record.total_count)
            self._catalogue.find(caller, optimization_id)  # it was not removed meanwhile
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        if lock is not None:
            weakref.finalize(log, os.close, lock)
        return log

    def orphans(self) -> list[OptimizationRecord]:
        """Return what is QUEUED or RUNNING and held by no living process, of any caller."""
        self._release_dead()
        return self._seen(self._catalogue.unheld())

    def delete(self, caller: str, optimization_id: str) -> None:
        """Forget an optimization that is neither QUEUED nor RUNNING, but for a line."""
        self._release_dead()
        row_number = self._catalogue.find(caller, optimization_id).row_number
        self._catalogue.remove(row_number)
        self._directories.remove(row_number)

    def matching(self, caller: str, inputs_key: str) -> list[OptimizationRecord]:
        """Return optimizations, newest first, whose outcomes another with these inputs can take."""
        return self._seen(self._catalogue.matching(caller, inputs_key))

    def enforce_retention(
        self,
        max_age: timedelta = retention.DEFAULT_MAX_AGE,
        max_bytes: int = retention.DEFAULT_MAX_BYTES,
    ) -> int:
        """Remove what is older, and the oldest beyond a total size; each one is logged.

        Returns:
            How many were removed.
        """
        self._release_dead()
        return retention.enforce_retention(self._catalogue, self._directories, max_age, max_bytes)

    def close(self) -> None:
        """Let go of all that is held; what runs is orphaned then."""
        self._resources.close()

    def _release(self) -> None:
        with suppress(StoreUnavailableError):
            self._catalogue.release([self._holder_id])

    def _release_dead(self) -> None:
        with explained():
            dead = [each for each in self._catalogue.holders() if not is_alive(self._holders, each)]
        if dead:
            self._catalogue.release(dead)

    def _seen(self, entries: list[Entry]) -> list[OptimizationRecord]:
        """Return what entries say, with the address of a holder that lives, and current sizes."""
        alive: dict[str, bool] = {}
        records = []
        for entry in entries:
            record, holder_id = entry.record, entry.holder_id
            if holder_id is not None:
                if holder_id not in alive:
                    with explained():
                        alive[holder_id] = is_alive(self._holders, holder_id)
                address = record.holder_address if alive[holder_id] else ""
                size = self._directories.size(entry.row_number)
                record = replace(record, holder_address=address, stored_bytes=size)
            records.append(record)
        return records


def _row_number(token: str) -> int | None:
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise ValueError("it is no token of a page of this store")
    return int(token)
