"""Say what a store does: it keeps optimizations and their outcome logs, beyond a restart or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.outcomes import BacktestFailure, OutcomeBatch
from stratsweep_server.optimization.outcome_columns import OutcomeColumns
from stratsweep_server.optimization.states import OptimizationState

LOCAL_CALLER = ""
"""Whose optimizations are that nobody authenticated for."""


class StoreUnavailableError(Exception):
    """Report that the store cannot be read or written; the message says why, and what to do."""


class OptimizationExistsError(Exception):
    """Report that there is an optimization of that caller and id already."""


class UnknownOptimizationError(Exception):
    """Report that there is no optimization of that caller and id."""


class HeldElsewhereError(Exception):
    """Report that another living process holds an optimization.

    Attributes:
        address: Where that process listens; empty where that is not known.
    """

    def __init__(self, address: str) -> None:
        where = f" on the server at {address}" if address else ""
        super().__init__(f"it is queued or runs{where}")
        self.address = address


@dataclass(frozen=True, slots=True)
class Run:
    """Describe a stretch of an outcome log that one process has written.

    Times of outcomes follow from its start and from how long the optimization has run, so that a
    clock which is set in the middle changes none.

    Attributes:
        first_row: Its first outcome, 0-based.
        start_time: When it began, in nanoseconds since the epoch.
        start_elapsed: Seconds that the optimization had run before.
    """

    first_row: int
    start_time: int
    start_elapsed: float

    def time_at(self, elapsed: float) -> float:
        """Return when the optimization had run for `elapsed` seconds, in seconds since 1970."""
        return self.start_time / 1e9 + (elapsed - self.start_elapsed)


@dataclass(frozen=True, slots=True)
class OptimizationRecord:
    """Hold what the catalogue has of an optimization.

    Attributes:
        caller: Whose it is.
        optimization_id: Its name among that caller's.
        state: Where it stands.
        strategy: The strategy's id.
        symbols: What it trades.
        labels: What its caller calls it.
        request: What was asked for, serialized by the floor above; opaque here.
        started: Its first event, serialized likewise.
        fingerprint: What its outcomes depend on beside its config, by readable names.
        inputs_key: A digest of all that outcomes of equal parameters depend on.
        is_detached: Whether it goes on without a client.
        total_count: Combinations to run.
        completed_count: Outcomes that are kept, failures among them.
        failed_count: Failures among them.
        create_time: When it was asked for, in nanoseconds since the epoch.
        start_time: When it began to run, likewise; None before.
        end_time: When it ended, likewise; None before.
        running_seconds: How long it has run, as far as is known.
        message: Why it failed, was cancelled or interrupted.
        holder_address: Where the process listens that holds it; empty where none does.
        stored_bytes: What its outcome log takes; the store itself finds out.
        dates: From when to when its bars are, as an ISO 8601 interval of days; for people.
        grid_digest: Tells its grid from others; for people.
    """

    caller: str
    optimization_id: str
    state: OptimizationState
    strategy: str
    symbols: tuple[str, ...]
    labels: Mapping[str, str]
    request: bytes
    started: bytes
    fingerprint: Mapping[str, str]
    inputs_key: str
    is_detached: bool
    total_count: int
    create_time: int
    completed_count: int = 0
    failed_count: int = 0
    start_time: int | None = None
    end_time: int | None = None
    running_seconds: float = 0.0
    message: str = ""
    holder_address: str = ""
    stored_bytes: int = 0
    dates: str = ""
    grid_digest: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Return what it is found by: its caller and its id."""
        return self.caller, self.optimization_id


@dataclass(frozen=True, slots=True)
class OptimizationFilter:
    """Say which optimizations are wanted: those that fit everything that is given.

    Attributes:
        states: The states wanted; empty: any.
        strategy: The strategy wanted; empty: any.
        symbol: One that it must have; empty: any.
        labels: Labels that it must have.
        created_after: Not before this time, in nanoseconds since the epoch; None: any.
        created_before: Before this time, likewise.
        id_prefix: A beginning of its id; empty: any.
    """

    states: Sequence[OptimizationState] = ()
    strategy: str = ""
    symbol: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    created_after: int | None = None
    created_before: int | None = None
    id_prefix: str = ""


Rows = slice | NDArray[np.intp]
"""A range of rows, of which both ends are given, or row numbers in any order."""


class LogView(Protocol):
    """Give the outcomes of a log that nobody appends to, without loading it whole."""

    @property
    def total_count(self) -> int:
        """Return how many outcomes there will be when nothing is missing."""

    @property
    def count(self) -> int:
        """Return how many outcomes there are."""

    @property
    def failures(self) -> Mapping[int, BacktestFailure]:
        """Return the failures among them, by combination index."""

    @property
    def runs(self) -> Sequence[Run]:
        """Return who wrote which stretch, in order."""

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the combination indices of a range of outcomes (int64)."""

    def durations(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the seconds that each of a range of backtests ran (float64)."""

    def elapsed(self, row: int) -> float:
        """Return for how many seconds the optimization had run when an outcome arrived."""

    def elapsed_range(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the same of a range of outcomes (float64)."""

    def is_failure(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Return for each of a range of outcomes whether it is a failure (bool)."""

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return one metric of a range of outcomes (float64); NaN where it has no value."""

    def metric_names(self, rows: Rows | None = None) -> tuple[str, ...]:
        """Return by name the metrics that any of some outcomes has a value of; default: of all."""

    def columns(self, rows: Rows, metric_names: Sequence[str] | None = None) -> OutcomeColumns:
        """Return outcomes by row number, in columns; default: with every metric in the log."""


class OutcomeJournal(Protocol):
    """Keep the outcomes of one optimization that this process holds, in the order of `append`."""

    def append(self, batch: OutcomeBatch, elapsed: float) -> None:
        """Keep outcomes soon; never waits. To be called on the event loop.

        Args:
            batch: The outcomes.
            elapsed: Seconds for which the optimization had run.
        """

    async def flush(self) -> None:
        """Return once all that was appended is kept for good.

        Raises:
            StoreUnavailableError: It cannot be.
        """


OnDurable = Callable[[int], None]
"""Is told on the event loop how many outcomes of the log are kept for good by now."""
OnFailure = Callable[[StoreUnavailableError], None]
"""Is told on the event loop that nothing more can be kept; once."""


class Store(Protocol):
    """Keep optimizations and their outcome logs. Methods block: call them in threads.

    All of them raise `StoreUnavailableError` where the store cannot be read or written.
    """

    @property
    def outlives_process(self) -> bool:
        """Return whether what is kept is there after a restart."""

    def create(self, record: OptimizationRecord) -> None:
        """Keep a new optimization, held by this process.

        Raises:
            OptimizationExistsError: There is one of that caller and id.
        """

    def find(self, caller: str, optimization_id: str) -> OptimizationRecord:
        """Return an optimization as it is now.

        Raises:
            UnknownOptimizationError: There is none.
        """

    def page(
        self, caller: str, wanted: OptimizationFilter, limit: int, token: str = ""
    ) -> tuple[list[OptimizationRecord], str]:
        """Return up to `limit` optimizations, newest first, and the token of the page after.

        They come without their requests. What is created meanwhile is on no later page. An empty
        token stands for the first page, and says that there is no page after.

        Raises:
            ValueError: The token is none of this store's.
        """

    def claim(self, caller: str, optimization_id: str) -> OptimizationRecord:
        """Hold an optimization that nobody holds any more, in the state that it has.

        One that has ended is returned as it is, held by nobody; `move` to the same state lets go of
        one that stays INTERRUPTED.

        Raises:
            HeldElsewhereError: A living process holds it.
            UnknownOptimizationError: There is none.
        """

    def move(self, record: OptimizationRecord) -> None:
        """Write the state, counts, times and message of an optimization that this process holds.

        Whether it is detached, and its first event, are written, too; all else stays as it was
        created. The move must be one that `require_transition` allows. One that is neither QUEUED
        nor RUNNING is held by nobody afterwards.

        Raises:
            ForbiddenTransitionError: It may not move so; one that has ended may not even stay.
            HeldElsewhereError: This process does not hold it.
            UnknownOptimizationError: There is none.
        """

    def journal(
        self,
        caller: str,
        optimization_id: str,
        run: Run,
        log: LogView,
        on_durable: OnDurable,
        on_failure: OnFailure,
    ) -> OutcomeJournal:
        """Begin a run of an optimization that this process holds; call it on the event loop.

        Args:
            caller: Whose it is.
            optimization_id: Its name.
            run: What begins.
            log: Has in memory what is appended, and what earlier runs have; a store that keeps
                nothing beyond the process needs no other.
            on_durable: Is told of what is kept.
            on_failure: Is told that nothing more can be.
        """

    def conclude(self, caller: str, optimization_id: str) -> None:
        """Write the log in its final form, after its journal was flushed and before it is moved."""

    def log(self, caller: str, optimization_id: str) -> LogView:
        """Return the outcomes that are kept, as they are now; valid after a deletion, too."""

    def orphans(self) -> list[OptimizationRecord]:
        """Return what is QUEUED or RUNNING and held by no living process, of any caller."""

    def delete(self, caller: str, optimization_id: str) -> None:
        """Forget an optimization that is neither QUEUED nor RUNNING, but for a line.

        Raises:
            UnknownOptimizationError: There is none.
            HeldElsewhereError: It is running, here or elsewhere.
        """

    def matching(self, caller: str, inputs_key: str) -> list[OptimizationRecord]:
        """Return optimizations, newest first, whose outcomes another with these inputs can take.

        None of them is QUEUED or RUNNING. A store may leave out all but the newest 1,000, since
        requests can be large.
        """

    def close(self) -> None:
        """Let go of all that is held; what runs is orphaned then."""
