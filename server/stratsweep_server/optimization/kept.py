"""Read an optimization that this process does not hold, from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.conclusion import conclude
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.followed_log import ClosedLog, FollowedLog
from stratsweep_server.optimization.preparation import PreparedOptimization, readable
from stratsweep_server.optimization.request import Messages
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import LogView, OptimizationRecord
from stratsweep_server.optimization.store_calls import StoreCalls


class OptimizationInterruptedError(Exception):
    """Report that an optimization stands still; it goes on when it is asked for again."""


class KeptOptimization:
    """Give what the store has of an optimization as it was when it was looked at.

    Args:
        record: Where it stands.
        prepared: What its outcomes are of.
        view: Its outcomes.

    Attributes:
        record: Where it stands.
        prepared: What its outcomes are of.
        log: Its outcomes.
        is_here: False: another process may hold it.
    """

    is_here = False

    def __init__(
        self, record: OptimizationRecord, prepared: PreparedOptimization, view: LogView
    ) -> None:
        self.record = record
        self.prepared = prepared
        self.log: FollowedLog = ClosedLog(view)
        self._conclusion: asyncio.Future[OptimizationResult] | None = None

    @property
    def started(self) -> bytes:
        """Return the serialized first event."""
        return self.record.started

    @property
    def started_time(self) -> int:
        """Return when it was asked for, in nanoseconds since the epoch."""
        return self.record.create_time

    @property
    def config(self) -> OptimizationConfig:
        """Return the effective config."""
        return self.prepared.config

    @property
    def grid(self) -> GridColumns:
        """Return the parameters' values."""
        return self.prepared.grid

    @contextmanager
    def read(self) -> Iterator[None]:
        """Keep nothing: what was read from the store stays readable."""
        yield

    async def begun(self, patience: float | None = None) -> bool:  # noqa: ARG002 - it is there
        """Return at once that there is a log."""
        return True

    async def result(self) -> OptimizationResult:
        """Return the result, made anew from the log: the very same as at first, for all who ask.

        Raises:
            OptimizationInterruptedError: It has none, since it has not ended.
        """
        if not self.record.state.is_ended:
            raise interruption(self.record)
        if self._conclusion is None:
            self._conclusion = asyncio.ensure_future(
                in_background(concluded, self.record, self.prepared, self.log)
            )
        return await asyncio.shield(self._conclusion)


async def what_ran(record: OptimizationRecord, messages: Messages) -> PreparedOptimization:
    """Return what the outcomes of an optimization are of, by its first event; not to be run."""
    return await in_background(lambda: readable(messages.read_started(record.started)))


async def read(
    record: OptimizationRecord, store: StoreCalls, messages: Messages
) -> KeptOptimization:
    """Read what the store has of an optimization.

    Raises:
        StoreUnavailableError: That cannot be read.
    """
    prepared = await what_ran(record, messages)
    view = await store(store.store.log, *record.key)
    return KeptOptimization(record, prepared, view)


def concluded(
    record: OptimizationRecord, prepared: PreparedOptimization, log: FollowedLog
) -> OptimizationResult:
    """Return the result of an optimization that has ended: from the same log the same."""
    failure = record.message if record.state is OptimizationState.FAILED else ""
    result = conclude(prepared, log, record.running_seconds, failure)
    return replace(result, end_time=record.end_time or result.end_time)


def interruption(record: OptimizationRecord) -> OptimizationInterruptedError:
    """Return what to tell of an optimization that stands still."""
    reason = f": {record.message}" if record.message else ""
    return OptimizationInterruptedError(
        f"optimization {record.optimization_id} stands still{reason}; what has completed is kept, "
        "and it goes on when it is asked for by its id"
    )
