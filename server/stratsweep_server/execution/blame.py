"""Who is guilty when a worker dies or is killed in the middle of a chunk. Pure.

The worker's shared words name the combination that was running. Those before it in the chunk whose
outcomes had not arrived had finished, and those after it had not begun: all of them are innocent
and go back to the front of the queue. When the words name none (it died between two backtests), the
first one without an outcome is the suspect: it runs again alone, so a queue that kills every worker
still comes to an end.
"""

from __future__ import annotations

from dataclasses import dataclass

from stratsweep_server.execution.activity import RunningBacktest
from stratsweep_server.execution.scheduler import Chunk


@dataclass(frozen=True, slots=True)
class Blame:
    """What becomes of a chunk whose worker is gone.

    Attributes:
        suspect: The combination index that was running.
        innocent: The other combination indices without an outcome, in order.
        certain: Whether the words named the suspect.
    """

    suspect: int
    innocent: tuple[int, ...]
    certain: bool


def assign_blame(chunk: Chunk, running: RunningBacktest | None) -> Blame:
    """Find the suspect among the combinations of a chunk that have no outcome.

    Args:
        chunk: Not done.
        running: What the worker's shared words said last.
    """
    rest = chunk.rest()
    named = (
        running is not None
        and running.chunk_id == chunk.chunk_id
        and chunk.done_count <= running.offset < len(chunk.indices)
    )
    place = running.offset - chunk.done_count if named and running is not None else 0
    return Blame(rest[place], tuple(rest[:place] + rest[place + 1 :]), named)
