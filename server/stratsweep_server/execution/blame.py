"""Decide which combination is to blame when a worker dies or is killed within a chunk. Pure.

The worker's shared words name the combination that was running. Those before it in the chunk whose
outcomes had not arrived had finished, and those after it had not begun: all of them are innocent
and go back to the front of the queue.

When the words say that a whole batch was running, nobody is guilty yet: all of them run again, one
after another, so that the words name the one that does it again.

When the words say nothing (it died between two backtests), the first one without an outcome is the
suspect: it runs again alone, so a queue that kills every worker still comes to an end.
"""

from __future__ import annotations

from dataclasses import dataclass

from stratsweep_server.execution.activity import Running
from stratsweep_server.execution.scheduler import Chunk


@dataclass(frozen=True, slots=True)
class Blame:
    """Divide the unfinished combinations of a lost chunk into a suspect and the innocent.

    Attributes:
        suspect: The combination index that was running; None when a whole batch was.
        innocent: The other combination indices without an outcome, in order.
    """

    suspect: int | None
    innocent: tuple[int, ...]


def assign_blame(chunk: Chunk, running: Running | None) -> Blame:
    """Find the suspect among the combinations of a chunk that have no outcome.

    Args:
        chunk: Not done.
        running: What the worker's shared words said last; what cannot be true counts as nothing.
    """
    rest = chunk.rest()
    place = 0
    if running is not None and running.chunk_id == chunk.chunk_id:
        if running.offset is None and chunk.is_batch:
            return Blame(None, tuple(rest))
        if running.offset is not None and 0 <= running.offset - chunk.done_count < len(rest):
            place = running.offset - chunk.done_count
    return Blame(rest[place], tuple(rest[:place] + rest[place + 1 :]))
