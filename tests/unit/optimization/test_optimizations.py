"""The life of optimizations on a pool without processes."""

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack

import numpy as np
import pytest
from stratsweep_server.optimization import WorkersUnavailableError, life
from stratsweep_server.optimization import running as running_module
from stratsweep_server.optimization.config import IntegerRange
from stratsweep_server.optimization.entry import OptimizationEntry
from stratsweep_server.optimization.places import TooManyOptimizationsError
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import (
    OptimizationExistsError,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.optimization.validation import InvalidConfigError, Violation

from tests.waiting import until

from .floor import Floor, SharedStore, events_of, request, stalled


async def test_an_optimization_runs_by_itself_and_is_concluded_once_for_all_who_ask(monkeypatch):
    conclusions = []
    conclude = running_module.conclude
    monkeypatch.setattr(
        running_module, "conclude", lambda *args: conclusions.append(args) or conclude(*args)
    )
    async with Floor().opened(labels={"desk": "rates"}) as entry:
        first, second = await asyncio.gather(entry.result(), entry.result())
        assert first is second
        assert entry.record.state is OptimizationState.SUCCEEDED
    assert (first.best.parameters, entry.log.count) == ({"x": 4}, 4)
    assert entry.record.labels == {"desk": "rates"}
    assert len(conclusions) == 1


async def test_who_stops_waiting_for_the_result_ends_nothing():
    floor = Floor(stall_after=2)
    async with floor.opened() as entry:
        impatient = asyncio.create_task(entry.result())
        await stalled(entry, 2)
        impatient.cancel()
        await asyncio.wait([impatient])
        assert entry.record.state is OptimizationState.RUNNING
        assert not floor.pool.workloads[0].is_cancelled


async def test_an_optimization_is_cancelled_when_the_last_attached_call_is_gone():
    floor = Floor(stall_after=2)
    async with floor.opened(request("a")) as entry:
        async with floor.opened(request("a")) as again:
            assert again is entry
            await stalled(entry, 2)
        assert not floor.pool.workloads[0].is_cancelled
    assert floor.pool.workloads[0].is_cancelled
    assert entry.record.state is OptimizationState.CANCELLED
    assert entry.record.message == "its client left"
    assert entry.log.is_closed


async def test_the_memory_is_held_until_nobody_reads_and_the_place_until_nothing_runs():
    floor = Floor(max_count=1)
    async with floor.opened() as entry:
        await entry.result()
        assert floor.memory.used_bytes == entry.prepared.memory_bytes
        async with floor.opened() as next_one:
            await next_one.result()
    assert floor.memory.used_bytes == 0


async def test_what_keeps_an_optimization_from_starting_is_raised_to_who_opens_it(monkeypatch):
    floor = Floor(SharedStore(), max_count=1)

    def fail(*_, **__):
        raise WorkersUnavailableError("no worker starts")

    monkeypatch.setattr(floor.pool, "submit", fail)
    with pytest.raises(WorkersUnavailableError, match="no worker starts"):
        await floor.run(request("a"))
    assert floor.memory.used_bytes == 0
    with pytest.raises(UnknownOptimizationError):
        floor.store.find("", "a")
    assert not floor.places.is_full


async def test_closing_ends_what_runs_where_nothing_is_kept():
    floor = Floor(stall_after=0)
    async with AsyncExitStack() as stack:
        entries = [await stack.enter_async_context(floor.opened()) for _ in range(2)]
        await floor.optimizations.close()
        assert all(workload.is_cancelled for workload in floor.pool.workloads)
        assert [entry.record.state for entry in entries] == [OptimizationState.CANCELLED] * 2
    assert floor.memory.used_bytes == 0


# Ids.


async def test_two_calls_with_the_same_new_id_start_one():
    floor = Floor()
    first, second = await asyncio.gather(floor.events(request("a")), floor.events(request("a")))
    assert first == second
    assert len(floor.pool.workloads) == 1


async def test_an_id_is_made_that_sorts_by_time():
    floor = Floor()
    async with floor.opened() as first, floor.opened() as second:
        ids = [entry.record.optimization_id for entry in (first, second)]
    assert len(set(ids)) == 2
    assert [len(each) for each in ids] == [26, 26]
    assert ids[0][:10] <= ids[1][:10]


@pytest.mark.parametrize("has_arrow_results", [False, True], ids=["rows", "Arrow"])
async def test_an_ended_one_is_replayed_bit_for_bit_from_any_number(has_arrow_results):
    floor = Floor(SharedStore(), stall_after=None)
    async with floor.opened(request("a")) as entry:
        first = await events_of(entry, has_arrow_results=has_arrow_results)
    for after in (0, 1, 2, 4, 5, 6):
        async with floor.opened(request("a")) as kept:
            assert kept is not entry
            again = await events_of(kept, after, has_arrow_results)
        assert again == first[after:]
    assert len(floor.pool.workloads) == 1
    assert floor.memory.used_bytes == 0


async def test_labels_do_not_count_but_another_config_is_refused_with_what_differs():
    floor = Floor(SharedStore(), stall_after=1)
    config_fields = {"parameters": {"x": IntegerRange(1, 9, 2)}, "symbols": ("SPY", "QQQ")}
    other = request("a", config_fields={"seed": 7, **config_fields})
    same = request("a", labels={"desk": "rates"})
    async with floor.opened(request("a")) as entry:
        async with floor.opened(same) as again:
            assert again is entry
        with pytest.raises(OptimizationExistsError) as caught:
            await floor.run(other)
        floor.optimizations.places.take()
    text = str(caught.value)
    assert "seed is 7 and was 0" in text
    assert "symbols is SPY, QQQ and was SPY" in text
    assert "parameter 'x' is 1 to 9 by 2 and was 1, 2, 3, 4" in text
    with pytest.raises(OptimizationExistsError, match="seed is 7 and was 0"):
        await floor.run(other)


async def test_an_unknown_one_that_there_must_be_is_not_begun():
    floor = Floor()
    with pytest.raises(UnknownOptimizationError, match="a"):
        await floor.run(request("a", must_exist=True))
    assert floor.pool.workloads == []


async def test_violations_are_told_before_anything_else():
    floor = Floor()
    wrong = request("a", violations=[Violation("optimization_id", "is wrong")])
    with pytest.raises(InvalidConfigError, match="is wrong"):
        await floor.run(wrong)
    async with floor.opened(request("a")):
        with pytest.raises(InvalidConfigError, match="is wrong"):
            await floor.run(wrong)


async def test_looking_begins_nothing():
    floor = Floor()
    assert await floor.optimizations.look_at(request("a"))
    with pytest.raises(UnknownOptimizationError):
        await floor.optimizations.find("a")
    assert floor.memory.used_bytes == 0


# Leaving.


async def test_within_its_grace_a_client_finds_what_it_left():
    floor = Floor(stall_after=2)
    async with floor.opened(request("a", abandon_grace=60.0)) as entry:
        await stalled(entry, 2)
    async with floor.opened(request("a")) as again:
        assert again is entry
        assert again.log.count == 2
        assert not floor.pool.workloads[0].is_cancelled


async def test_after_its_grace_it_is_cancelled():
    floor = Floor(stall_after=2)
    async with floor.opened(request("a", abandon_grace=60.0)) as entry:
        await stalled(entry, 2)
    async with floor.opened(request("a", abandon_grace=0.01)):
        pass
    await until(lambda: entry.record.state is OptimizationState.CANCELLED, "its grace was over")
    assert (entry.record.completed_count, entry.record.message) == (2, "its client left")


async def test_a_detached_one_goes_on_without_a_client():
    floor = Floor(SharedStore())
    async with floor.opened(request("a", is_detached=True)) as entry:
        pass
    await entry.over()
    found = await floor.optimizations.find("a")
    assert found.record.state is OptimizationState.SUCCEEDED
    assert (await found.result()).best.parameters == {"x": 4}
    assert floor.memory.used_bytes == 0


async def test_what_nothing_keeps_is_forgotten_after_its_grace():
    floor = Floor()
    async with floor.opened(request("a", abandon_grace=0.01)) as entry:
        await entry.result()
    assert await floor.optimizations.find("a") is entry
    await until(lambda: floor.memory.used_bytes == 0, "it was forgotten")
    with pytest.raises(UnknownOptimizationError):
        await floor.optimizations.find("a")


async def test_its_grace_begins_anew_whenever_the_last_call_has_left():
    floor = Floor()
    async with floor.opened(request("a", abandon_grace=0.01)) as entry:
        await entry.result()
    async with floor.opened(request("a", abandon_grace=60.0)) as again:
        assert again is entry
    await asyncio.sleep(0.02)  # by then the first grace is over: timers fire in their order
    assert await floor.optimizations.find("a") is entry


# Cancelling.


async def test_cancelling_ranks_what_has_completed_for_all_who_follow():
    floor = Floor(stall_after=3)
    async with floor.opened(request("a")) as entry, floor.opened(request("a")):
        await stalled(entry, 3)
        with entry.read():
            record = await floor.optimizations.cancel("a", "a better idea")
            again = await floor.optimizations.cancel("a", "another reason")
            result = await entry.result()
        assert (record.state, again.state) == (OptimizationState.RUNNING,) * 2
        assert result.state is OptimizationState.CANCELLED
        assert [each.parameters["x"] for each in result.ranked_results] == [3, 2, 1]
        assert entry.record.message == "a better idea"
        ended = await floor.optimizations.cancel("a", "once more")
        assert (ended.state, ended.message) == (OptimizationState.CANCELLED, "a better idea")


async def test_others_who_look_at_the_store_learn_how_far_one_has_come(monkeypatch):
    monkeypatch.setattr(life, "_NOTED_EVERY_SECONDS", 0.01)
    store = SharedStore()
    floor = Floor(stall_after=3, store=store)
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 3)
        await until(lambda: store.find("", "a").completed_count == 3, "it is noted")
        record = store.find("", "a")
        assert record.state is OptimizationState.RUNNING
        assert record.running_seconds > 0
        store.error = StoreUnavailableError("it is locked")
        await until(lambda: len(floor.store_errors) > 1, "notes fail")
        store.error = None
        assert entry.record.state is OptimizationState.RUNNING


async def test_a_queued_one_is_cancelled_without_having_run():
    floor = Floor(SharedStore(), max_count=1, stall_after=0)
    async with floor.opened(), floor.opened(request("a")) as queued:
        assert queued.record.state is OptimizationState.QUEUED
        await floor.optimizations.cancel("a", "a better idea")
        first = await events_of(queued)
        assert (await queued.result()).state is OptimizationState.CANCELLED
    assert len(floor.pool.workloads) == 1
    async with floor.opened(request("a")) as kept:
        assert await events_of(kept) == first


async def test_an_unknown_one_is_not_cancelled():
    with pytest.raises(UnknownOptimizationError):
        await Floor().optimizations.cancel("a", "")


# Waiting.


async def test_who_comes_first_runs_first():
    floor = Floor(max_count=1, stall_after=0)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(floor.opened(request("0")))
        waiting = [
            await stack.enter_async_context(floor.opened(request(str(number))))
            for number in range(1, 4)
        ]
        assert [each.record.state.value for each in waiting] == ["QUEUED"] * 3
        assert floor.memory.used_bytes == first.prepared.memory_bytes
        for before, after in zip([first, *waiting], waiting, strict=False):
            before.cancel("next")
            assert await after.begun()
            assert after.record.state is OptimizationState.RUNNING
            assert [each.record.state.value for each in waiting].count("RUNNING") == 1


async def test_what_waits_begins_with_the_same_events_for_all():
    floor = Floor(max_count=1)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(floor.opened(request("0", is_detached=True)))
        queued = await stack.enter_async_context(floor.opened(request("1")))
        assert queued.record.state is OptimizationState.QUEUED
        assert not await queued.begun(patience=0.0)
        await first.result()
        events = await events_of(queued)
        assert await events_of(queued) == events
    assert len(events) == 6


async def test_beyond_the_queue_it_is_refused():
    floor = Floor(max_count=1, max_queued=1, stall_after=0)
    async with floor.opened(), floor.opened() as queued:
        assert queued.record.state is OptimizationState.QUEUED
        for wanted in (request(), request("a")):
            with pytest.raises(TooManyOptimizationsError, match="runs 1 optimization, its limit"):
                await floor.run(wanted)


async def test_without_a_queue_it_is_refused_at_once():
    floor = Floor(max_count=1, max_queued=0, stall_after=0)
    async with floor.opened():
        with pytest.raises(TooManyOptimizationsError):
            await floor.run(request())
    assert (await floor_runs(floor)).state is OptimizationState.CANCELLED


async def floor_runs(floor):
    async with floor.opened() as entry:
        entry.cancel("enough")
        return await entry.result()


async def test_one_that_waits_for_memory_runs_when_that_is_free():
    floor = Floor(memory=3_000_000)
    async with floor.opened() as first:
        await first.result()
        async with floor.opened() as second:
            assert second.record.state is OptimizationState.QUEUED
            waiting = asyncio.create_task(second.result())
            await asyncio.sleep(0)
            assert not waiting.done()
            floor.optimizations.places.close(first._life.place)
            assert (await waiting).state is OptimizationState.SUCCEEDED


async def test_what_is_deleted_takes_no_memory_whatever_its_grace():
    floor = Floor()
    async with floor.opened(request("a", is_detached=True)) as entry:
        await entry.result()
    deleted = weakref.ref(entry)
    await floor.optimizations.delete("a")
    del entry
    await asyncio.sleep(0)
    gc.collect()
    assert deleted() is None


async def test_no_more_has_failed_than_has_completed_however_fast_outcomes_come():
    class GrowingLog:
        """A log that gets another failure whenever somebody looks."""

        _count = 0

        @property
        def count(self):
            self._count += 1
            return self._count

        def is_failure(self, start=0, stop=None):
            return np.ones((self.count if stop is None else stop) - start, dtype=np.bool_)

    floor = Floor(stall_after=1)
    async with floor.opened() as entry:
        await stalled(entry, 1)
        running = entry._life._running
        log = running.log
        running.log = GrowingLog()
        running.log.runs = log.runs
        record = entry.record
        running.log = log
    assert record.failed_count == record.completed_count


async def test_closing_waits_for_all_last_words_at_once(monkeypatch):
    floor = Floor(SharedStore(), stall_after=0, max_count=1)
    all_wait, waiting = asyncio.Event(), []

    async def over(entry, patience=None):
        waiting.append(entry)
        if len(waiting) == 3:
            all_wait.set()
        await all_wait.wait()

    async with AsyncExitStack() as stack:
        for name in "abc":
            await stack.enter_async_context(floor.opened(request(name, is_detached=True)))
        with monkeypatch.context() as patched:
            patched.setattr(OptimizationEntry, "over", over)
            async with asyncio.timeout(10):
                await floor.optimizations.close()
    assert len(waiting) == 3
