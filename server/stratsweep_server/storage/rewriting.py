"""Put one file of large record batches in the place of many or small ones, at the end of a log.

The new file is written and synced under another name; then the rename makes it count, and the old
ones not. Killed before it, the log is what it was; killed after it, the old files are only rubbish.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from stratsweep_server.arrow.messages import END_OF_STREAM
from stratsweep_server.optimization.store import StoreUnavailableError
from stratsweep_server.storage.file_layer import FileLayer
from stratsweep_server.storage.outcome_batches import StoredOutcomes
from stratsweep_server.storage.outcome_files import (
    MOST_ROWS,
    OutcomeFile,
    are_small,
    current_files,
    outcome_files,
)
from stratsweep_server.storage.stored_log import StoredLog

_UNFINISHED = ".new"

logger = logging.getLogger(__name__)


def conclude_log(files: FileLayer, folder: Path) -> None:
    """Write a log, to which nobody appends any more, in its final form where that is smaller.

    Where the disk does not take the new file, the log stays as it is, which is noted in the
    server's log.

    Raises:
        StoreUnavailableError: The log cannot be read.
    """
    log = StoredLog(files, folder, total_count=0)
    try:
        _remove_rubbish(files, folder)
        if are_small(len(log.batches), log.count):
            _rewrite(files, folder, log)
    except OSError as error:
        logger.warning("outcomes in %s are not written anew: %s", folder, error)


def settle_log(files: FileLayer, folder: Path) -> None:
    """Sync what a process that was killed has left, before somebody is told of it.

    Raises:
        StoreUnavailableError: It cannot be synced.
    """
    try:
        for file in current_files(files.names(folder)):
            files.sync(folder / file.name)
        files.sync_folder(folder)
    except FileNotFoundError:
        return  # there are no outcomes
    except OSError as error:
        raise StoreUnavailableError(
            f"outcomes cannot be synced: {error.strerror}; look at the disk"
        ) from error


def _rewrite(files: FileLayer, folder: Path, log: StoredLog) -> None:
    old = current_files(files.names(folder))
    new = OutcomeFile(old[0].first, old[-1].last)
    unfinished = folder / f"{new.name}{_UNFINISHED}"
    try:
        _write(files, unfinished, log)
    except OSError:
        with contextlib.suppress(OSError):
            files.remove(unfinished)
        raise
    files.rename(unfinished, folder / new.name)
    _remove_rubbish(files, folder)


def _write(files: FileLayer, path: Path, log: StoredLog) -> None:
    file = files.create(path)
    try:
        file.append([log.schema.message(log.runs)])
        for batches in _gathered(log.batches):
            file.append(log.schema.encode(log.schema.join(batches)))
        file.append([END_OF_STREAM])
        file.sync()
    finally:
        file.close()


def _gathered(batches: Iterable[StoredOutcomes]) -> Iterator[list[StoredOutcomes]]:
    """Yield batches together that can be one."""
    gathered: list[StoredOutcomes] = []
    row_count = 0
    for batch in batches:
        if row_count + len(batch) > MOST_ROWS:
            yield gathered
            gathered, row_count = [], 0
        gathered.append(batch)
        row_count += len(batch)
    yield gathered


def _remove_rubbish(files: FileLayer, folder: Path) -> None:
    """Remove what is unfinished, and files whose outcomes another one has."""
    try:
        names = files.names(folder)
    except FileNotFoundError:
        return
    current = current_files(names)
    superseded = [file.name for file in outcome_files(names) if file not in current]
    rubbish = [name for name in names if name.endswith(_UNFINISHED)] + superseded
    if rubbish:
        files.sync_folder(folder)  # the rename first, or a crash could undo it alone
    for name in rubbish:
        files.remove(folder / name)
