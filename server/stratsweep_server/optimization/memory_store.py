"""Keep optimizations in this process alone: what a server does that was told to keep nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.states import require_transition
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    LogView,
    OnDurable,
    OnFailure,
    OptimizationExistsError,
    OptimizationFilter,
    OptimizationRecord,
    Run,
    UnknownOptimizationError,
)

_CHANGING = (
    "state",
    "started",
    "is_detached",
    "completed_count",
    "failed_count",
    "start_time",
    "end_time",
    "running_seconds",
    "message",
)


class MemoryStore:
    """Keep optimizations until the process ends. See `Store` for what the methods do.

    Args:
        address: Where this process listens.
    """

    outlives_process = False

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._turn = threading.Lock()
        self._count = 0
        self._records: dict[tuple[str, str], tuple[int, OptimizationRecord]] = {}
        self._held: set[tuple[str, str]] = set()
        self._logs: dict[tuple[str, str], LogView] = {}

    def create(self, record: OptimizationRecord) -> None:
        """Keep a new optimization, held by this process."""
        key = record.key
        with self._turn:
            if key in self._records:
                raise OptimizationExistsError(
                    f"there is an optimization {record.optimization_id} already"
                )
            self._count += 1
            self._records[key] = self._count, replace(record, holder_address=self._address)
            self._held.add(key)

    def find(self, caller: str, optimization_id: str) -> OptimizationRecord:
        """Return an optimization as it is now."""
        try:
            return self._records[caller, optimization_id][1]
        except KeyError:
            raise UnknownOptimizationError(f"there is no optimization {optimization_id}") from None

    def page(
        self, caller: str, wanted: OptimizationFilter, limit: int, token: str = ""
    ) -> tuple[list[OptimizationRecord], str]:
        """Return up to `limit` optimizations, newest first, and the token of the page after."""
        if token and not (token.isascii() and token.isdigit()):
            raise ValueError("it is no token of a page of this store")
        found = [
            (number, record)
            for number, record in self._newest_first(caller)
            if (not token or number < int(token)) and _fits(record, wanted)
        ]
        records = [replace(record, request=b"") for _, record in found[:limit]]
        return records, str(found[limit - 1][0]) if len(found) > limit else ""

    def claim(self, caller: str, optimization_id: str) -> OptimizationRecord:
        """Hold an optimization that nobody holds any more, in the state that it has."""
        with self._turn:
            record = self.find(caller, optimization_id)
            if record.state.is_ended:
                return record
            return self._keep(record, is_held=True)

    def move(self, record: OptimizationRecord) -> None:
        """Write the state, counts, times and message of an optimization that this process holds."""
        with self._turn:
            before = self.find(*record.key)
            require_transition(before.state, record.state)
            if record.key not in self._held:
                raise HeldElsewhereError("")
            changes = {name: getattr(record, name) for name in _CHANGING}
            self._keep(replace(before, **changes), is_held=record.state.is_under_way)

    def journal(
        self,
        caller: str,
        optimization_id: str,
        run: Run,
        log: LogView,
        on_durable: OnDurable,
        on_failure: OnFailure,  # noqa: ARG002 - memory does not fail
    ) -> _MemoryJournal:
        """Begin a run of an optimization: its log is kept as it is, without a copy."""
        self._logs[caller, optimization_id] = log
        return _MemoryJournal(run.first_row, on_durable)

    def conclude(self, caller: str, optimization_id: str) -> None:
        """Keep the log as it is: in memory it has one form."""

    def log(self, caller: str, optimization_id: str) -> LogView:
        """Return the outcomes that are kept."""
        record = self.find(caller, optimization_id)
        log = self._logs.get((caller, optimization_id))
        return OutcomeLog(record.total_count) if log is None else log

    def orphans(self) -> list[OptimizationRecord]:
        """Return nothing: what this process does not hold is not there."""
        return []

    def delete(self, caller: str, optimization_id: str) -> None:
        """Forget an optimization that is neither QUEUED nor RUNNING."""
        with self._turn:
            record = self.find(caller, optimization_id)
            key = caller, optimization_id
            if key in self._held:
                raise HeldElsewhereError(record.holder_address)
            del self._records[key]
            self._logs.pop(key, None)

    def matching(self, caller: str, inputs_key: str) -> list[OptimizationRecord]:
        """Return optimizations, newest first, whose outcomes another with these inputs can take."""
        return [
            record
            for _, record in self._newest_first(caller)
            if record.inputs_key == inputs_key and not record.state.is_under_way
        ]

    def close(self) -> None:
        """Let all go with the process."""

    def _keep(self, record: OptimizationRecord, *, is_held: bool) -> OptimizationRecord:
        key = record.key
        record = replace(record, holder_address=self._address if is_held else "")
        self._records[key] = self._records[key][0], record
        (self._held.add if is_held else self._held.discard)(key)
        return record

    def _newest_first(self, caller: str) -> Iterable[tuple[int, OptimizationRecord]]:
        with self._turn:
            entries = list(self._records.values())
        return (entry for entry in reversed(entries) if entry[1].caller == caller)


class _MemoryJournal:
    """Say of every outcome at once that it is kept for good: as good as it gets."""

    def __init__(self, first_row: int, on_durable: OnDurable) -> None:
        self._count = first_row
        self._on_durable = on_durable

    def append(self, batch: OutcomeBatch, elapsed: float) -> None:  # noqa: ARG002
        """Say that outcomes are kept."""
        self._count += len(batch)
        self._on_durable(self._count)

    async def flush(self) -> None:
        """Return at once."""


def _fits(record: OptimizationRecord, wanted: OptimizationFilter) -> bool:
    return (
        (not wanted.states or record.state in wanted.states)
        and wanted.strategy in {"", record.strategy}
        and (not wanted.symbol or wanted.symbol in record.symbols)
        and wanted.labels.items() <= record.labels.items()
        and (wanted.created_after is None or record.create_time >= wanted.created_after)
        and (wanted.created_before is None or record.create_time < wanted.created_before)
        and record.optimization_id.startswith(wanted.id_prefix)
    )
