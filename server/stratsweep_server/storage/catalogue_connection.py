"""Connect to the catalogue's file: transactions, one thread at a time, and errors that say more.

A file that was removed or replaced is noticed before each use: SQLite itself would go on writing
into what nobody can find any more.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stratsweep_server.optimization.store import StoreUnavailableError

BUSY_SECONDS = 5.0
"""How long to wait for another process's transaction before giving up."""

_NOT_WRITABLE = (
    "may not be written; give the server the right to, or another directory with --state"
)
_GONE = "is gone; put it back, or start the server again"
_PROBLEMS = {
    sqlite3.SQLITE_BUSY: "is locked by another process; end the one that keeps it open, or wait",
    sqlite3.SQLITE_LOCKED: "is locked by another process; end the one that keeps it open, or wait",
    sqlite3.SQLITE_FULL: "has no room left; make room on its disk",
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_PERM: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see that it is there and may be read and written",
    sqlite3.SQLITE_IOERR: "cannot be read or written; see whether its disk is full or failing",
    sqlite3.SQLITE_CORRUPT: "is damaged; move the files catalogue.sqlite* away and start again",
    sqlite3.SQLITE_NOTADB: "is damaged; move the files catalogue.sqlite* away and start again",
}
"""By SQLite's primary result code."""


class CatalogueConnection:
    """Hold one connection, used by one thread at a time.

    Args:
        path: The catalogue's file; made where there is none.

    Raises:
        StoreUnavailableError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        with _explained():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
        try:
            with _explained():
                # macOS keeps what was synced in the disk's cache unless asked.
                self._connection.execute("PRAGMA fullfsync = 1")
                self._connection.execute("PRAGMA synchronous = FULL")
            self._identity = path.stat()
        except (StoreUnavailableError, OSError) as error:
            self._connection.close()
            raise StoreUnavailableError(f"{error}") from error

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to this thread alone.

        Raises:
            StoreUnavailableError: SQLite reports an error, or the file is not there any more.
        """
        with self._turn, _explained():
            self._require_file()
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, and what is done with it all at once, or, on an exception, not.

        What it sees does not change meanwhile: nobody else writes.

        Raises:
            StoreUnavailableError: SQLite reports an error, or the file is not there any more.
        """
        with self.use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close it."""
        with self._turn:
            self._connection.close()

    def _require_file(self) -> None:
        try:
            is_there = os.path.samestat(self._identity, self._path.stat())
        except OSError:
            is_there = False
        if not is_there:
            raise StoreUnavailableError(f"the catalogue of the server's state directory {_GONE}")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError as error:  # closed meanwhile
        raise StoreUnavailableError(f"the catalogue is closed: {error}") from error
    except sqlite3.DatabaseError as error:
        primary = getattr(error, "sqlite_errorcode", -1) & 0xFF
        problem = _PROBLEMS.get(primary, "reports an error; see the server's log")
        raise StoreUnavailableError(
            f"the catalogue of the server's state directory {problem} ({error})"
        ) from error
