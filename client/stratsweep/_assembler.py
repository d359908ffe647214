"""The events of one stream, put together: a result's parts become one. Pure."""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from stratsweep._compatibility import warn_if_ignored
from stratsweep._decoding import (
    failure,
    optimization_result,
    outcome,
    parameter_result,
    progress_event,
    result_blocks,
    started_event,
)
from stratsweep._rows import Block, MessageBlock, Rows
from stratsweep.errors import ServerError, StratsweepError, StreamInterruptedError
from stratsweep.events import (
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    Progress,
)
from stratsweep.outcomes import BacktestFailure, Outcome, ParameterResult
from stratsweep.v1 import optimization_event_pb2, optimization_service_pb2

EventsRequest: TypeAlias = (
    optimization_service_pb2.OptimizeRequest | optimization_service_pb2.WatchOptimizationRequest
)
_Error = TypeVar("_Error", bound=StratsweepError)


class EventMessage(Protocol):
    """A message of a stream of events, of whichever RPC."""

    @property
    def event(self) -> optimization_event_pb2.OptimizationEvent: ...


class EventAssembler:
    """Turns the messages of one stream into events; a result becomes one when it is complete.

    Args:
        request: What was asked for; the started event must repeat what it sets.

    Attributes:
        sequence_number: Of the last event that has come.
        started: The first event, once it has come.
        result: The last event, once its last part has come.
        message_received: Whether any message has come.
    """

    def __init__(self, request: EventsRequest | None = None) -> None:
        self._request = request
        self.sequence_number = 0 if request is None else request.after_sequence_number
        self.started: OptimizationStarted | None = None
        self.result: OptimizationResult | None = None
        self.message_received = False
        self._names: tuple[str, ...] = ()
        self._decode_outcome = partial(outcome, names=self._names)
        self._best: ParameterResult | None = None
        self._completed_count = 0
        self._part_count = 0
        self._ranked: list[Block[ParameterResult]] = []
        self._failures: list[Block[BacktestFailure]] = []

    def begin(self, started: OptimizationStarted) -> None:
        """Take the first event, which says what the others are about."""
        self.started = started
        self._names = tuple(started.config.parameters)
        self._decode_outcome = partial(outcome, names=self._names)

    def feed(self, response: EventMessage) -> OptimizationEvent | None:
        """Return the event of a message; None for a heartbeat and a part that is not the last.

        Raises:
            StreamInterruptedError: An event, or a part of the result, is missing.
            ServerError: An event came before the stream's started event, or a second time.
        """
        self.message_received = True
        try:
            return self._event(response.event)
        except StratsweepError as error:
            raise self.located(error) from error.__cause__

    def located(self, error: _Error) -> _Error:
        """Return an error of this stream that says how far the optimization had come."""
        if self.started is not None:
            error.optimization_id = self.started.optimization_id
            error.completed_count = self._completed_count
            error.total_count = self.started.total_count
        return error

    def finished_result(self) -> OptimizationResult:
        """Return the result of a stream that has ended.

        Raises:
            StreamInterruptedError: The stream ended without its last part.
        """
        if self.result is None:
            raise self.located(
                StreamInterruptedError("the stream ended before the last part of the result")
            )
        return self.result

    def started_event(self) -> OptimizationStarted:
        """Return the only event of a `validate_only` stream that has ended.

        Raises:
            StreamInterruptedError: The stream ended without it.
        """
        if self.started is None:
            raise StreamInterruptedError("the stream ended before its started event")
        return self.started

    def _event(self, event: optimization_event_pb2.OptimizationEvent) -> OptimizationEvent | None:
        match event.WhichOneof("kind"):
            case "started":
                self._follow(event.sequence_number, 1)
                self.begin(started_event(event.started))
                if self._request is not None:
                    warn_if_ignored(self._request, event.started)
                return self.started
            case "progress":
                return self._progress(event.progress, event.sequence_number)
            case "result":
                return self._feed_part(event.result, event.sequence_number)
            case _:
                return None

    def _follow(self, sequence_number: int, count: int) -> None:
        """Go on by `count` numbers, to that of an event, which must be the next one."""
        previous, self.sequence_number = self.sequence_number, sequence_number
        if sequence_number > previous + count:
            raise StreamInterruptedError(
                f"event {sequence_number} came after event {previous}: those between are missing"
            )
        if sequence_number < previous + count:
            raise ServerError(
                f"the server sent event {sequence_number} where event {previous + count} follows"
            )

    def _feed_part(
        self, part: optimization_event_pb2.OptimizationResult, sequence_number: int
    ) -> OptimizationResult | None:
        if part.part_index != self._part_count:
            raise StreamInterruptedError(f"part {self._part_count} of the result is missing")
        started = self._first_event()
        self._follow(sequence_number, 1)
        names = self._names
        self._part_count += 1
        # A block keeps all of its message in memory: a part that came as Arrow is to be let go.
        self._ranked += result_blocks(part.arrow_ranked_results)
        if part.ranked_results:
            decode = partial(parameter_result, names=names)
            self._ranked.append(MessageBlock(list(part.ranked_results), decode))
        if part.failures:
            self._failures.append(MessageBlock(list(part.failures), partial(failure, names=names)))
        if part.is_last_part:
            self.result = optimization_result(
                part, started, Rows(self._ranked), Rows(self._failures)
            )
        return self.result

    def _progress(self, message: optimization_event_pb2.Progress, sequence_number: int) -> Progress:
        started = self._first_event()
        blocks: list[Block[Outcome]] = [MessageBlock(message.outcomes, self._decode_outcome)]
        if message.arrow_results:
            blocks = [*result_blocks(message.arrow_results), *blocks]
        outcomes = Rows(blocks)
        self._follow(sequence_number, len(outcomes))
        self._completed_count = message.completed_count
        return progress_event(message, started, outcomes, self._best_of(message))

    def _best_of(self, message: optimization_event_pb2.Progress) -> ParameterResult | None:
        """Decode the best so far, which is the same in most messages, only when it is another."""
        if not message.HasField("best"):
            return None
        best = message.best
        if self._best is None or self._best.combination_index != best.combination_index:
            self._best = parameter_result(best, self._names)
        return self._best

    def _first_event(self) -> OptimizationStarted:
        if self.started is None:
            raise ServerError("the server sent an event before the started event")
        return self.started
