"""Which combinations run next, and how many at a time. Pure: no clock, no process, no event loop.

Concurrent optimizations share the workers by virtual time: each queue has consumed some worker
seconds, divided by its weight; work handed out and not yet answered counts at its expected cost;
the queue that has consumed least is served next. A newcomer starts at the least that those who wait
have, so it gets its share at once and no more.

A chunk grows from one combination until it takes about 50 ms, and shrinks towards the end so that
the workers finish together.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK_SECONDS = 0.05
_GROWTH = 8
_COST_SMOOTHING = 0.3


class CombinationQueue:
    """The combinations of one optimization that still have to run.

    Pending ones are a cursor into an array: 8 bytes each.

    Args:
        indices: Combination indices to run, in this order.
        weight: Share of the workers relative to other queues; positive.
    """

    def __init__(self, indices: NDArray[np.int64], weight: float = 1.0) -> None:
        if weight <= 0:
            raise ValueError(f"weight must be positive, not {weight}")
        self.weight = weight
        self.virtual_time = 0.0
        self.expected_cost: float | None = None
        self._indices = indices
        self._position = 0
        self._returned: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._chunk_size = 0

    @property
    def pending_count(self) -> int:
        """Combinations that nobody runs now, suspects included."""
        return len(self._indices) - self._position + len(self._returned) + len(self._suspects)

    @property
    def has_suspects(self) -> bool:
        """Whether a combination waits to be run again, alone on a fresh worker."""
        return bool(self._suspects)

    def has_work(self, *, fresh_worker: bool) -> bool:
        """Whether `take` would give a worker something; suspects go to fresh workers only."""
        return self.pending_count > (0 if fresh_worker else len(self._suspects))

    def take(self, worker_count: int, *, fresh_worker: bool) -> tuple[NDArray[np.int64], bool]:
        """Take the next combinations. Returns them and whether they are a suspect to run alone."""
        if fresh_worker and self._suspects:
            return np.array([self._suspects.popleft()], dtype=np.int64), True
        size = self._next_size(worker_count)
        again = [self._returned.popleft() for _ in range(min(size, len(self._returned)))]
        rest = self._indices[self._position : self._position + size - len(again)]
        self._position += len(rest)
        taken = np.concatenate([np.array(again, dtype=np.int64), rest]) if again else rest
        self._chunk_size = len(taken)
        return taken, False

    def give_back(self, indices: Sequence[int]) -> None:
        """Return combinations to the front of the queue, unpenalised."""
        self._returned.extendleft(reversed(indices))

    def suspect(self, index: int) -> None:
        """Have a combination run again, alone on a fresh worker."""
        self._suspects.append(index)

    def observe(self, busy_duration: float, count: int) -> None:
        """Learn what `count` backtests cost: worker seconds in all."""
        cost = busy_duration / count
        if self.expected_cost is None:
            self.expected_cost = cost
        else:
            self.expected_cost += _COST_SMOOTHING * (cost - self.expected_cost)

    def _next_size(self, worker_count: int) -> int:
        if self.expected_cost is None:
            return 1
        by_time = int(CHUNK_SECONDS / max(self.expected_cost, 1e-9))
        by_growth = max(self._chunk_size, 1) * _GROWTH
        by_end = -(-self.pending_count // (2 * worker_count))
        return max(1, min(by_time, by_growth, by_end))


@dataclass(slots=True, eq=False)
class Chunk:
    """Combinations that a worker was given together.

    Attributes:
        chunk_id: Unique in this server.
        queue: Where they came from.
        indices: int64 combination indices, in the order in which they run.
        alone: Whether this is a suspect's second run, whose crash is final.
        done_count: How many have an outcome; they arrive in order.
        charged: Virtual time charged in advance for what is not done.
    """

    chunk_id: int
    queue: CombinationQueue
    indices: NDArray[np.int64]
    alone: bool = False
    done_count: int = 0
    charged: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether every combination has its outcome."""
        return self.done_count == len(self.indices)

    def rest(self) -> list[int]:
        """The combination indices without an outcome."""
        rest: list[int] = self.indices[self.done_count :].tolist()
        return rest


class FairScheduler:
    """Shares the workers among the queues.

    Args:
        worker_count: The number of workers, at least 1.
    """

    def __init__(self, worker_count: int) -> None:
        self._worker_count = worker_count
        self._queues: list[CombinationQueue] = []
        self._chunk_ids = itertools.count(1)

    @property
    def queues(self) -> tuple[CombinationQueue, ...]:
        """The queues that share the workers now."""
        return tuple(self._queues)

    def add(self, queue: CombinationQueue) -> None:
        """Let a queue take part, from now on as an equal of those that are here."""
        # One that waits for nothing but its last long backtest stands still: no measure for others.
        waiting = [
            other.virtual_time for other in self._queues if other.has_work(fresh_worker=False)
        ]
        everyone = (other.virtual_time for other in self._queues)
        queue.virtual_time = min(waiting) if waiting else max(everyone, default=0.0)
        self._queues.append(queue)

    def remove(self, queue: CombinationQueue) -> None:
        """Forget a queue and what is pending in it."""
        if queue in self._queues:
            self._queues.remove(queue)

    def next_chunk(self, *, fresh_worker: bool) -> Chunk | None:
        """Take work for one worker from the queue that has consumed least.

        Args:
            fresh_worker: Whether the worker has run no backtest yet, so that a suspect can run on
            it.
        """
        able = [queue for queue in self._queues if queue.has_work(fresh_worker=fresh_worker)]
        if not able:
            return None
        # A death makes one fresh worker and at most one suspect: the suspect has first claim on it.
        waiting = [queue for queue in able if fresh_worker and queue.has_suspects]
        queue = min(waiting or able, key=lambda able_queue: able_queue.virtual_time)
        indices, alone = queue.take(self._worker_count, fresh_worker=fresh_worker)
        chunk = Chunk(next(self._chunk_ids), queue, indices, alone)
        chunk.charged = len(indices) * self._expected_cost(queue) / queue.weight
        queue.virtual_time += chunk.charged
        return chunk

    def completed(self, chunk: Chunk, count: int, busy_duration: float) -> None:
        """The next `count` combinations of a chunk took `busy_duration` worker seconds."""
        queue = chunk.queue
        queue.observe(busy_duration, count)
        refund = chunk.charged * count / (len(chunk.indices) - chunk.done_count)
        chunk.charged -= refund
        chunk.done_count += count
        queue.virtual_time += busy_duration / queue.weight - refund

    def abandon(self, chunk: Chunk, busy_duration: float) -> None:
        """A chunk's worker is gone; it spent `busy_duration` seconds on what has no outcome."""
        chunk.queue.virtual_time += busy_duration / chunk.queue.weight - chunk.charged
        chunk.charged = 0.0

    def _expected_cost(self, queue: CombinationQueue) -> float:
        """Worker seconds of a backtest; while unknown as much as another queue's chunk takes.

        So a newcomer whose backtests take minutes is not given every worker before the first ends.
        """
        if queue.expected_cost is not None:
            return queue.expected_cost
        known = (other.expected_cost for other in self._queues)
        return max([CHUNK_SECONDS, *(cost for cost in known if cost is not None)])
