"""Stream one optimization that has begun: make events of its log, which a cursor passes.

Every event but a heartbeat is made from the log and from nothing else, so that one which is sent
again has the bytes that it had at first.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stratsweep.v1.optimization_event_pb2 import OptimizationEvent
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage
from stratsweep.v1.optimization_service_pb2 import OptimizeResponse

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.ranking import best_row, is_better
from stratsweep_server.optimization.requirements import Requirements, qualifies
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.rpc.events.arrow import ArrowProgress, ArrowRanking
from stratsweep_server.rpc.events.followed import Followed
from stratsweep_server.rpc.events.formats import EncodedOutcomes, ProgressFormat, RankingFormat
from stratsweep_server.rpc.events.parts import result_parts
from stratsweep_server.rpc.events.rows import (
    RowProgress,
    RowRanking,
    fill_seconds,
    result_message,
)
from stratsweep_server.rpc.events.single_rows import SingleRowProgress
from stratsweep_server.rpc.events.wire import Piece, field

HEARTBEAT_SECONDS = 15.0
STARTED_NUMBER = 1


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
    """Stream the events of an optimization that follow its start, or any later one.

    Args:
        followed: What has begun.
        options: What the client chose.
        heartbeat_interval: Seconds of silence after which a heartbeat is sent.
        after_sequence_number: The last event that is not wanted, at least the start's. Without
            `progress_interval` the rest is, bit for bit, that of a stream of all.
    """

    def __init__(
        self,
        followed: Followed,
        options: StreamOptions,
        heartbeat_interval: float,
        after_sequence_number: int,
    ) -> None:
        self._followed = followed
        self._log = followed.log
        self._grid = followed.grid
        self._target = followed.config.optimization_target
        self._direction = followed.config.direction
        self._requirements = Requirements(followed.config.requirements)
        self._interval = options.progress_interval
        self._heartbeat_interval = heartbeat_interval
        self._after = after_sequence_number
        self._format, self._ranking_format = _formats_of(options, self._log, self._grid)
        self._position = 0
        self._failed_count = 0
        # Reused for each message, since new ones take longer.
        self._event = OptimizationEvent()
        self._event_time = math.nan
        self._progress = ProgressMessage(total_count=self._log.total_count)
        self._elapsed = math.nan
        self._best_row: int | None = None
        self._best = ProgressMessage()
        self._best_wire = b""

    async def responses(self) -> AsyncGenerator[bytes, None]:
        """Yield serialized `OptimizeResponse`s, which are `WatchOptimizationResponse`s as well.

        Progress as it comes, heartbeats in between, last the parts of the result.
        """
        conclusion = asyncio.create_task(self._followed.result())
        try:
            async for response in self._progress_responses():
                yield response
            while not conclusion.done():
                await asyncio.wait([conclusion], timeout=self._heartbeat_interval)
                if not conclusion.done():
                    yield heartbeat_response()
            for response in self._result_responses(conclusion.result()):
                yield response
                await asyncio.sleep(0)  # a write need not wait, and others are to have their turns
        finally:
            conclusion.cancel()
            await asyncio.wait([conclusion])
            if not conclusion.cancelled():
                conclusion.exception()  # nobody may have asked for it

    async def _progress_responses(self) -> AsyncIterator[bytes]:
        log = self._log
        passed = self._after - STARTED_NUMBER
        while max(self._position, passed) < log.total_count:
            if not await log.wait_beyond(max(self._position, passed), self._heartbeat_interval):
                yield heartbeat_response()
                continue
            if log.count <= max(self._position, passed):
                return  # closed before the end
            if self._position < passed:
                self._pass_over(passed)
            if self._interval is not None:
                await log.wait_beyond(log.total_count - 1, self._interval)
            end = log.count
            while self._position < end:
                stop = min(self._position + self._format.block_size(), end)
                # A whole block first: alternating with gRPC's work would take half as long again.
                for response in list(self._advance(stop)):
                    yield response
                await asyncio.sleep(0)

    def _pass_over(self, stop: int) -> None:
        """Move the cursor to `stop` as if messages had been made on the way."""
        self._failed_count = int(np.count_nonzero(self._log.is_failure(0, stop)))
        self._note_best(self._better_row(0, stop))
        self._position = stop

    def _advance(self, stop: int) -> Iterator[bytes]:
        """Move the cursor to `stop`, making the messages of what it passes."""
        # Most blocks have no new best: then their messages need not be searched for one.
        has_new_best = self._better_row(self._position, stop) is not None
        for outcomes in self._format.encoded(self._position, stop):
            start = self._position
            self._position += outcomes.count
            self._failed_count += outcomes.failed_count
            if has_new_best:
                self._note_best(self._better_row(start, self._position))
            yield self._progress_response(outcomes)

    def _better_row(self, start: int, stop: int) -> int | None:
        """Return the best of a range of outcomes; None when it is not better than the best yet."""
        scores = self._log.metric(self._target, start, stop)
        row = self._better_of(scores, start, stop)
        if row is not None and self._requirements:  # seldom: few are better than the best yet
            qualified = qualifies(self._log, self._requirements, np.arange(start, stop))
            row = self._better_of(np.where(qualified, scores, np.nan), start, stop)
        return row

    def _better_of(self, scores: NDArray[np.float64], start: int, stop: int) -> int | None:
        indices = self._log.indices(start, stop)
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

    def _note_best(self, row: int | None) -> None:
        if row is not None:
            self._best_row = row
            self._best = ProgressMessage(best=result_message(self._log, row, self._grid))
            self._best_wire = self._best.SerializeToString(deterministic=True)

    def _progress_response(self, outcomes: EncodedOutcomes) -> bytes:
        """Return the message of outcomes that the cursor has passed."""
        event_time = self._log.event_time(self._position - 1)
        progress = (self._head_of_progress(), *outcomes.wire, self._best_wire)
        return _response(
            self._head_of_event(self._position + STARTED_NUMBER, event_time),
            *field(OptimizationEvent.PROGRESS_FIELD_NUMBER, progress),
        )

    def _result_responses(self, result: OptimizationResult) -> Iterator[bytes]:
        first_number = self._log.count + STARTED_NUMBER + 1
        parts = result_parts(result, self._ranking_format, self._grid)
        for number, part in enumerate(parts, first_number):
            if number > self._after:
                message = field(OptimizationEvent.RESULT_FIELD_NUMBER, part.wire)
                yield _response(_head_of(number, result.end_time), *message)

    def _head_of_event(self, sequence_number: int, event_time: float) -> bytes:
        event = self._event
        event.sequence_number = sequence_number
        if event_time != self._event_time:  # those that arrived together share it
            self._event_time = event_time
            fill_seconds(event.event_time, event_time)
        return event.SerializeToString()

    def _head_of_progress(self) -> bytes:
        progress = self._progress
        progress.completed_count = self._position
        progress.failed_count = self._failed_count
        elapsed = self._log.elapsed(self._position - 1)
        if elapsed != self._elapsed:
            self._elapsed = elapsed
            fill_seconds(progress.elapsed_duration, elapsed)
        remaining = elapsed / self._position * (progress.total_count - self._position)
        fill_seconds(progress.estimated_remaining_duration, remaining)
        return progress.SerializeToString()


def started_response(started: bytes, started_time: int) -> bytes:
    """Return the serialized response with a serialized `OptimizationStarted`.

    Args:
        started: The message.
        started_time: When it happened, in nanoseconds since the epoch.
    """
    message = field(OptimizationEvent.STARTED_FIELD_NUMBER, (started,))
    return _response(_head_of(STARTED_NUMBER, started_time), *message)


def _head_of(sequence_number: int, nanoseconds: int) -> bytes:
    head = OptimizationEvent(sequence_number=sequence_number)
    head.event_time.FromNanoseconds(nanoseconds)
    return head.SerializeToString()


def _formats_of(
    options: StreamOptions, log: FollowedLog, grid: GridColumns
) -> tuple[ProgressFormat, RankingFormat]:
    is_grouped = options.progress_interval is not None
    if options.has_arrow_results:
        return ArrowProgress(log, grid, is_grouped=is_grouped), ArrowRanking(grid)
    progress = RowProgress(log, grid) if is_grouped else SingleRowProgress(log, grid)
    return progress, RowRanking(grid)


def _response(*event: Piece) -> bytes:
    return b"".join(field(OptimizeResponse.EVENT_FIELD_NUMBER, event))


def heartbeat_response() -> bytes:
    """Return the serialized response that fills a silence."""
    response = OptimizeResponse()
    response.event.event_time.FromNanoseconds(time.time_ns())
    response.event.heartbeat.SetInParent()
    return response.SerializeToString()
