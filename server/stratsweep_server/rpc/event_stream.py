"""The stream of one optimization: a cursor into its log that makes events of what it passes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from stratsweep.v1 import optimization_event_pb2, outcome_pb2

from stratsweep_server.optimization.optimizer import Optimization
from stratsweep_server.optimization.outcome_log import OutcomeRow
from stratsweep_server.optimization.ranking import is_better
from stratsweep_server.rpc import responses

HEARTBEAT_SECONDS = 15.0
_MAX_OUTCOMES_PER_MESSAGE = 1_000
_ROWS_AT_A_TIME = 100

Event = optimization_event_pb2.OptimizationEvent


class EventStream:
    """The events of a running optimization after its start.

    Args:
        optimization: What runs.
        progress_interval: Seconds for which outcomes are gathered into one message; None: a message
            each.
        heartbeat_interval: Seconds of silence after which a heartbeat is sent.
    """

    def __init__(
        self,
        optimization: Optimization,
        progress_interval: float | None,
        heartbeat_interval: float,
    ) -> None:
        self._optimization = optimization
        self._log = optimization.log
        self._plan = optimization.prepared.plan
        self._target = optimization.prepared.config.optimization_target
        self._direction = optimization.prepared.config.direction
        self._interval = progress_interval
        self._heartbeat_interval = heartbeat_interval
        self._position = 0
        self._failed_count = 0
        self._best_score = math.nan
        self._best: outcome_pb2.ParameterResult | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Progress as it comes, heartbeats in between, last the parts of the result."""
        conclusion = asyncio.create_task(self._optimization.result())
        try:
            async for event in self._progress_events():
                yield event
            while not conclusion.done():
                await asyncio.wait([conclusion], timeout=self._heartbeat_interval)
                if not conclusion.done():
                    yield _heartbeat()
            for part in responses.result_parts(conclusion.result(), self._plan):
                yield Event(
                    sequence_number=self._position + 2 + part.part_index,
                    event_time=responses.now(),
                    result=part,
                )
                await asyncio.sleep(0)
        finally:
            conclusion.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await conclusion

    async def _progress_events(self) -> AsyncIterator[Event]:
        log = self._log
        while self._position < log.total_count:
            if not await log.wait_beyond(self._position, self._heartbeat_interval):
                yield _heartbeat()
                continue
            if self._position == log.count:
                return  # closed before the end
            if self._interval is not None:
                await log.wait_beyond(log.total_count - 1, self._interval)
            for event in self._advance(log.count):
                yield event

    def _advance(self, end: int) -> Iterator[Event]:
        """Move the cursor to `end`, making the events of what it passes."""
        group = 1 if self._interval is None else _MAX_OUTCOMES_PER_MESSAGE
        while self._position < end:
            start = self._position
            rows = self._log.rows(range(start, min(start + max(group, _ROWS_AT_A_TIME), end)))
            for first in range(0, len(rows), group):
                yield self._progress(rows[first : first + group])

    def _progress(self, rows: list[OutcomeRow]) -> Event:
        outcomes = [self._pass(row) for row in rows]
        self._position += len(rows)
        event_time = self._log.event_time(self._position - 1)
        elapsed = time.monotonic() - self._optimization.start_time
        total_count = self._log.total_count
        remaining = elapsed / self._position * (total_count - self._position)
        return Event(
            sequence_number=self._position + 1,
            event_time=_timestamp(event_time),
            progress=optimization_event_pb2.Progress(
                completed_count=self._position,
                total_count=total_count,
                failed_count=self._failed_count,
                outcomes=outcomes,
                best=self._best,
                elapsed_duration=responses.duration(elapsed),
                estimated_remaining_duration=responses.duration(remaining),
            ),
        )

    def _pass(self, row: OutcomeRow) -> outcome_pb2.Outcome:
        outcome = responses.outcome(row, self._plan)
        if row.failure is not None:
            self._failed_count += 1
            return outcome
        score = row.metrics.get(self._target)
        if score is not None and self._is_best(score, row.combination_index):
            self._best_score, self._best = score, outcome.result
        return outcome

    def _is_best(self, score: float, combination_index: int) -> bool:
        if self._best is None or is_better(score, self._best_score, self._direction):
            return True
        return score == self._best_score and combination_index < self._best.combination_index


def _heartbeat() -> Event:
    return Event(event_time=responses.now(), heartbeat=optimization_event_pb2.Heartbeat())


def _timestamp(seconds: float) -> Timestamp:
    return responses.timestamp(round(seconds * 1e9))
