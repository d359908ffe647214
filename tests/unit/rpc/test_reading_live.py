"""What is read of optimizations of this process: while they wait, while they run, at their end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing

import pytest
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1.optimization_event_pb2 import OptimizationState
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.preparer import OptimizationRunningError
from stratsweep_server.optimization.store import UnknownOptimizationError
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.storage.disk_store import open_store

from tests.unit.optimization.floor import Floor, SharedStore, events_of, request, stalled


@pytest.fixture(params=[MemoryStore, SharedStore])
def store(request):
    return request.param()


def reading_of(floor):
    return Reading(floor.optimizations, floor.store)


async def watched(reading, optimization_id, after=0):
    message = service_pb2.WatchOptimizationRequest(
        optimization_id=optimization_id, after_sequence_number=after
    )
    return [event async for event in reading.watch(message)]


async def got(reading, optimization_id):
    message = service_pb2.GetOptimizationRequest(optimization_id=optimization_id)
    return (await reading.optimization(message)).optimization


async def listed(reading):
    message = service_pb2.ListOptimizationsRequest()
    page = service_pb2.ListOptimizationsResponse.FromString(await reading.optimizations(message))
    return page.optimizations


async def results_of(reading, optimization_id, **fields):
    message = service_pb2.ListResultsRequest(optimization_id=optimization_id, **fields)
    return service_pb2.ListResultsResponse.FromString(await reading.results(message))


async def delete(reading, optimization_id):
    await reading.delete(service_pb2.DeleteOptimizationRequest(optimization_id=optimization_id))


def standing(optimization):
    state = OptimizationState.Name(optimization.state).removeprefix("OPTIMIZATION_STATE_")
    return state, optimization.completed_count


async def test_what_runs_shows_how_far_it_has_come_by_now(store):
    floor = Floor(store, stall_after=3)
    reading = reading_of(floor)
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 3)
        found = await got(reading, "a")
        assert standing(found) == ("RUNNING", 3)
        assert found.best.metrics["score"] == 3
        assert found.running_duration.ToNanoseconds() > 0
        assert [standing(each) for each in await listed(reading)] == [("RUNNING", 3)]
        assert (await results_of(reading, "a")).total_count == 3
        with pytest.raises(OptimizationRunningError, match="cancel it first"):
            await delete(reading, "a")


async def test_a_watcher_has_all_events_from_any_number_and_keeps_nothing_going(store):
    floor = Floor(store, stall_after=2)
    reading = reading_of(floor)
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 2)
        watchers = [asyncio.create_task(watched(reading, "a", after)) for after in (0, 2)]
        own = asyncio.create_task(events_of(entry))
        await asyncio.sleep(0)
        entry.cancel("enough")
        events = await own
        assert [await watcher for watcher in watchers] == [events, events[2:]]
    assert entry.record.message == "enough"
    if store.outlives_process:
        assert await watched(reading, "a") == events


async def test_a_watcher_that_leaves_ends_nothing_and_the_clients_leaving_ends_its_stream():
    floor = Floor(stall_after=2)
    reading = reading_of(floor)
    message = service_pb2.WatchOptimizationRequest(optimization_id="a")
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 2)
        async with aclosing(reading.watch(message)) as events:
            await anext(events)
        assert not floor.pool.workloads[0].is_cancelled
        rest = asyncio.create_task(watched(reading, "a"))
        await asyncio.sleep(0)
    last = service_pb2.WatchOptimizationResponse.FromString((await rest)[-1])
    assert last.event.result.state == OptimizationState.OPTIMIZATION_STATE_CANCELLED


async def test_what_waits_is_watched_until_it_has_run(store):
    floor = Floor(store, max_count=1, stall_after=1)
    reading = reading_of(floor)
    async with floor.opened(request("a")) as first, floor.opened(request("b")):
        await stalled(first, 1)
        assert standing(await got(reading, "b")) == ("QUEUED", 0)
        assert not (await results_of(reading, "b")).results
        assert [each.optimization_id for each in await listed(reading)] == ["b", "a"]
        watcher = asyncio.create_task(watched(reading, "b"))
        floor.pool.stall_after = None
        first.cancel("enough")
        events = await watcher
    started = service_pb2.WatchOptimizationResponse.FromString(events[0]).event
    assert started.started.state == OptimizationState.OPTIMIZATION_STATE_QUEUED
    last = service_pb2.WatchOptimizationResponse.FromString(events[-1]).event
    assert last.result.state == OptimizationState.OPTIMIZATION_STATE_SUCCEEDED


async def test_what_has_ended_and_is_deleted_is_forgotten_though_it_is_in_memory(store):
    floor = Floor(store)
    reading = reading_of(floor)
    async with floor.opened(request("a", values=(1, 2))) as entry:
        await entry.result()
        await delete(reading, "a")
        with pytest.raises(UnknownOptimizationError):
            await got(reading, "a")
        assert len(await events_of(entry)) == 4
        other = await floor.run(request("a", values=(7, 8, 9)))
        assert other.best.parameters == {"x": 9}
    assert floor.memory.used_bytes == 0


async def test_an_ended_optimization_is_ranked_once_for_many_watchers():
    floor = Floor(SharedStore())
    await floor.run(request("a"))
    found = [await floor.optimizations.find("a") for _ in range(3)]
    results = [await each.result() for each in found]
    assert results[0] is results[1] is results[2]


async def test_an_end_without_outcomes_of_its_own_run_is_replayed_bit_for_bit(tmp_path):
    with closing(open_store(tmp_path / "state", "")) as store:
        floor = Floor(store, stall_after=2)
        async with floor.opened(request("a", is_detached=True)) as entry:
            await stalled(entry, 2)
        await floor.optimizations.close()
    with closing(open_store(tmp_path / "state", "")) as store:
        floor = Floor(store, stall_after=0)
        async with floor.opened(request("a")) as entry:
            await stalled(entry, 2)
            entry.cancel("enough")
            events = await events_of(entry)
        assert len(events) == 4
        assert await watched(reading_of(floor), "a") == events


async def test_what_waits_to_go_on_has_the_results_that_it_had(tmp_path):
    with closing(open_store(tmp_path / "state", "")) as store:
        floor = Floor(store, stall_after=2)
        async with floor.opened(request("a", is_detached=True)) as entry:
            await stalled(entry, 2)
        await floor.optimizations.close()
    with closing(open_store(tmp_path / "state", "")) as store:
        floor = Floor(store, max_count=1, stall_after=1)
        reading = reading_of(floor)
        async with floor.opened(request("b")) as first, floor.opened(request("a")):
            await stalled(first, 1)
            found = await got(reading, "a")
            assert standing(found) == ("QUEUED", 2)
            assert found.best.metrics["score"] == 2
            assert (await results_of(reading, "a")).total_count == 2
        await floor.optimizations.close()
