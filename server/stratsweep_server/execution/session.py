"""Do a worker's work: read chunks from the socket, run their backtests, answer with outcomes."""

from __future__ import annotations

import itertools
import operator
import os
import socket
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import BacktestEngine
from stratsweep_server.backtest.generators import SeededRuns
from stratsweep_server.execution import messages
from stratsweep_server.execution.activity import Activity
from stratsweep_server.execution.answers import first_row
from stratsweep_server.execution.messages import FrameReader, MessageKind
from stratsweep_server.execution.outbox import Outbox
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.planned_backtests import PlannedBacktests, takes_batches
from stratsweep_server.market_data.bars import map_bars

_RECEIVE_BYTES = 1 << 18
_RECEIVE_DESCRIPTORS = 16


class Session:
    """Run the chunks that the server sends."""

    def __init__(self, server: socket.socket, activity: Activity, engine: BacktestEngine) -> None:
        self._server = server
        self._activity = activity
        self._engine = engine
        self._takes_batches = takes_batches(engine)
        self._outbox = Outbox(server)
        self._plans: dict[int, PlannedBacktests] = {}
        self._descriptors: deque[int] = deque()
        self._chunk: tuple[PlannedBacktests, NDArray[np.int64]] | None = None

    def run(self) -> None:
        """Read and run chunks until the server closes the socket."""
        reader = FrameReader(max_body_bytes=messages.MAX_BODY_BYTES)
        while data := self._receive():
            for kind, body in reader.feed(data):
                self._handle(kind, body)

    def running_combination(self) -> str:
        """Say which combination runs now, such as `fast=5 slow=20`.

        Empty between backtests, and while many run at once.
        """
        running = self._activity.running()
        if running is None or running.offset is None or self._chunk is None:
            return ""
        plan, indices = self._chunk
        return plan.describe(int(indices[running.offset]))

    def _receive(self) -> bytes:
        data, descriptors, _, _ = socket.recv_fds(
            self._server, _RECEIVE_BYTES, _RECEIVE_DESCRIPTORS
        )
        self._descriptors += descriptors
        return data

    def _handle(self, kind: MessageKind, body: bytes) -> None:
        if kind is MessageKind.PLAN:
            self._take_plan(*messages.decode_plan(body))
        elif kind is MessageKind.RELEASE:
            self._plans.pop(messages.decode_release(body), None)
        elif kind is MessageKind.CHUNK:
            plan_id, chunk_id, indices, apart = messages.decode_chunk(body)
            plan = self._plans[plan_id]
            self._chunk = plan, indices
            self._activity.begin_chunk(chunk_id)
            self._outbox.begin(chunk_id)
            if self._takes_batches:
                self._run_batches(plan, indices, 1 if apart else len(indices))
            else:
                self._run_each(plan, indices)
            self._chunk = None
            self._activity.idle()
            self._outbox.flush()

    def _take_plan(self, plan_id: int, plan: BacktestPlan) -> None:
        bars = None
        if plan.bar_headers is not None:
            descriptor = self._descriptors.popleft()  # it comes with the first byte of its plan
            bars = map_bars(descriptor, plan.bar_headers)
            os.close(descriptor)
        self._plans[plan_id] = PlannedBacktests(plan, self._engine, bars)

    def _run_each(self, plan: PlannedBacktests, indices: NDArray[np.int64]) -> None:
        runs = SeededRuns()
        for offset, index in enumerate(indices.tolist()):
            start = self._activity.begin_backtest(offset)
            try:
                metrics = plan.run(index, runs)
            except BaseException as error:  # SystemExit and the like too
                self._outbox.add_failure(start, error)
            else:
                self._outbox.add_metrics(start, metrics)

    def _run_batches(self, plan: PlannedBacktests, indices: NDArray[np.int64], size: int) -> None:
        """Halve a batch that fails, until the exception is one backtest's own."""
        edges = [*range(0, len(indices), size), len(indices)]
        batches = [Batch(*ends, self._activity) for ends in itertools.pairwise(edges)][::-1]
        while batches:
            batch = batches.pop()
            if batch.count > 1:
                self._outbox.flush()
            start = batch.begin()
            try:
                table = plan.run_batch(indices[batch.first : batch.end], batch.note)
            except BaseException as error:  # as above
                if batch.count > 1:
                    batches += batch.halves()
                else:
                    self._outbox.add_failure(start, error)
                continue
            if batch.count > 1:
                self._activity.idle()
                self._outbox.send_batch(start, table)
            else:
                self._outbox.add_metrics(start, first_row(table))


@dataclass(frozen=True, slots=True)
class Batch:
    """Mark the part of a chunk that runs as one.

    Attributes:
        first: Place in the chunk of its first backtest.
        end: Place after its last one.
        activity: Where it says what it runs.
    """

    first: int
    end: int
    activity: Activity

    @property
    def count(self) -> int:
        """Return the number of backtests, at least 1."""
        return self.end - self.first

    def begin(self) -> int:
        """Note that all of them run from now on. Returns the monotonic time in nanoseconds."""
        if self.count == 1:
            return self.activity.begin_backtest(self.first)
        return self.activity.begin_batch()

    def note(self, position: int | None) -> None:
        """Note which of the backtests the engine is on, by position; None: all of them.

        Raises:
            IndexError: There is no such position.
        """
        if position is None:
            self.begin()
        elif 0 <= operator.index(position) < self.count:
            self.activity.begin_backtest(self.first + operator.index(position))
        else:
            raise IndexError(f"begin({position}) in a batch of {self.count}")

    def halves(self) -> tuple[Batch, Batch]:
        """Return the second half, then the first: callers take them from the end of a list."""
        middle = (self.first + self.end) // 2
        return replace(self, first=middle), replace(self, end=middle)
