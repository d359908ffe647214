"""Turn optimizations into rows of the catalogue, and back."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass, fields

from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold a row of the catalogue.

    Attributes:
        row_number: Its number, never given twice; its directory is named by it.
        holder_id: Who holds it, living or dead; None: nobody.
        record: What it says; its holder's address is there though the holder may be dead.
    """

    row_number: int
    holder_id: str | None
    record: OptimizationRecord


@dataclass(frozen=True, slots=True)
class Removable:
    """Describe an optimization that nobody holds and that waits for nothing.

    Attributes:
        row_number: Its number.
        caller: Whose it is.
        optimization_id: Its name.
        change_time: When it last changed, in nanoseconds since the epoch.
        stored_bytes: What its outcome log takes.
    """

    row_number: int
    caller: str
    optimization_id: str
    change_time: int
    stored_bytes: int


def entry_of(row: sqlite3.Row) -> Entry:
    """Return what a row says."""
    values = dict(zip(row.keys(), row, strict=True))  # dict(row) looks each name up
    row_number, holder_id = values.pop("row_number"), values.pop("holder_id")
    values |= {
        "state": OptimizationState(values["state"]),
        "symbols": tuple(json.loads(values["symbols"])),
        "labels": json.loads(values["labels"]),
        "fingerprint": json.loads(values["fingerprint"]),
        "is_detached": bool(values["is_detached"]),
    }
    return Entry(row_number, holder_id, OptimizationRecord(**values))


def values_of(record: OptimizationRecord) -> dict[str, object]:
    """Return an optimization as values of columns, changed now."""
    values = {each.name: getattr(record, each.name) for each in fields(record)}
    return values | {
        "state": record.state.value,
        "symbols": json_of(record.symbols),
        "labels": json_of(dict(record.labels)),
        "fingerprint": json_of(dict(record.fingerprint)),
        "change_time": time.time_ns(),
    }


def json_of(value: object) -> str:
    """Return a value as the catalogue has it in a column of text."""
    return json.dumps(value, ensure_ascii=False)
