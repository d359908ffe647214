"""Share with the server, in a few words of memory, what a worker is running and since when.

A piece of shared memory per worker: the worker writes, the server reads, nobody waits. It is what
makes blame exact: a worker that hangs or dies in the middle of a chunk has left the guilty
combination's place here. While a batch runs that does not say which of its backtests it is on, the
offset stands for the whole chunk. It has no name in any directory, so that nothing can remove it.

The order of the writes matters: the worker stores the start before the offset, and the server reads
the offset before the start. So the server may see an old offset with a new start, which only makes
it look again later, and never a new offset with an old start, which would kill an innocent.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from dataclasses import dataclass

_CHUNK_ID, _OFFSET, _STARTED = range(3)
_WORDS = 3
_IDLE = 2**64 - 1
_WHOLE_CHUNK = 2**64 - 2


@dataclass(frozen=True, slots=True)
class Running:
    """Say what a worker is running and since when.

    Attributes:
        chunk_id: The chunk.
        offset: The combination's place in the chunk, or None for all of them at once.
        start_time: Monotonic seconds when this backtest, or this batch, began.
    """

    chunk_id: int
    offset: int | None
    start_time: float


class Activity:
    """Read and write the shared words of one worker, from either side.

    Args:
        descriptor: Of a file that `shared_words` made; it may be closed afterwards.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _WORDS * 8)
        self._words = memoryview(self._map).cast("Q")

    def begin_chunk(self, chunk_id: int) -> None:
        """Note in the worker that the backtests that follow belong to this chunk."""
        self._words[_CHUNK_ID] = chunk_id

    def begin_backtest(self, offset: int) -> int:
        """Note in the worker that a backtest starts. Returns the monotonic time in nanoseconds."""
        return self._begin(offset)

    def begin_batch(self) -> int:
        """Note in the worker that a batch starts. Returns the time as `begin_backtest` does."""
        return self._begin(_WHOLE_CHUNK)

    def idle(self) -> None:
        """Note in the worker that no backtest is running."""
        self._words[_OFFSET] = _IDLE

    def running(self) -> Running | None:
        """Return in the server what the worker is running; None between backtests."""
        offset = self._words[_OFFSET]
        if offset == _IDLE:
            return None
        place = None if offset == _WHOLE_CHUNK else offset
        return Running(self._words[_CHUNK_ID], place, self._words[_STARTED] / 1e9)

    def close(self) -> None:
        """Unmap the words; neither side may use this object afterwards."""
        self._words.release()
        self._map.close()

    def _begin(self, offset: int) -> int:
        now = time.monotonic_ns()
        self._words[_STARTED] = now
        self._words[_OFFSET] = offset
        return now


def shared_words() -> int:
    """Make a nameless file for a worker's words, which say "idle"; return its descriptor."""
    if hasattr(os, "memfd_create"):  # not on macOS, and not in every Python on Linux
        descriptor = os.memfd_create("activity")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.write(descriptor, (0).to_bytes(8, "little") + b"\xff" * 8 + (0).to_bytes(8, "little"))
    return descriptor
