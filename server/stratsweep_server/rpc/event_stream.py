"""Stream one optimization: move a cursor through its log and make events of what it passes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from stratsweep.v1.optimization_event_pb2 import OptimizationEvent
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage
from stratsweep.v1.optimization_service_pb2 import OptimizeResponse

from stratsweep_server.execution.plan import GridColumns
from stratsweep_server.optimization.optimizations import OptimizationEntry
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.ranking import best_row, is_better
from stratsweep_server.rpc.arrow_format import ArrowFormat
from stratsweep_server.rpc.result_format import Outcomes, ResultFormat
from stratsweep_server.rpc.result_parts import result_parts
from stratsweep_server.rpc.row_format import RowFormat, fill_seconds, result_message
from stratsweep_server.rpc.single_row_format import SingleRowFormat
from stratsweep_server.rpc.wire import field

HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Hold what a client may choose of its stream.

    Attributes:
        progress_interval: Seconds for which outcomes are gathered into one message; None: a message
            each.
        has_arrow_results: Whether results travel as Arrow; else as rows.
    """

    progress_interval: float | None = None
    has_arrow_results: bool = False


class EventStream:
    """Stream the events of a running optimization after its start.

    Args:
        optimization: What runs.
        options: What the client chose.
        heartbeat_interval: Seconds of silence after which a heartbeat is sent.
    """

    def __init__(
        self, optimization: OptimizationEntry, options: StreamOptions, heartbeat_interval: float
    ) -> None:
        self._optimization = optimization
        self._log = optimization.log
        self._grid = optimization.prepared.grid
        self._target = optimization.prepared.config.optimization_target
        self._direction = optimization.prepared.config.direction
        self._interval = options.progress_interval
        self._heartbeat_interval = heartbeat_interval
        self._format = _format_of(options, self._log, self._grid)
        self._position = 0
        self._failed_count = 0
        # Reused for each message, since new ones take longer.
        self._event = OptimizationEvent()
        self._progress = ProgressMessage(total_count=self._log.total_count)
        self._best_row: int | None = None
        self._best = ProgressMessage()
        self._best_wire = b""

    async def responses(self) -> AsyncIterator[OptimizeResponse | bytes]:
        """Yield progress as it comes, heartbeats in between, last the parts of the result.

        What may be large comes as the bytes of its message.
        """
        conclusion = asyncio.create_task(self._optimization.result())
        try:
            async for response in self._progress_responses():
                yield response
            while not conclusion.done():
                await asyncio.wait([conclusion], timeout=self._heartbeat_interval)
                if not conclusion.done():
                    yield _heartbeat()
            for part in result_parts(conclusion.result(), self._format, self._grid):
                number = self._position + 2 + part.result.part_index
                result = field(OptimizationEvent.RESULT_FIELD_NUMBER, part.wire)
                yield _response(self._head_of_event(number, time.time()), *result)
                await asyncio.sleep(0)  # a write need not wait, and others are to have their turns
        finally:
            conclusion.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await conclusion

    async def _progress_responses(self) -> AsyncIterator[OptimizeResponse | bytes]:
        log = self._log
        while self._position < log.total_count:
            if not await log.wait_beyond(self._position, self._heartbeat_interval):
                yield _heartbeat()
                continue
            if self._position == log.count:
                return  # closed before the end
            if self._interval is not None:
                await log.wait_beyond(log.total_count - 1, self._interval)
            end = log.count
            while self._position < end:
                stop = min(self._position + self._format.block_size(), end)
                # A whole block first: alternating with gRPC's work would take half as long again.
                for response in list(self._advance(stop)):
                    yield response
                await asyncio.sleep(0)

    def _advance(self, stop: int) -> Iterator[bytes]:
        """Move the cursor to `stop`, making the messages of what it passes."""
        # Most blocks have no new best: then their groups need not be searched for one.
        has_new_best = self._better_row(self._position, stop) is not None
        for group in self._format.groups(self._position, stop):
            start = self._position
            self._position += group.count
            self._failed_count += group.failed_count
            row = self._better_row(start, self._position) if has_new_best else None
            if row is not None:
                self._best_row = row
                self._best = ProgressMessage(best=result_message(self._log, row, self._grid))
                self._best_wire = self._best.SerializeToString()
            yield self._progress_response(group)

    def _better_row(self, start: int, stop: int) -> int | None:
        """Return the best of a range of outcomes; None when it is not better than the best yet."""
        scores, indices = (
            self._log.metric(self._target, start, stop),
            self._log.indices(start, stop),
        )
        row = best_row(scores, indices, self._direction)
        if row is None:
            return None
        if self._best_row is not None and not is_better(
            float(scores[row]),
            int(indices[row]),
            self._best.best.metrics[self._target],
            self._best.best.combination_index,
            self._direction,
        ):
            return None
        return start + row

    def _progress_response(self, outcomes: Outcomes) -> bytes:
        """Return the message of outcomes that the cursor has passed."""
        event_time = self._log.event_time(self._position - 1)
        progress = (self._head_of_progress(), *outcomes.wire, self._best_wire)
        return _response(
            self._head_of_event(self._position + 1, event_time),
            *field(OptimizationEvent.PROGRESS_FIELD_NUMBER, progress),
        )

    def _head_of_event(self, sequence_number: int, event_time: float) -> bytes:
        event = self._event
        event.sequence_number = sequence_number
        fill_seconds(event.event_time, event_time)
        return event.SerializeToString()

    def _head_of_progress(self) -> bytes:
        progress = self._progress
        progress.completed_count = self._position
        progress.failed_count = self._failed_count
        elapsed = time.monotonic() - self._optimization.running.start_time
        fill_seconds(progress.elapsed_duration, elapsed)
        remaining = elapsed / self._position * (progress.total_count - self._position)
        fill_seconds(progress.estimated_remaining_duration, remaining)
        return progress.SerializeToString()


def _format_of(options: StreamOptions, log: OutcomeLog, grid: GridColumns) -> ResultFormat:
    is_grouped = options.progress_interval is not None
    if options.has_arrow_results:
        return ArrowFormat(log, grid, is_grouped=is_grouped)
    return RowFormat(log, grid) if is_grouped else SingleRowFormat(log, grid)


def _response(*event: bytes) -> bytes:
    return b"".join(field(OptimizeResponse.EVENT_FIELD_NUMBER, event))


def _heartbeat() -> OptimizeResponse:
    response = OptimizeResponse()
    response.event.event_time.FromNanoseconds(time.time_ns())
    response.event.heartbeat.SetInParent()
    return response
