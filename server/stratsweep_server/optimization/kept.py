"""Read an optimization that this process does not hold, from the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.background import in_background
from stratsweep_server.optimization.closed_log import ClosedLog
from stratsweep_server.optimization.conclusion import conclude
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.outcome_log import OutcomeLog
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

    Attributes:
        record: Where it stands.
        prepared: What its outcomes are of.
        log: Its outcomes.
        is_here: False: another process may hold it.
    """

    is_here = False

    def __init__(
        self, record: OptimizationRecord, prepared: PreparedOptimization, log: FollowedLog
    ) -> None:
        self.record = record
        self.prepared = prepared
        self.log = log

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

    async def begun(self, patience: float | None = None) -> bool:  # noqa: ARG002
        """Return at once that there is a log to follow."""
        return True

    async def result(self) -> OptimizationResult:
        """Return the result, made anew from the log: the very same as at first.

        Raises:
            OptimizationInterruptedError: It has none, since it has not ended.
        """
        record = self.record
        if not record.state.is_ended:
            raise interruption(record)
        return await in_background(concluded, record, self.prepared, self.log)


async def read(
    record: OptimizationRecord, store: StoreCalls, messages: Messages
) -> KeptOptimization:
    """Read what the store has of an optimization.

    Raises:
        StoreUnavailableError: That cannot be read.
    """
    prepared = await in_background(lambda: readable(messages.read_started(record.started)))
    if record.start_time is None:
        return KeptOptimization(record, prepared, empty_log(record))
    view: LogView = await store(store.store.log, record.caller, record.optimization_id)
    log = ClosedLog(view, record.end_time or record.create_time)
    return KeptOptimization(record, prepared, log)


def concluded(
    record: OptimizationRecord, prepared: PreparedOptimization, log: FollowedLog
) -> OptimizationResult:
    """Return the result of an optimization that has ended: from the same log the same."""
    failure = record.message if record.state is OptimizationState.FAILED else ""
    return conclude(prepared, log, record.running_seconds, failure)


def empty_log(record: OptimizationRecord) -> OutcomeLog:
    """Return the log of an optimization that never ran."""
    log = OutcomeLog(record.total_count, record.end_time or record.create_time)
    log.close()
    return log


def interruption(record: OptimizationRecord) -> OptimizationInterruptedError:
    """Return what to tell of an optimization that stands still."""
    reason = f": {record.message}" if record.message else ""
    return OptimizationInterruptedError(
        f"optimization {record.optimization_id} stands still{reason}; what has completed is kept, "
        "and it goes on when it is asked for by its id"
    )
