"""Gather the outcomes of a worker's chunk and send them to the server in few frames."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution import messages
from stratsweep_server.execution.answers import MetricTable, tabulate
from stratsweep_server.execution.exceptions import describe_exception, format_traceback

FLUSH_SECONDS = 0.002
"""Outcomes wait this long for company: a frame costs 15-42 us, so this keeps its share near 1 %."""

LATE_FLUSH_SECONDS = 0.02
"""How long an outcome waits at most, while the next backtest runs."""

_MAX_FRAME_ROWS = 8_192
_MAX_FRAME_NUMBERS = 1 << 17


class Outbox:
    """Group the outcomes of a chunk, in order, so that each frame carries a few ms of work.

    A backtest's end sends what has gathered for a while. When the next one takes long, a thread
    does: progress must not wait for it, nor be lost when it is killed.
    """

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._has_waiting = threading.Event()
        self._last_flush = 0
        self._begin(0)
        threading.Thread(target=self._flush_late, name="outbox", daemon=True).start()

    def begin(self, chunk_id: int) -> None:
        """Begin a chunk: the outcomes that follow are its own, from the first combination on."""
        with self._lock:
            self._begin(chunk_id)

    def flush(self) -> None:
        """Send what waits: at the end of a chunk, and before a batch that may take long."""
        with self._lock:
            self._flush()

    def add_metrics(self, start: int, metrics: dict[str, float]) -> None:
        """Add the metrics of a backtest that began at `start` (monotonic ns)."""
        with self._lock:
            self._add(start, metrics)

    def add_failure(self, start: int, error: BaseException) -> None:
        """Add what a backtest that began at `start` (monotonic ns) raised."""
        message, traceback_text = describe_exception(error), format_traceback(error)
        with self._lock:
            self._failures.append((len(self._rows), message, traceback_text))
            self._add(start, {})

    def send_batch(self, start: int, table: MetricTable) -> None:
        """Send the metrics of a batch that began at `start` (monotonic ns); nothing else may wait.

        The time of the batch is divided evenly among its backtests.
        """
        names, metrics = table
        now = time.monotonic_ns()
        duration = (now - start) / 1e9 / len(metrics)
        busy = (now - self._last_flush) / 1e9 / len(metrics)
        rows = min(_MAX_FRAME_ROWS, _MAX_FRAME_NUMBERS // (len(names) + 1))
        with self._lock:
            for first in range(0, len(metrics), rows):
                part = metrics[first : first + rows]
                durations = np.full(len(part), duration)
                self._send(busy * len(part), durations, names, part, ())
            self._last_flush = now

    def _begin(self, chunk_id: int) -> None:
        self._chunk_id = chunk_id
        self._offset = 0
        self._last_flush = time.monotonic_ns()
        self._clear()

    def _clear(self) -> None:
        self._durations: list[float] = []
        self._rows: list[dict[str, float]] = []
        self._failures: list[tuple[int, str, str]] = []

    def _add(self, start: int, metrics: dict[str, float]) -> None:
        now = time.monotonic_ns()
        self._durations.append((now - start) / 1e9)
        self._rows.append(metrics)
        if now - self._last_flush > FLUSH_SECONDS * 1e9:
            self._flush()
        elif not self._has_waiting.is_set():
            self._has_waiting.set()

    def _flush_late(self) -> None:
        while self._has_waiting.wait():
            time.sleep(LATE_FLUSH_SECONDS)
            with self._lock:
                if time.monotonic_ns() - self._last_flush > LATE_FLUSH_SECONDS * 1e9:
                    self._flush()

    def _flush(self) -> None:
        self._has_waiting.clear()
        if not self._rows:
            return
        now = time.monotonic_ns()
        names, metrics = tabulate(self._rows)
        busy = (now - self._last_flush) / 1e9
        self._send(busy, np.array(self._durations), names, metrics, self._failures)
        self._last_flush = now
        self._clear()

    def _send(
        self,
        busy_duration: float,
        durations: NDArray[np.float64],
        names: Sequence[str],
        metrics: NDArray[np.float64],
        failures: Sequence[tuple[int, str, str]],
    ) -> None:
        frame = messages.encode_outcomes(
            self._chunk_id, self._offset, busy_duration, durations, names, metrics, failures
        )
        self._server.sendall(frame)
        self._offset += len(durations)
