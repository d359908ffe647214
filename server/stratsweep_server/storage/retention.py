"""Remove what is old, and the oldest where there is too much: never what waits, runs or is read.

One process does it at a time; another that wants to meanwhile has nothing to do.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import timedelta

from stratsweep_server.optimization.store import HeldElsewhereError, UnknownOptimizationError
from stratsweep_server.storage.catalogue import Catalogue
from stratsweep_server.storage.optimization_directories import OptimizationDirectories

logger = logging.getLogger(__name__)

DEFAULT_MAX_AGE = timedelta(days=90)
DEFAULT_MAX_BYTES = 10 * 10**9


def enforce_retention(
    catalogue: Catalogue,
    directories: OptimizationDirectories,
    max_age: timedelta = DEFAULT_MAX_AGE,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> int:
    """Remove what nobody needs any more; each one is logged.

    Args:
        catalogue: Says what there is.
        directories: Has the outcome logs.
        max_age: How long to keep an optimization after its last change.
        max_bytes: How much all outcome logs together may take; the longest unchanged go first.

    Returns:
        How many were removed; 0 where another process is at it.

    Raises:
        StoreUnavailableError: The store cannot be read or written.
    """
    with directories.alone() as is_alone:
        if not is_alone:
            return 0
        _remove_leftovers(catalogue, directories)
        return _remove_oldest(catalogue, directories, max_age, max_bytes)


def _remove_oldest(
    catalogue: Catalogue,
    directories: OptimizationDirectories,
    max_age: timedelta,
    max_bytes: int,
) -> int:
    total = catalogue.stored_bytes()
    oldest = time.time_ns() - int(max_age.total_seconds() * 1e9)
    count = 0
    for each in catalogue.removable():
        if each.change_time < oldest:
            reason = f"it has not changed for {max_age.total_seconds() / 86_400:g} days"
        elif total > max_bytes:
            reason = f"all outcomes took more than {max_bytes / 1e9:g} GB"
        else:
            break
        if _remove(catalogue, directories, each.row_number):
            total -= each.stored_bytes
            count += 1
            size = each.stored_bytes / 1e6
            logger.info("removed optimization %s (%.1f MB): %s", each.optimization_id, size, reason)
    return count


def _remove(catalogue: Catalogue, directories: OptimizationDirectories, row_number: int) -> bool:
    with directories.unread(row_number) as is_unread:
        if is_unread:
            with suppress(HeldElsewhereError, UnknownOptimizationError):  # since it was listed
                catalogue.remove(row_number)
                directories.remove(row_number)
                return True
    return False


def _remove_leftovers(catalogue: Catalogue, directories: OptimizationDirectories) -> None:
    """Remove directories of what was deleted by a process that did not live to do it."""
    deleted = catalogue.deleted_rows()
    for row_number in directories.numbers():
        if row_number in deleted:
            directories.remove(row_number)
