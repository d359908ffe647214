"""Turn outcomes and rankings into messages, as rows or as Arrow, behind the same few methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from stratsweep.v1.optimization_event_pb2 import OptimizationResult as ResultMessage

from stratsweep_server.optimization.result import RankedResults
from stratsweep_server.rpc.events import wire
from stratsweep_server.rpc.events.wire import Pieces

MAX_MESSAGE_BYTES = 1_000_000
"""A message is sent once it has as many, so it may have those of a row more."""
MAX_ROWS = 250
"""Rows that are made in one go: 2 to 8 ms, in which nothing else gets a turn."""


@dataclass(slots=True)
class EncodedOutcomes:
    """Hold outcomes that follow each other in the log and share a progress message.

    Attributes:
        wire: The serialized progress message; it has these outcomes and nothing else yet.
        count: How many outcomes there are.
        failed_count: How many of them are failures.
    """

    wire: Pieces
    count: int = 1
    failed_count: int = 0


class ProgressFormat(Protocol):
    """Make progress messages of at most about `MAX_MESSAGE_BYTES`."""

    def block_size(self) -> int:
        """Return how many outcomes to ask `encoded` for at a time."""

    def encoded(self, start: int, stop: int) -> Iterator[EncodedOutcomes]:
        """Yield messages with the log's outcomes from `start` up to, not including, `stop`."""


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
        rows = self.result.SerializeToString(deterministic=True)
        return rows, *arrow_field(number, self.arrow_ranked_results)

    @property
    def size(self) -> int:
        """Return about how many bytes the message takes."""
        return self.result.ByteSize() + sum(map(len, self.arrow_ranked_results))


class RankingFormat(Protocol):
    """Make parts of a result of at most about `MAX_MESSAGE_BYTES`."""

    def ranked_parts(self, ranking: RankedResults) -> Iterator[ResultPart]:
        """Yield result parts with a whole ranking, in order."""


def arrow_field(field_number: int, stream: Pieces) -> Pieces:
    """Return an Arrow stream as a field of a message; nothing where there is none."""
    return wire.field(field_number, stream) if stream else ()


def rows_that_fit(size: int) -> int:
    """Return how many rows of a size, in bytes, fit into a message; at least one."""
    return max(1, MAX_MESSAGE_BYTES // max(1, size))


def fits(size: int) -> bool:
    """Return whether a message of this size, in bytes, may still grow."""
    return size < MAX_MESSAGE_BYTES
