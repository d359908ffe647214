"""Choose which combinations run next, and how many at a time.

Pure: no clock, no process, no event loop.

Concurrent optimizations share the workers by virtual time: each queue has consumed some worker
seconds, divided by its weight; work handed out and not yet answered counts at its expected cost;
the queue that has consumed least is served next. A newcomer starts at the least that those who wait
have, so it gets its share at once and no more.

A chunk grows from one combination until it takes about 50 ms, or a quarter of a short timeout, and
shrinks towards the end so that the workers finish together, but not below 2 ms: its way to a worker
and back takes a fraction of one.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

CHUNK_SECONDS = 0.05
_LEAST_CHUNK_SECONDS = 0.002
_GROWTH = 8
_COST_SMOOTHING = 0.3


class RunMode(Enum):
    """Name how a worker runs the combinations of a chunk.

    Attributes:
        TOGETHER: As one batch, where the engine takes batches.
        APART: One after another, since a batch with them in it has hung or died.
        ALONE: One, on a fresh worker: a suspect, whose crash is final.
    """

    TOGETHER = "together"
    APART = "apart"
    ALONE = "alone"


class Pace:
    """Estimate what a backtest costs, and so how many go out at a time.

    Attributes:
        expected_cost: Worker seconds of a backtest; None before the first.
    """

    def __init__(self) -> None:
        self.expected_cost: float | None = None
        self._chunk_size = 1

    def observe(self, busy_duration: float, count: int) -> None:
        """Learn from `count` backtests of equal cost: `busy_duration` worker seconds in all."""
        cost = busy_duration / count
        if self.expected_cost is None:
            self.expected_cost = cost
        else:
            weight = 1 - (1 - _COST_SMOOTHING) ** count
            self.expected_cost += weight * (cost - self.expected_cost)

    def is_steady(self, chunk_seconds: float, share: int) -> bool:
        """Return whether time alone limits the next chunk, and not to a single backtest."""
        if self.expected_cost is None or self.expected_cost > chunk_seconds:
            return False
        by_time = int(chunk_seconds / max(self.expected_cost, 1e-9))
        return by_time <= min(self._chunk_size * _GROWTH, share)

    def next_size(self, chunk_seconds: float, share: int) -> int:
        """Return how many to hand out next: at most `share`, or as many as take 2 ms."""
        size = 1
        if self.expected_cost is not None:
            cost = max(self.expected_cost, 1e-9)
            by_end = max(share, int(_LEAST_CHUNK_SECONDS / cost))
            size = max(1, min(int(chunk_seconds / cost), self._chunk_size * _GROWTH, by_end))
        self._chunk_size = size
        return size


class CombinationQueue:
    """Queue the combinations of one optimization that still have to run.

    Pending ones are a cursor into an array: 8 bytes each.

    Args:
        indices: Combination indices to run, in this order.
        weight: Share of the workers relative to other queues; positive.
        chunk_seconds: How long a chunk may take, if a single backtest does not take longer.
        generation: Number of the generation whose workers may run them.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        weight: float = 1.0,
        chunk_seconds: float = CHUNK_SECONDS,
        generation: int = 0,
    ) -> None:
        if weight <= 0:
            raise ValueError(f"weight must be positive, not {weight}")
        self.weight = weight
        self.generation = generation
        self.virtual_time = 0.0
        self._chunk_seconds = chunk_seconds
        self._indices = indices
        self._position = 0
        self._returned: deque[int] = deque()
        self._apart: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._batch_pace, self._single_pace = Pace(), Pace()

    @property
    def pending_count(self) -> int:
        """Return the number of combinations that nobody runs now, suspects included."""
        again_count = len(self._returned) + len(self._apart) + len(self._suspects)
        return len(self._indices) - self._position + again_count

    @property
    def has_suspects(self) -> bool:
        """Return whether a combination waits to be run again, alone on a fresh worker."""
        return bool(self._suspects)

    def has_work(self, *, fresh_worker: bool) -> bool:
        """Return whether `take` would give a worker any; suspects go to fresh workers only."""
        return self.pending_count > (0 if fresh_worker else len(self._suspects))

    def has_plenty(self, worker_count: int) -> bool:
        """Return whether workers may be given a chunk ahead, while they are on another one."""
        share = self._share(worker_count)
        return not self._apart and self._batch_pace.is_steady(self._chunk_seconds, share)

    def take(self, worker_count: int, *, fresh_worker: bool) -> tuple[NDArray[np.int64], RunMode]:
        """Take the next combinations. Returns them and how to run them."""
        if fresh_worker and self._suspects:
            return _front(self._suspects, 1), RunMode.ALONE
        mode = RunMode.APART if self._apart else RunMode.TOGETHER
        size = self._pace(mode).next_size(self._chunk_seconds, self._share(worker_count))
        if mode is RunMode.APART:
            return _front(self._apart, size), mode
        again = _front(self._returned, size)
        rest = self._indices[self._position : self._position + size - len(again)]
        self._position += len(rest)
        return np.concatenate([again, rest]) if len(again) else rest, mode

    def give_back(self, indices: Sequence[int], *, apart: bool = False) -> None:
        """Return combinations to the front of the queue, unpenalised."""
        (self._apart if apart else self._returned).extendleft(reversed(indices))

    def suspect(self, index: int) -> None:
        """Queue a combination to run again, alone on a fresh worker."""
        self._suspects.append(index)

    def observe(self, busy_duration: float, count: int, mode: RunMode = RunMode.TOGETHER) -> None:
        """Learn what `count` backtests cost: `busy_duration` worker seconds in all."""
        self._pace(mode).observe(busy_duration, count)

    def expected_cost(self, mode: RunMode = RunMode.TOGETHER) -> float | None:
        """Return the worker seconds that a backtest takes; None while that is unknown."""
        return self._pace(mode).expected_cost

    def _share(self, worker_count: int) -> int:
        return -(-self.pending_count // (2 * worker_count))

    def _pace(self, mode: RunMode) -> Pace:
        return self._batch_pace if mode is RunMode.TOGETHER else self._single_pace


def _front(indices: deque[int], count: int) -> NDArray[np.int64]:
    taken = [indices.popleft() for _ in range(min(count, len(indices)))]
    return np.array(taken, dtype=np.int64)


@dataclass(slots=True, eq=False)
class Chunk:
    """Hold combinations that a worker was given together.

    Attributes:
        chunk_id: Unique in this server.
        queue: Where they came from.
        indices: int64 combination indices, in the order in which they run.
        mode: How they run.
        done_count: How many have an outcome; they arrive in order.
        charged: Virtual time charged in advance for what is not done.
    """

    chunk_id: int
    queue: CombinationQueue
    indices: NDArray[np.int64]
    mode: RunMode = RunMode.TOGETHER
    done_count: int = 0
    charged: float = 0.0

    @property
    def is_done(self) -> bool:
        """Return whether every combination has its outcome."""
        return self.done_count == len(self.indices)

    @property
    def is_batch(self) -> bool:
        """Return whether a worker may run several of the combinations at once."""
        return self.mode is RunMode.TOGETHER and len(self.indices) > 1

    def rest(self) -> list[int]:
        """Return the combination indices without an outcome."""
        rest: list[int] = self.indices[self.done_count :].tolist()
        return rest


class FairScheduler:
    """Share the workers fairly among the queues.

    Args:
        worker_count: The number of workers, at least 1.
    """

    def __init__(self, worker_count: int) -> None:
        self._worker_count = worker_count
        self._queues: list[CombinationQueue] = []
        self._chunk_ids = itertools.count(1)

    @property
    def queues(self) -> tuple[CombinationQueue, ...]:
        """Return the queues that share the workers now."""
        return tuple(self._queues)

    def add(self, queue: CombinationQueue) -> None:
        """Add a queue, which from now on has an equal claim with those that are here."""
        # A queue that only waits for its last running backtests stands still, and measures nothing.
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

    def next_chunk(
        self, *, fresh_worker: bool, ahead: bool = False, generation: int = 0
    ) -> Chunk | None:
        """Take work for one worker from the queue that has consumed least; None if there is none.

        Args:
            fresh_worker: Whether the worker has run no backtest yet, so that a suspect can run on
                it.
            ahead: Whether the worker is still on another chunk; only plenty is given ahead.
            generation: The worker's.
        """
        able = [
            queue
            for queue in self._queues
            if queue.generation == generation and queue.has_work(fresh_worker=fresh_worker)
        ]
        if not able:
            return None
        # A death makes one fresh worker and at most one suspect: the suspect has first claim on it.
        waiting = [queue for queue in able if fresh_worker and queue.has_suspects]
        queue = min(waiting or able, key=lambda able_queue: able_queue.virtual_time)
        if ahead and not queue.has_plenty(self._worker_count):
            return None
        indices, mode = queue.take(self._worker_count, fresh_worker=fresh_worker)
        chunk = Chunk(next(self._chunk_ids), queue, indices, mode)
        chunk.charged = len(indices) * self._expected_cost(queue, mode) / queue.weight
        queue.virtual_time += chunk.charged
        return chunk

    def completed(self, chunk: Chunk, count: int, busy_duration: float) -> None:
        """Book that a chunk's next `count` combinations took `busy_duration` worker seconds."""
        queue = chunk.queue
        queue.observe(busy_duration, count, chunk.mode)
        refund = chunk.charged * count / (len(chunk.indices) - chunk.done_count)
        chunk.charged -= refund
        chunk.done_count += count
        queue.virtual_time += busy_duration / queue.weight - refund

    def abandon(self, chunk: Chunk, busy_duration: float) -> None:
        """Book that a worker is gone, after `busy_duration` seconds on what has no outcome."""
        chunk.queue.virtual_time += busy_duration / chunk.queue.weight - chunk.charged
        chunk.charged = 0.0

    def _expected_cost(self, queue: CombinationQueue, mode: RunMode) -> float:
        """Worker seconds of a backtest; while unknown as much as another queue's chunk takes.

        So a newcomer whose backtests take minutes is not given every worker before the first ends.
        """
        expected_cost = queue.expected_cost(mode)
        if expected_cost is not None:
            return expected_cost
        known = (other.expected_cost() for other in self._queues)
        return max([CHUNK_SECONDS, *(cost for cost in known if cost is not None)])
