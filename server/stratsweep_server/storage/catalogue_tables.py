"""List the tables of the catalogue, version by version.

Times are nanoseconds since the epoch; `symbols`, `labels` and `fingerprint` are JSON.
"""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE holders (
        holder_id TEXT PRIMARY KEY,
        pid INTEGER NOT NULL,
        address TEXT NOT NULL
    );
    CREATE TABLE optimizations (
        row_number INTEGER PRIMARY KEY AUTOINCREMENT,
        caller TEXT NOT NULL,
        optimization_id TEXT NOT NULL,
        state TEXT NOT NULL,
        holder_id TEXT REFERENCES holders (holder_id),
        strategy TEXT NOT NULL,
        symbols TEXT NOT NULL,
        labels TEXT NOT NULL,
        dates TEXT NOT NULL,
        grid_digest TEXT NOT NULL,
        inputs_key TEXT NOT NULL,
        is_detached INTEGER NOT NULL,
        total_count INTEGER NOT NULL,
        completed_count INTEGER NOT NULL,
        failed_count INTEGER NOT NULL,
        create_time INTEGER NOT NULL,
        start_time INTEGER,
        end_time INTEGER,
        change_time INTEGER NOT NULL,
        running_seconds REAL NOT NULL,
        stored_bytes INTEGER NOT NULL,
        message TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        request BLOB NOT NULL,
        started BLOB NOT NULL,
        UNIQUE (caller, optimization_id)
    );
    CREATE INDEX optimizations_by_caller ON optimizations (caller);
    CREATE INDEX optimizations_by_inputs ON optimizations (caller, inputs_key);
    CREATE INDEX optimizations_by_holder ON optimizations (holder_id);
    CREATE TABLE deleted (
        row_number INTEGER PRIMARY KEY,
        caller TEXT NOT NULL,
        optimization_id TEXT NOT NULL,
        state TEXT NOT NULL,
        strategy TEXT NOT NULL,
        symbols TEXT NOT NULL,
        dates TEXT NOT NULL,
        grid_digest TEXT NOT NULL,
        completed_count INTEGER NOT NULL,
        total_count INTEGER NOT NULL,
        create_time INTEGER NOT NULL,
        delete_time INTEGER NOT NULL
    );
    """,
)
"""What brings a catalogue from each version to the next; never changed once released."""

FORMAT_VERSION = len(MIGRATIONS)
"""Of the state directory as a whole."""


def statements_from(version: int) -> list[str]:
    """Return the statements that bring tables of a version into the current format."""
    return [text for migration in MIGRATIONS[version:] for text in migration.split(";")]
