"""Estimate, admit or refuse what running optimizations may hold in memory together.

Nearly all of it is the outcome log, which has a place for each metric of each combination from the
start, so that what an optimization takes is known before it runs. It counts until the call ends: a
client that reads its result slowly holds the log all that time.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from sys import getsizeof

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.execution.grid import ParameterAxis, grid_size
from stratsweep_server.execution.outcomes import BacktestFailure

MEGABYTE = 1_000_000
UNDECLARED_METRICS = 16
"""Assumed of an engine that declares none; more are counted as they come."""

_HOW_TO_FIT = "take fewer combinations, or raise the server's --max-memory"
_CALL_BYTES = 2 * MEGABYTE
"""Of any optimization: what is on its way to the client, most of all."""
_LOG_BYTES = 25
"""Of a combination in the log without its metrics: index, duration, time, whether it failed."""
_METRIC_BYTES = 8
_INDEX_BYTES = 8
_RANKING_BYTES = 64
"""Of a combination while the ranking is made: copies of scores and indices, keys, orders."""
_SELECTION_BYTES = 12
"""Of a grid point while the combinations to run are selected: indices, verdicts."""
_FAILURE_BYTES = 256
"""Of a failure without its texts."""
_NUMBER_BYTES = 40
"""Of a parameter's number: in the request, in an array, sent to the workers, in the answer."""
_VALUE_BYTES = 80
"""Of another value: in the request, as an object, pickled for the workers, in a column."""
_BAR_BYTES = 96
"""Of a bar: in memory, and in what workers map."""


class MemoryExhaustedError(Exception):
    """Report that there is no room for an optimization.

    Attributes:
        needed_bytes: What it would hold.
        limit_bytes: What all may hold together.
        can_fit: Whether it has room once others have ended.
        retry_seconds: When to ask again, then.
    """

    retry_seconds = 5.0

    def __init__(self, needed_bytes: int, limit_bytes: int) -> None:
        self.needed_bytes = needed_bytes
        self.limit_bytes = limit_bytes
        self.can_fit = needed_bytes <= limit_bytes
        needed, limit = (f"{-(-count // MEGABYTE):,} MB" for count in (needed_bytes, limit_bytes))
        super().__init__(
            f"the optimization takes about {needed} of memory; the server has {limit} for all; "
            + ("try again when others have ended" if self.can_fit else _HOW_TO_FIT)
        )


class MemoryBudget:
    """Share a number of bytes among running optimizations. Safe to use from several threads.

    Args:
        limit_bytes: How many; None: as many as they want.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.lock = threading.Lock()

    @contextmanager
    def account(self) -> Iterator[MemoryAccount]:
        """Open the account of one optimization: it holds nothing yet, and nothing after the end."""
        account = MemoryAccount(self)
        try:
            yield account
        finally:
            account.close()


class MemoryAccount:
    """Hold one optimization's part of a budget.

    Attributes:
        byte_count: How much.
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self.byte_count = 0
        self._budget = budget
        self._is_closed = False

    def resize(self, byte_count: int) -> None:
        """Hold `byte_count` bytes from now on; does nothing once the account is closed.

        Raises:
            MemoryExhaustedError: The budget has not as much. What was held stays held.
        """
        with self._budget.lock:
            if not self._is_closed:  # by a call that ended while a thread still worked for it
                self._resize(byte_count)

    def close(self) -> None:
        """Give back what is held, for good."""
        with self._budget.lock:
            self._resize(0)
            self._is_closed = True

    def _resize(self, byte_count: int) -> None:
        budget, growth = self._budget, byte_count - self.byte_count
        used_bytes, limit_bytes = budget.used_bytes + growth, budget.limit_bytes
        if limit_bytes is not None and used_bytes > limit_bytes and growth > 0:
            raise MemoryExhaustedError(byte_count, limit_bytes)
        budget.used_bytes = used_bytes
        self.byte_count = byte_count


def unlimited_memory() -> MemoryAccount:
    """Return an account that nobody limits."""
    return MemoryAccount(MemoryBudget())


def preparation_bytes(axes: Sequence[ParameterAxis]) -> int:
    """Return the bytes that it takes to select the combinations of a grid to run."""
    return _CALL_BYTES + sum(map(_axis_bytes, axes)) + grid_size(axes) * _SELECTION_BYTES


def optimization_bytes(
    axes: Sequence[ParameterAxis], count: int, metric_count: int, bar_count: int
) -> int:
    """Return the bytes that an optimization takes until its call ends, failures apart.

    Args:
        axes: Of its grid.
        count: Combinations to run.
        metric_count: Different metrics that they report.
        bar_count: Of all symbols.
    """
    values = sum(map(_axis_bytes, axes))
    combinations = count * (_INDEX_BYTES + _LOG_BYTES + _RANKING_BYTES)
    metrics = metric_bytes(count, metric_count)
    return _CALL_BYTES + values + combinations + metrics + bar_count * _BAR_BYTES


def metric_bytes(count: int, metric_count: int) -> int:
    """Return the bytes that the log takes for metrics of combinations."""
    return count * metric_count * _METRIC_BYTES


def failure_bytes(failure: BacktestFailure) -> int:
    """Return the bytes that the log takes for a failure."""
    return _FAILURE_BYTES + getsizeof(failure.message) + getsizeof(failure.traceback)


def _axis_bytes(axis: ParameterAxis) -> int:
    if isinstance(axis.values, range):
        return len(axis.values) * _INDEX_BYTES
    if isinstance(axis.values, array):
        return len(axis.values) * _NUMBER_BYTES
    return sum(map(_value_bytes, axis.values))


def _value_bytes(value: ParameterValue) -> int:
    return _VALUE_BYTES + 4 * len(value) if isinstance(value, str) else _VALUE_BYTES
