"""The scheduler: exactly one outcome each, fair shares, chunks of the right size, little memory."""

from __future__ import annotations

import heapq
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)
from stratsweep_server.execution.activity import Running
from stratsweep_server.execution.blame import assign_blame
from stratsweep_server.execution.scheduler import (
    CHUNK_SECONDS,
    Chunk,
    CombinationQueue,
    FairScheduler,
    RunMode,
)


def queue_of(count: int, *, cost: float | None = None, weight: float = 1.0) -> CombinationQueue:
    """A queue of `count` combinations; with a cost it has learnt what one takes."""
    queue = CombinationQueue(np.arange(count), weight)
    if cost is not None:
        queue.observe(cost, 1)
    return queue


def take(queue: CombinationQueue, worker_count: int = 1, *, fresh: bool = False) -> list[int]:
    return queue.take(worker_count, fresh_worker=fresh)[0].tolist()


class ExactlyOnce(RuleBasedStateMachine):
    """Workers that finish, die, hang and are cancelled in any order."""

    chunks = Bundle("chunks")

    @initialize(worker_count=st.integers(1, 4))
    def start(self, worker_count: int) -> None:
        self.scheduler = FairScheduler(worker_count)
        self.todo: dict[CombinationQueue, set[int]] = {}
        self.suspects: set[tuple[CombinationQueue, int]] = set()
        self.apart: set[tuple[CombinationQueue, int]] = set()
        self.in_flight: dict[CombinationQueue, set[int]] = {}
        self.removed: set[CombinationQueue] = set()

    @rule(count=st.integers(1, 40), weight=st.sampled_from([0.5, 1.0, 3.0]))
    def submit(self, count: int, weight: float) -> None:
        # Combinations that constraints reject are missing from the indices.
        queue = CombinationQueue(np.arange(count) * 3 + 1, weight)
        self.scheduler.add(queue)
        self.todo[queue] = set((np.arange(count) * 3 + 1).tolist())
        self.in_flight[queue] = set()

    @rule(target=chunks, fresh=st.booleans(), ahead=st.booleans())
    def hand_out(self, fresh: bool, ahead: bool = False) -> Chunk | None:
        chunk = self.scheduler.next_chunk(fresh_worker=fresh and not ahead, ahead=ahead)
        if chunk is None and ahead:
            return None
        if chunk is None:
            waiting = [queue for queue in self.todo if self.waits(queue, fresh=fresh)]
            assert not waiting
            return None
        given = set(chunk.indices.tolist())
        suspects = {index for index in given if (chunk.queue, index) in self.suspects}
        assert not ahead or chunk.mode is RunMode.TOGETHER
        assert chunk.queue not in self.removed
        assert len(given) == len(chunk.indices) > 0
        assert given <= self.todo[chunk.queue], "handed out after its outcome"
        assert not given & self.in_flight[chunk.queue], "handed out twice at the same time"
        assert not suspects or (fresh and len(given) == 1)
        assert (chunk.mode is RunMode.ALONE) == bool(suspects)
        apart = {index for index in given - suspects if (chunk.queue, index) in self.apart}
        assert (chunk.mode is RunMode.APART) == bool(apart)
        assert not apart or apart == given
        self.suspects -= {(chunk.queue, index) for index in suspects}
        self.in_flight[chunk.queue] |= given
        return chunk

    def waits(self, queue: CombinationQueue, *, fresh: bool) -> bool:
        waiting = self.todo[queue] - self.in_flight[queue]
        if not fresh:
            waiting -= {index for other, index in self.suspects if other is queue}
        return bool(waiting) and queue not in self.removed

    @rule(chunk=chunks, share=st.floats(0, 1), seconds=st.sampled_from([0.0, 1e-5, 1e-2, 100.0]))
    def complete(self, chunk: Chunk | None, share: float, seconds: float) -> None:
        rest = self.rest_of(chunk)
        if rest:
            count = max(1, round(share * len(rest)))
            self.scheduler.completed(chunk, count, seconds)
            self.settle(chunk, rest[:count])

    @rule(chunk=consumes(chunks), place=st.integers(0, 40), is_named=st.booleans())
    def die(self, chunk: Chunk | None, place: int, is_named: bool) -> None:
        if not self.rest_of(chunk):
            return
        blame = assign_blame(chunk, Running(chunk.chunk_id, place, 0) if is_named else None)
        self.give_back(chunk, blame.innocent)
        if chunk.mode is RunMode.ALONE:
            self.settle(chunk, [blame.suspect])
        else:
            chunk.queue.suspect(blame.suspect)
            self.suspects.add((chunk.queue, blame.suspect))
            self.in_flight[chunk.queue].discard(blame.suspect)

    @rule(chunk=consumes(chunks), place=st.integers(0, 39))
    def time_out(self, chunk: Chunk | None, place: int) -> None:
        rest = self.rest_of(chunk)
        if rest:
            guilty = rest[place % len(rest)]
            self.give_back(chunk, [index for index in rest if index != guilty])
            self.settle(chunk, [guilty])

    @rule(chunk=consumes(chunks))
    def batch_dies(self, chunk: Chunk | None) -> None:
        rest = self.rest_of(chunk)
        if rest and chunk.is_batch:
            assert assign_blame(chunk, Running(chunk.chunk_id, None, 0)).suspect is None
            self.give_back(chunk, rest, apart=True)

    @rule(chunk=consumes(chunks))
    def cancel_worker(self, chunk: Chunk | None) -> None:
        rest = self.rest_of(chunk)
        if rest:
            self.give_back(chunk, rest)

    @rule(data=st.data())
    def cancel_optimization(self, data: st.DataObject) -> None:
        alive = [queue for queue in self.todo if queue not in self.removed]
        if alive:
            queue = data.draw(st.sampled_from(alive))
            self.scheduler.remove(queue)
            self.removed.add(queue)

    @invariant()
    def counts_what_waits(self) -> None:
        for queue, todo in self.todo.items():
            assert queue.pending_count == len(todo) - len(self.in_flight[queue])

    def rest_of(self, chunk: Chunk | None) -> list[int]:
        return [] if chunk is None or chunk.is_done else chunk.rest()

    def give_back(
        self, chunk: Chunk, innocent: tuple[int, ...] | list[int], *, apart: bool = False
    ) -> None:
        self.scheduler.abandon(chunk, 0.01)
        apart = apart or chunk.mode is RunMode.APART
        chunk.queue.give_back(innocent, apart=apart)
        if apart:
            self.apart |= {(chunk.queue, index) for index in innocent}
        self.in_flight[chunk.queue] -= set(innocent)

    def settle(self, chunk: Chunk, indices: list[int]) -> None:
        assert set(indices) <= self.in_flight[chunk.queue]
        self.todo[chunk.queue] -= set(indices)
        self.in_flight[chunk.queue] -= set(indices)

    def teardown(self) -> None:
        """Whatever happened, fresh workers bring everything else to its end."""
        if not hasattr(self, "scheduler"):
            return
        while (chunk := self.hand_out(fresh=True)) is not None:
            self.complete(chunk, 1.0, 0.01)
        for queue, todo in self.todo.items():
            assert queue in self.removed or todo == self.in_flight[queue]


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=60, stateful_step_count=40)


def test_combinations_go_out_in_their_order():
    queue = queue_of(100, cost=0.001)
    taken = [index for _ in range(200) for index in take(queue, 2)]
    assert taken == list(range(100))


def test_what_a_dead_worker_leaves_goes_first_again_and_in_order():
    queue = queue_of(100, cost=0.001)
    lost = take(queue)
    later = take(queue)
    queue.give_back(later)
    queue.give_back(lost[2:])
    assert [index for _ in range(100) for index in take(queue)] == list(range(2, 100))


def test_a_weight_must_be_positive():
    with pytest.raises(ValueError, match="weight must be positive, not 0"):
        queue_of(1, weight=0)


# Chunk sizes.


def test_one_at_a_time_while_the_cost_is_unknown():
    queue = queue_of(1_000)
    assert [len(take(queue, 2)) for _ in range(5)] == [1] * 5


def test_a_chunk_grows_step_by_step_towards_50_milliseconds():
    queue = queue_of(1_000_000, cost=1e-6)
    sizes = [len(take(queue, 2)) for _ in range(8)]
    assert 1 < sizes[0] <= 8
    assert all(later <= 8 * earlier for earlier, later in itertools.pairwise(sizes))
    assert sizes[-1] == pytest.approx(CHUNK_SECONDS / 1e-6, rel=0.01)


@given(cost=st.floats(1e-7, 10))
def test_a_chunk_never_takes_much_more_than_50_milliseconds(cost):
    queue = queue_of(10_000_000, cost=cost)
    sizes = [len(take(queue, 2)) for _ in range(10)]
    assert all(size == 1 or size * cost <= CHUNK_SECONDS * 1.001 for size in sizes)


@given(cost=st.floats(1e-7, 1), timeout=st.floats(1e-3, 1))
def test_a_chunk_never_takes_more_than_it_may(cost, timeout):
    queue = CombinationQueue(np.arange(10_000_000), chunk_seconds=timeout / 4)
    queue.observe(cost, 1)
    sizes = [len(take(queue, 2)) for _ in range(10)]
    assert all(size == 1 or size * cost <= timeout / 4 * 1.001 for size in sizes)


def test_slow_backtests_go_one_by_one():
    queue = queue_of(100, cost=0.2)
    assert [len(take(queue, 2)) for _ in range(100)] == [1] * 100


@given(count=st.integers(1, 3_000), worker_count=st.integers(1, 16))
def test_chunks_shrink_towards_the_end(count, worker_count):
    queue = queue_of(count, cost=1.5e-3)
    sizes = []
    while queue.pending_count:
        pending = queue.pending_count
        sizes.append(len(take(queue, worker_count)))
        assert sizes[-1] <= max(1, -(-pending // (2 * worker_count)))
    assert sum(sizes) == count
    assert sizes[-1] == 1


def test_the_last_chunks_are_still_worth_their_way():
    queue = queue_of(100_000, cost=1e-6)
    sizes = []
    while queue.pending_count:
        sizes.append(len(take(queue, 2)))
    assert sum(sizes) == 100_000
    assert min(sizes[5:-1]) == 2_000


def test_a_cost_that_changes_is_learnt_again():
    queue = queue_of(1_000_000, cost=1e-5)
    for _ in range(4):
        take(queue, 2)
    for _ in range(30):
        queue.observe(0.025, 1)
    assert len(take(queue, 2)) in (1, 2)


def test_many_backtests_weigh_as_much_as_each_of_them_observed_on_its_own():
    together, one_by_one = queue_of(10, cost=1.0), queue_of(10, cost=1.0)
    together.observe(0.05, 5)
    for _ in range(5):
        one_by_one.observe(0.01, 1)
    assert together.expected_cost() == pytest.approx(one_by_one.expected_cost())


def test_what_the_first_chunk_took_to_warm_up_is_forgotten_after_a_large_one():
    queue = queue_of(1_000_000, cost=0.02)
    queue.observe(1e-6 * 64, 64)
    assert queue.expected_cost() == pytest.approx(1e-6, rel=1e-3)


def test_backtests_that_take_no_measurable_time_are_no_division_by_zero():
    queue = queue_of(1_000, cost=0.0)
    assert take(queue, 2)


# Suspects.


def test_a_suspect_runs_on_a_fresh_worker_only_and_alone():
    scheduler, queue = FairScheduler(2), queue_of(100, cost=0.001)
    scheduler.add(queue)
    chunk = scheduler.next_chunk(fresh_worker=False)
    scheduler.abandon(chunk, 0.0)
    queue.suspect(int(chunk.indices[0]))
    queue.give_back(chunk.rest()[1:])
    used = scheduler.next_chunk(fresh_worker=False)
    fresh = scheduler.next_chunk(fresh_worker=True)
    assert int(chunk.indices[0]) not in used.indices
    assert used.mode is RunMode.TOGETHER
    assert fresh.indices.tolist() == [int(chunk.indices[0])]
    assert fresh.mode is RunMode.ALONE


def test_a_suspect_has_first_claim_on_a_fresh_worker_though_its_queue_has_consumed_most():
    scheduler, greedy, modest = FairScheduler(2), queue_of(10, cost=1), queue_of(10, cost=1)
    scheduler.add(greedy)
    scheduler.add(modest)
    greedy.virtual_time = 1_000.0
    greedy.suspect(take(greedy)[0])
    assert scheduler.next_chunk(fresh_worker=True).queue is greedy
    assert scheduler.next_chunk(fresh_worker=True).queue is modest


def test_a_used_worker_gets_nothing_when_only_suspects_wait():
    scheduler, queue = FairScheduler(2), queue_of(1)
    scheduler.add(queue)
    queue.suspect(take(queue)[0])
    assert queue.has_suspects
    assert scheduler.next_chunk(fresh_worker=False) is None
    assert scheduler.next_chunk(fresh_worker=True).mode is RunMode.ALONE
    assert not queue.has_suspects


def test_suspects_are_not_handed_out_with_the_rest():
    queue = queue_of(5, cost=1e-3)
    for index in take(queue):
        queue.suspect(index)
    assert queue.pending_count == 5
    assert take(queue) == [3, 4]
    assert queue.pending_count == 3


# What runs apart.


def test_what_a_dead_batch_leaves_goes_first_apart_and_in_order():
    queue = queue_of(100, cost=0.001)
    lost = take(queue, 2)
    queue.give_back(lost, apart=True)
    taken = [queue.take(2, fresh_worker=False) for _ in range(200)]
    apart = [indices.tolist() for indices, mode in taken if mode is RunMode.APART]
    assert list(itertools.chain(*apart)) == lost
    assert list(itertools.chain(*(indices.tolist() for indices, _ in taken))) == list(range(100))


def test_what_runs_apart_has_a_pace_of_its_own():
    queue = queue_of(1_000_000, cost=1e-6)
    while len(lost := take(queue, 2)) < 10_000:
        pass
    queue.give_back(lost, apart=True)
    assert queue.pending_count > 900_000
    sizes = []
    for _ in range(4):
        indices, mode = queue.take(2, fresh_worker=False)
        assert mode is RunMode.APART
        sizes.append(len(indices))
        queue.observe(0.001 * len(indices), len(indices), mode)
    assert sizes == [1, 8, 50, 50]
    assert queue.expected_cost() == pytest.approx(1e-6)


# Chunks ahead.


def steady_queue(count: int = 1_000_000, *, cost: float = 0.001) -> CombinationQueue:
    """A queue that hands out chunks of full length."""
    queue = queue_of(count, cost=cost)
    for _ in range(8):
        take(queue, 2)
    return queue


def chunk_ahead(*queues: CombinationQueue) -> Chunk | None:
    scheduler = FairScheduler(2)
    for queue in queues:
        scheduler.add(queue)
    return scheduler.next_chunk(fresh_worker=False, ahead=True)


def test_where_there_is_plenty_a_full_chunk_is_given_ahead_and_charged():
    queue = steady_queue()
    chunk = chunk_ahead(queue)
    assert len(chunk.indices) == 50
    assert queue.virtual_time == pytest.approx(0.05)


@pytest.mark.parametrize(
    "queue",
    [
        pytest.param(queue_of(1_000_000), id="its cost is unknown"),
        pytest.param(queue_of(1_000_000, cost=0.001), id="its chunks are still growing"),
        pytest.param(steady_queue(550), id="its chunks shrink towards the end"),
        pytest.param(steady_queue(cost=0.06), id="its backtests are slow"),
    ],
)
def test_nothing_is_given_ahead_of_a_queue_when(queue):
    assert queue.has_work(fresh_worker=False)
    assert chunk_ahead(queue) is None


def test_what_runs_apart_or_alone_is_not_given_ahead():
    queue = steady_queue()
    queue.suspect(take(queue, 2)[0])
    assert chunk_ahead(queue).mode is RunMode.TOGETHER
    queue.give_back(take(queue, 2), apart=True)
    assert chunk_ahead(queue) is None


def test_a_chunk_ahead_is_not_taken_from_a_queue_whose_turn_it_is_not():
    scheduler, newcomer, backlog = FairScheduler(2), queue_of(10), steady_queue()
    scheduler.add(newcomer)
    scheduler.add(backlog)
    backlog.virtual_time = 1.0
    assert scheduler.next_chunk(fresh_worker=False, ahead=True) is None
    backlog.virtual_time = -1.0
    assert scheduler.next_chunk(fresh_worker=False, ahead=True).queue is backlog


# Fairness.


class Workers:
    """Simulated workers: each runs chunks whose backtests take what `cost_of` says."""

    def __init__(self, scheduler: FairScheduler, worker_count: int, cost_of) -> None:
        self.scheduler = scheduler
        self.cost_of = cost_of
        self.now = 0.0
        self.idle_count = worker_count
        self.busy: dict[CombinationQueue, float] = {}
        self.longest: dict[CombinationQueue, float] = {}
        self._order = itertools.count()
        self._running: list[tuple[float, int, Chunk, float]] = []

    def step(self) -> None:
        """Feed every idle worker, then let the first one finish."""
        while self.idle_count and (chunk := self.scheduler.next_chunk(fresh_worker=False)):
            duration = sum(self.cost_of(chunk.queue, index) for index in chunk.indices.tolist())
            self.longest[chunk.queue] = max(self.longest.get(chunk.queue, 0.0), duration)
            self.idle_count -= 1
            end = self.now + duration
            heapq.heappush(self._running, (end, next(self._order), chunk, duration))
        self.now, _, chunk, duration = heapq.heappop(self._running)
        self.scheduler.completed(chunk, len(chunk.indices), duration)
        self.busy[chunk.queue] = self.busy.get(chunk.queue, 0.0) + duration
        self.idle_count += 1


costs = st.floats(1e-4, 10.0)


@given(costs, costs, st.integers(0, 2**32 - 1))
def test_busy_times_of_two_busy_queues_never_differ_by_more_than_a_chunk_each(first, second, seed):
    random = np.random.default_rng(seed)
    scheduler, queues = FairScheduler(1), [queue_of(10**6), queue_of(10**6)]
    mean = dict(zip(queues, (first, second), strict=True))
    for queue in queues:
        scheduler.add(queue)
    workers = Workers(scheduler, 1, lambda queue, index: mean[queue] * random.lognormal())
    for _ in range(200):
        workers.step()
        busy = [workers.busy.get(queue, 0.0) for queue in queues]
        one_chunk_each = sum(workers.longest.get(queue, 0.0) for queue in queues)
        assert abs(busy[0] - busy[1]) <= one_chunk_each * 1.000001


@given(costs, costs, st.integers(1, 8), st.sampled_from([0.25, 1.0, 4.0]))
def test_shares_follow_the_weights_for_any_number_of_workers(first, second, worker_count, weight):
    queues = [queue_of(10**6), queue_of(10**6, weight=weight)]
    cost = dict(zip(queues, (first, second), strict=True))
    scheduler = FairScheduler(worker_count)
    for queue in queues:
        scheduler.add(queue)
    workers = Workers(scheduler, worker_count, lambda queue, index: cost[queue])
    for _ in range(400):
        workers.step()
        consumed = [workers.busy.get(queue, 0.0) / queue.weight for queue in queues]
        chunks = [workers.longest.get(queue, 0.0) / queue.weight for queue in queues]
        assert abs(consumed[0] - consumed[1]) <= (worker_count + 1) * sum(chunks)


def test_three_equal_optimizations_finish_together():
    scheduler, queues = FairScheduler(2), [queue_of(500) for _ in range(3)]
    for queue in queues:
        scheduler.add(queue)
    workers = Workers(scheduler, 2, lambda queue, index: 0.005)
    ends: dict[CombinationQueue, float] = {}
    while len(ends) < 3:
        workers.step()
        for queue in queues:
            if not queue.pending_count:
                ends.setdefault(queue, workers.now)
    assert max(ends.values()) - min(ends.values()) <= 4 * CHUNK_SECONDS


@given(st.floats(0.001, 5.0), st.integers(1, 8))
def test_a_newcomer_gets_its_share_at_once_and_no_more(cost, worker_count):
    scheduler, backlog, newcomer = FairScheduler(worker_count), queue_of(10**6), queue_of(10**6)
    scheduler.add(backlog)
    workers = Workers(scheduler, worker_count, lambda queue, index: cost)
    for _ in range(300):
        workers.step()
    scheduler.add(newcomer)
    before = workers.busy[backlog]
    for _ in range(2):
        workers.step()
    assert newcomer in workers.longest
    for _ in range(300):
        workers.step()
    longest = max(workers.longest.values())
    gained = workers.busy[backlog] - before
    assert abs(workers.busy[newcomer] - gained) <= (2 * worker_count + 1) * longest


def test_a_newcomer_whose_backtests_take_minutes_is_not_given_every_worker():
    scheduler, backlog, newcomer = FairScheduler(8), queue_of(10**6, cost=0.001), queue_of(10**6)
    scheduler.add(backlog)
    scheduler.add(newcomer)
    chunks = [scheduler.next_chunk(fresh_worker=False) for _ in range(8)]
    assert sum(chunk.queue is newcomer for chunk in chunks) in range(2, 7)


def test_unknown_newcomers_take_turns():
    scheduler, queues = FairScheduler(4), [queue_of(10), queue_of(10)]
    for queue in queues:
        scheduler.add(queue)
    chunks = [scheduler.next_chunk(fresh_worker=False) for _ in range(4)]
    assert [chunk.queue for chunk in chunks] == [*queues, *queues]


def test_a_queue_that_only_waits_for_its_last_backtest_is_no_measure_for_newcomers():
    scheduler, last, backlog = FairScheduler(2), queue_of(1), queue_of(10**6, cost=1.0)
    scheduler.add(last)
    scheduler.next_chunk(fresh_worker=False)
    scheduler.add(backlog)
    backlog.virtual_time = 3_600.0
    newcomer = queue_of(10**6, cost=1.0)
    scheduler.add(newcomer)
    chunks = [scheduler.next_chunk(fresh_worker=False) for _ in range(10)]
    assert sum(chunk.queue is newcomer for chunk in chunks) == 5


def test_a_queue_that_was_removed_gets_nothing_more():
    scheduler, gone, stays = FairScheduler(1), queue_of(10), queue_of(10)
    scheduler.add(gone)
    scheduler.add(stays)
    scheduler.remove(gone)
    scheduler.remove(gone)
    assert scheduler.queues == (stays,)
    assert scheduler.next_chunk(fresh_worker=False).queue is stays


def test_time_spent_on_what_was_lost_counts_against_its_queue():
    scheduler, unlucky, other = FairScheduler(1), queue_of(10, cost=1.0), queue_of(10, cost=1.0)
    scheduler.add(unlucky)
    scheduler.add(other)
    chunk = scheduler.next_chunk(fresh_worker=False)
    scheduler.abandon(chunk, 3.0)
    unlucky.give_back(chunk.rest())
    served = [scheduler.next_chunk(fresh_worker=False).queue for _ in range(3)]
    assert served == [other] * 3


# Memory.


def test_a_million_pending_combinations_are_no_objects():
    indices = np.arange(1_000_000)
    tracemalloc.start()
    try:
        queue = CombinationQueue(indices)
        queue.observe(1e-6, 1)
        for _ in range(10):
            queue.take(2, fresh_worker=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024
