"""Keep in SQLite what optimizations there are, and who holds them: the one module that asks SQLite.

A move from one state to another is one transaction that looks at the state there first, so that
several processes can share a catalogue. It is written when a state changes, never per outcome.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stratsweep_server.optimization.states import require_transition
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationExistsError,
    OptimizationFilter,
    OptimizationRecord,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.storage.catalogue_connection import CatalogueConnection
from stratsweep_server.storage.catalogue_rows import Entry, Removable, entry_of, json_of, values_of
from stratsweep_server.storage.catalogue_tables import FORMAT_VERSION, statements_from

_MOST = 2**63 - 1
"""The largest number that SQLite has; as a time it is in the year 2262."""

_SHORT_RECORD = """
    SELECT row_number, optimizations.holder_id, coalesce(address, '') AS holder_address, caller,
        optimization_id, state, strategy, symbols, labels, dates, grid_digest, inputs_key,
        is_detached, total_count, completed_count, failed_count, create_time, start_time, end_time,
        running_seconds, stored_bytes, message, fingerprint, started"""
_FROM = """
    FROM optimizations LEFT JOIN holders USING (holder_id)
"""
_FROM_IN_ORDER = """
    FROM optimizations INDEXED BY optimizations_by_caller LEFT JOIN holders USING (holder_id)
"""
_RECORD = _SHORT_RECORD + ", request" + _FROM
_FIND = _RECORD + "WHERE caller = :caller AND optimization_id = :optimization_id"
_FIND_ROW = _RECORD + "WHERE row_number = :row_number"
_PAGE = (  # of constants alone
    _SHORT_RECORD  # noqa: S608
    + ", x'' AS request"
    + _FROM_IN_ORDER
    + """
    WHERE caller = :caller AND row_number < :before
        AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
        AND (:strategy = '' OR strategy = :strategy)
        AND (:symbol = '' OR :symbol IN (SELECT value FROM json_each(symbols)))
        AND NOT EXISTS (
            SELECT 1 FROM json_each(:labels) AS wanted WHERE NOT EXISTS (
                SELECT 1 FROM json_each(labels) AS own
                WHERE own.key = wanted.key AND own.value = wanted.value
            )
        )
        AND (:created_after IS NULL OR create_time >= :created_after)
        AND (:created_before IS NULL OR create_time < :created_before)
        AND (:id_prefix = '' OR substr(optimization_id, 1, length(:id_prefix)) = :id_prefix)
    ORDER BY row_number DESC LIMIT :limit
    """
)
_MATCHING = (
    _RECORD
    + """
    WHERE caller = :caller AND inputs_key = :inputs_key AND state NOT IN ('QUEUED', 'RUNNING')
    ORDER BY row_number DESC LIMIT 1000
    """
)
_UNHELD = _RECORD + "WHERE optimizations.holder_id IS NULL AND state IN ('QUEUED', 'RUNNING')"
_REMOVABLE = """
    SELECT row_number, caller, optimization_id, change_time, stored_bytes FROM optimizations
    WHERE holder_id IS NULL AND state NOT IN ('QUEUED', 'RUNNING') ORDER BY change_time, row_number
"""
_INSERT = """
    INSERT INTO optimizations (
        caller, optimization_id, state, holder_id, strategy, symbols, labels, dates, grid_digest,
        inputs_key, is_detached, total_count, completed_count, failed_count, create_time,
        start_time, end_time, change_time, running_seconds, stored_bytes, message, fingerprint,
        request, started
    ) VALUES (
        :caller, :optimization_id, :state, :holder_id, :strategy, :symbols, :labels, :dates,
        :grid_digest, :inputs_key, :is_detached, :total_count, :completed_count, :failed_count,
        :create_time, :start_time, :end_time, :change_time, :running_seconds, :stored_bytes,
        :message, :fingerprint, :request, :started
    )
"""
_UPDATE = """
    UPDATE optimizations SET
        state = :state, holder_id = :holder_id, is_detached = :is_detached, started = :started,
        completed_count = :completed_count, failed_count = :failed_count, start_time = :start_time,
        end_time = :end_time, change_time = :change_time, running_seconds = :running_seconds,
        stored_bytes = :stored_bytes, message = :message
    WHERE row_number = :row_number
"""
_BURY = """
    INSERT INTO deleted
    SELECT row_number, caller, optimization_id, state, strategy, symbols, dates, grid_digest,
        completed_count, total_count, create_time, :delete_time
    FROM optimizations WHERE row_number = :row_number
"""
_STORED_BYTES = "SELECT coalesce(sum(stored_bytes), 0) FROM optimizations"
_DELETED = "SELECT row_number FROM deleted"
_DELETE = "DELETE FROM optimizations WHERE row_number = :row_number"


class Catalogue:
    """Read and write a catalogue; safe to use from several threads and processes.

    Args:
        path: Its file; made when it is migrated for the first time.

    Raises:
        StoreUnavailableError: It cannot be opened. All methods raise it likewise.
    """

    def __init__(self, path: Path) -> None:
        # Two, so that nobody who reads waits for another process's transaction.
        self._writing = CatalogueConnection(path)
        try:
            self._reading = CatalogueConnection(path)
        except StoreUnavailableError:
            self._writing.close()
            raise

    def is_current(self) -> bool:
        """Return whether it is of this version's format; False for an older one.

        Raises:
            StoreUnavailableError: It is newer.
        """
        with self._reading.use() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > FORMAT_VERSION:
            raise StoreUnavailableError(
                f"a newer version of stratsweep wrote the state directory (format {version}, this"
                f" one knows {FORMAT_VERSION}); update stratsweep, or choose another with --state"
            )
        return bool(version == FORMAT_VERSION)

    def migrate(self, last_row_number: int = 0) -> None:
        """Bring it into this version's format; nobody else may use it meanwhile.

        Args:
            last_row_number: New optimizations get larger ones: the largest of those that an earlier
                catalogue in that place has given.
        """
        with self._writing.use() as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreUnavailableError(
                    "the state directory is on a file system without shared memory between"
                    " processes; choose one on a disk of this machine with --state"
                )
        with self._writing.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            for statement in statements_from(version):
                connection.execute(statement)
            if version == 0:
                connection.execute(
                    "INSERT INTO sqlite_sequence VALUES ('optimizations', ?)", (last_row_number,)
                )
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    def register(self, holder_id: str, address: str) -> None:
        """Note this process as a holder."""
        with self._writing.transaction() as connection:
            connection.execute(
                "INSERT INTO holders VALUES (?, ?, ?)", (holder_id, os.getpid(), address)
            )

    def holders(self) -> list[str]:
        """Return the ids of all holders that are noted, living or dead."""
        with self._reading.use() as connection:
            return [row["holder_id"] for row in connection.execute("SELECT * FROM holders")]

    def release(self, holder_ids: Sequence[str]) -> None:
        """Forget holders: what they held is held by nobody, in the state that it has."""
        names = [(holder_id,) for holder_id in holder_ids]
        with self._writing.transaction() as connection:
            connection.executemany(
                "UPDATE optimizations SET holder_id = NULL WHERE holder_id = ?", names
            )
            connection.executemany("DELETE FROM holders WHERE holder_id = ?", names)

    def add(self, record: OptimizationRecord, holder_id: str) -> int:
        """Note a new optimization and who holds it.

        Returns:
            Its row number.

        Raises:
            OptimizationExistsError: There is one of that caller and id.
        """
        values = values_of(record) | {"holder_id": holder_id}
        with self._writing.transaction() as connection:
            key = {"caller": record.caller, "optimization_id": record.optimization_id}
            if connection.execute(_FIND, key).fetchone():
                raise OptimizationExistsError(
                    f"there is an optimization {record.optimization_id} already"
                )
            return connection.execute(_INSERT, values).lastrowid or 0

    def find(self, caller: str, optimization_id: str) -> Entry:
        """Return an optimization.

        Raises:
            UnknownOptimizationError: There is none.
        """
        with self._reading.use() as connection:
            return _find(connection, caller, optimization_id)

    def page(
        self, caller: str, wanted: OptimizationFilter, limit: int, before: int | None
    ) -> list[Entry]:
        """Return optimizations that fit a filter, newest first, without their requests.

        Args:
            caller: Whose.
            wanted: The filter.
            limit: How many at most.
            before: Only those with a smaller row number; None: all.
        """
        values = {
            "caller": caller,
            "states": json.dumps([state.value for state in wanted.states]),
            "strategy": wanted.strategy,
            "symbol": wanted.symbol,
            "labels": json_of(dict(wanted.labels)),
            "created_after": _clamped(wanted.created_after),
            "created_before": _clamped(wanted.created_before),
            "id_prefix": wanted.id_prefix,
            "before": _MOST if before is None else before,
            "limit": limit,
        }
        return self._entries(_PAGE, values)

    def matching(self, caller: str, inputs_key: str) -> list[Entry]:
        """Return what neither waits nor runs and has that key, the newest 1,000, newest first."""
        return self._entries(_MATCHING, {"caller": caller, "inputs_key": inputs_key})

    def unheld(self) -> list[Entry]:
        """Return what is QUEUED or RUNNING and held by nobody."""
        return self._entries(_UNHELD, {})

    def removable(self) -> list[Removable]:
        """Return what neither waits nor runs and is held by nobody, longest unchanged first."""
        with self._reading.use() as connection:
            return [Removable(*row) for row in connection.execute(_REMOVABLE)]

    def stored_bytes(self) -> int:
        """Return what all outcome logs take, as far as is noted."""
        with self._reading.use() as connection:
            (total,) = connection.execute(_STORED_BYTES).fetchone()
        return int(total)

    def deleted_rows(self) -> set[int]:
        """Return the row numbers of what was deleted."""
        with self._reading.use() as connection:
            return {row["row_number"] for row in connection.execute(_DELETED)}

    def hold(self, caller: str, optimization_id: str, holder_id: str) -> Entry:
        """Hold an optimization that has not ended and that nobody else holds.

        Returns:
            What it is now; one that has ended is held by nobody.

        Raises:
            HeldElsewhereError: Another holder, living or dead, holds it.
            UnknownOptimizationError: There is none.
        """
        with self._writing.transaction() as connection:
            entry = _find(connection, caller, optimization_id)
            if entry.record.state.is_ended:
                return entry
            if entry.holder_id not in {None, holder_id}:
                raise HeldElsewhereError(entry.record.holder_address)
            connection.execute(
                "UPDATE optimizations SET holder_id = ? WHERE row_number = ?",
                (holder_id, entry.row_number),
            )
            return _find(connection, caller, optimization_id)

    def change(self, record: OptimizationRecord, holder_id: str) -> bool:
        """Write what may change of an optimization, and its state if it may move there.

        Returns:
            Whether it is still held: one that is neither QUEUED nor RUNNING is not.

        Raises:
            ForbiddenTransitionError: It may not move so.
            HeldElsewhereError: It is not held by that holder.
            UnknownOptimizationError: There is none.
        """
        with self._writing.transaction() as connection:
            entry = _find(connection, *record.key)
            require_transition(entry.record.state, record.state)
            if entry.holder_id != holder_id:
                raise HeldElsewhereError(entry.record.holder_address)
            keeper = holder_id if record.state.is_under_way else None
            values = values_of(record) | {"holder_id": keeper}
            connection.execute(_UPDATE, values | {"row_number": entry.row_number})
        return keeper is not None

    def remove(self, row_number: int) -> None:
        """Forget an optimization, but for a line in the table of deleted ones.

        Raises:
            HeldElsewhereError: It is QUEUED or RUNNING, or somebody, living or dead, holds it.
            UnknownOptimizationError: There is none.
        """
        with self._writing.transaction() as connection:
            key = {"row_number": row_number}
            row = connection.execute(_FIND_ROW, key).fetchone()
            if row is None:
                raise UnknownOptimizationError
            entry = entry_of(row)
            if entry.holder_id is not None or entry.record.state.is_under_way:
                raise HeldElsewhereError(entry.record.holder_address)
            connection.execute(_BURY, key | {"delete_time": time.time_ns()})
            connection.execute(_DELETE, key)

    def close(self) -> None:
        """Close it; nothing may use it afterwards."""
        self._reading.close()
        self._writing.close()

    def _entries(self, query: str, values: Mapping[str, object]) -> list[Entry]:
        with self._reading.use() as connection:
            return [entry_of(row) for row in connection.execute(query, values)]


def _find(connection: sqlite3.Connection, caller: str, optimization_id: str) -> Entry:
    key = {"caller": caller, "optimization_id": optimization_id}
    row = connection.execute(_FIND, key).fetchone()
    if row is None:
        raise UnknownOptimizationError(f"there is no optimization {optimization_id}")
    return entry_of(row)


def _clamped(number: int | None) -> int | None:
    return None if number is None else max(-_MOST, min(number, _MOST))
