"""Turn outcomes and rankings into messages, as rows or as Arrow, behind the same few methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from stratsweep.v1.optimization_event_pb2 import OptimizationResult as ResultMessage
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage

from stratsweep_server.optimization.result import RankedResults
from stratsweep_server.rpc import wire
from stratsweep_server.rpc.wire import Pieces

MAX_MESSAGE_BYTES = 1_000_000
"""A message is sent once it has as many, so it may have those of a row more."""
MAX_ROWS = 250
"""Rows that are made in one go: 2 to 8 ms, in which nothing else gets a turn."""


class Outcomes(Protocol):
    """Hold outcomes that follow each other in the log and share a progress message."""

    @property
    def count(self) -> int:
        """Return how many outcomes there are."""

    @property
    def failed_count(self) -> int:
        """Return how many of them are failures."""

    @property
    def wire(self) -> Pieces:
        """Return the serialized progress message; it has these outcomes and nothing else yet."""


@dataclass(slots=True)
class OutcomeGroup:
    """Gather `Outcomes` in a message.

    Attributes:
        count: How many.
        failed_count: How many of them are failures.
        progress: The message without its Arrow field; it has nothing but these outcomes.
        arrow_results: The message's field of that name.
    """

    count: int = 0
    failed_count: int = 0
    progress: ProgressMessage = field(default_factory=ProgressMessage)
    arrow_results: Pieces = ()

    @property
    def wire(self) -> Pieces:
        """Return the serialized message."""
        rows = self.progress.SerializeToString()
        return rows, *_arrow(ProgressMessage.ARROW_RESULTS_FIELD_NUMBER, self.arrow_results)


@dataclass(slots=True)
class ResultPart:
    """Hold a part of a result.

    Attributes:
        result: The message without its Arrow field; `result_parts` fills in the rest.
        arrow_ranked_results: The message's field of that name.
    """

    result: ResultMessage = field(default_factory=ResultMessage)
    arrow_ranked_results: Pieces = ()

    @property
    def wire(self) -> Pieces:
        """Return the serialized message."""
        number = ResultMessage.ARROW_RANKED_RESULTS_FIELD_NUMBER
        return self.result.SerializeToString(), *_arrow(number, self.arrow_ranked_results)

    @property
    def size(self) -> int:
        """Return about how many bytes the message takes."""
        return self.result.ByteSize() + sum(map(len, self.arrow_ranked_results))


class ResultFormat(Protocol):
    """Make messages of at most about `MAX_MESSAGE_BYTES`."""

    def block_size(self) -> int:
        """Return how many outcomes to ask `groups` for at a time."""

    def groups(self, start: int, stop: int) -> Iterator[Outcomes]:
        """Yield messages with the log's outcomes from `start` up to, not including, `stop`."""

    def ranked_parts(self, ranking: RankedResults) -> Iterator[ResultPart]:
        """Yield result parts with a whole ranking, in order."""


def _arrow(field_number: int, stream: Pieces) -> Pieces:
    return wire.field(field_number, stream) if stream else ()


def rows_that_fit(size: int) -> int:
    """Return how many rows of a size, in bytes, fit into a message; at least one."""
    return max(1, MAX_MESSAGE_BYTES // max(1, size))


def fits(size: int) -> bool:
    """Return whether a message of this size, in bytes, may still grow."""
    return size < MAX_MESSAGE_BYTES
