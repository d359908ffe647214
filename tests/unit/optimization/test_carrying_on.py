"""What becomes of optimizations whose process, or whose store, fails them."""

import asyncio
import time
from dataclasses import replace

import pytest
from stratsweep_server.optimization.carrying_on import OrphanCare
from stratsweep_server.optimization.inputs import InputsChangedError
from stratsweep_server.optimization.kept import OptimizationInterruptedError
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import StoreUnavailableError
from stratsweep_server.optimization.store_calls import StoreCalls

from tests.waiting import until

from .floor import Floor, SharedStore, events_of, request, stalled


async def left_behind(store, wanted=None, count=2, **options):
    """Run an optimization until so many outcomes are there, and stop its server."""
    floor = Floor(store, stall_after=count, **options)
    async with floor.opened(wanted or request("a")) as entry:
        if count:
            await stalled(entry, count)
        floor.optimizations.outlive_calls()
        following = asyncio.create_task(events_of(entry))
        await asyncio.sleep(0)
        await floor.optimizations.close()
        with pytest.raises(OptimizationInterruptedError):
            await following
    return entry


async def test_what_runs_when_its_server_stops_is_carried_on_with_what_is_missing():
    store = SharedStore()
    await left_behind(store)
    assert store.find("", "a").state is OptimizationState.RUNNING
    assert store.find("", "a").completed_count == 2
    floor = Floor(store)
    async with floor.opened(request("a")) as entry:
        events = await events_of(entry)
        result = await entry.result()
    (workload,) = floor.pool.workloads
    assert workload.indices == [2, 3]
    assert result.state is OptimizationState.SUCCEEDED
    assert [each.parameters["x"] for each in result.ranked_results] == [4, 3, 2, 1]
    log = entry.log
    assert log.indices().tolist() == [0, 1, 2, 3]
    assert [run.first_row for run in log.runs] == [0, 2]
    elapsed = [log.elapsed(row) for row in range(4)]
    assert elapsed == sorted(elapsed)
    assert log.runs[1].start_elapsed >= elapsed[1]
    assert await floor.events(request("a")) == events


async def test_a_client_that_saw_the_first_events_gets_the_rest():
    store = SharedStore()
    entry = await left_behind(store)
    first_log = entry.log
    floor = Floor(store)
    rest = await floor.events(request("a"), after=3)
    async with floor.opened(request("a")) as kept:
        whole = await events_of(kept)
        assert kept.log.indices(0, 2).tolist() == first_log.indices().tolist()
    assert whole[3:] == rest
    assert len(whole) == 6


async def test_what_waited_when_its_server_stopped_waits_or_runs_elsewhere():
    store = SharedStore()
    floor = Floor(store, max_count=1, stall_after=0)
    async with floor.opened(request("0")), floor.opened(request("a")) as queued:
        floor.optimizations.outlive_calls()
        await floor.optimizations.close()
        with pytest.raises(OptimizationInterruptedError):
            await queued.result()
    assert store.find("", "a").state is OptimizationState.QUEUED
    result = await Floor(store).run(request("a"))
    assert result.state is OptimizationState.SUCCEEDED


async def test_one_that_is_carried_on_waits_where_all_places_are_taken():
    store = SharedStore()
    await left_behind(store)
    floor = Floor(store, max_count=1)
    first = request("0", is_detached=True)
    async with floor.opened(first) as running, floor.opened(request("a")) as entry:
        assert entry.record.state is OptimizationState.QUEUED
        await running.result()
        assert (await entry.result()).succeeded_count == 4


async def test_of_which_nothing_is_missing_is_concluded_without_running():
    store = SharedStore()
    floor = Floor(store)
    async with floor.opened(request("a")) as entry:
        store.error = StoreUnavailableError("the disk is full")
        with pytest.raises(StoreUnavailableError):
            await entry.result()
    store.error = None
    again = Floor(store)
    events = await again.events(request("a"))
    assert again.pool.workloads == []
    assert store.find("", "a").state is OptimizationState.SUCCEEDED
    assert await again.events(request("a")) == events


async def test_of_which_nothing_is_missing_is_concluded_in_its_turn():
    store = SharedStore()
    async with Floor(store).opened(request("a")) as entry:
        store.error = StoreUnavailableError("the disk is full")
        with pytest.raises(StoreUnavailableError):
            await entry.result()
    store.error = None
    floor = Floor(store, max_count=1)
    first = request("0", is_detached=True)
    async with floor.opened(first) as running, floor.opened(request("a")) as entry:
        assert store.find("", "a").state is OptimizationState.QUEUED
        await running.result()
        assert (await entry.result()).state is OptimizationState.SUCCEEDED
    assert store.find("", "a").state is OptimizationState.SUCCEEDED


@pytest.mark.parametrize("inputs", [{"module": "2"}, {}, {"module": "1", "new": "1"}])
async def test_on_other_inputs_it_is_not_carried_on(inputs):
    store = SharedStore()
    await left_behind(store)
    floor = Floor(store)
    floor.inputs = inputs
    with pytest.raises(InputsChangedError, match="cannot go on") as caught:
        await floor.run(request("a"))
    assert set(inputs.items()) ^ {("module", "1")}
    assert any(name in str(caught.value) for name in ("module", "new"))
    assert floor.memory.used_bytes == 0
    floor.inputs = {"module": "1"}
    assert (await floor.run(request("a"))).succeeded_count == 4


async def test_a_store_that_fails_interrupts_it_and_it_goes_on_when_it_can_again():
    store = SharedStore()
    floor = Floor(store, stall_after=2)
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 2)
        store.fail()
        with pytest.raises(StoreUnavailableError, match="the disk is full"):
            await events_of(entry)
        assert entry.record.state is OptimizationState.INTERRUPTED
        assert floor.pool.workloads[0].is_cancelled
        assert [str(error) for error in floor.store_errors] != []
        store.error = None
        floor.pool.stall_after = None
        async with floor.opened(request("a")) as again:
            assert again is not entry
            assert (await again.result()).succeeded_count == 4
    assert floor.memory.used_bytes == 0


async def test_what_a_store_that_failed_could_not_be_told_is_written_once_it_can_be():
    store = SharedStore()
    floor = Floor(store, stall_after=2)
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 2)
        store.fail()
        with pytest.raises(StoreUnavailableError):
            await entry.result()
    care = care_of(floor, adopts=True)
    with pytest.raises(StoreUnavailableError):
        await care.look()
    assert store.find("", "a").state is OptimizationState.RUNNING
    now = floor.optimizations.as_it_is(store.find("", "a"))
    assert (now.state, now.holder_address) == (OptimizationState.INTERRUPTED, "")
    store.error = None
    await care.look()
    record = store.find("", "a")
    assert (record.state, record.completed_count) == (OptimizationState.INTERRUPTED, 2)
    assert (record.message, record.holder_address) == ("the disk is full", "")
    assert floor.memory.used_bytes == 0


async def test_an_interrupted_one_is_cancelled_with_what_it_has():
    store = SharedStore()
    await left_behind(store)
    floor = Floor(store)
    answer = await floor.optimizations.cancel("a", "enough")
    assert (answer.state, answer.completed_count) == (OptimizationState.CANCELLED, 2)
    record = store.find("", "a")
    assert (record.state, record.message) == (OptimizationState.CANCELLED, "enough")
    assert floor.pool.workloads == []
    result = await floor.run(request("a"))
    assert [each.parameters["x"] for each in result.ranked_results] == [2, 1]
    assert await floor.events(request("a")) == await floor.events(request("a"))


class Orphans(SharedStore):
    """A store that says which optimizations no process holds."""

    def orphans(self):
        records = [record for _, record in self._records.values()]
        return [each for each in records if not each.state.is_ended]


def care_of(floor, **options):
    return OrphanCare(floor.optimizations, StoreCalls(floor.store), **options)


async def test_a_detached_one_is_carried_on_at_once():
    store = Orphans()
    await left_behind(store, request("a", is_detached=True))
    floor = Floor(store)
    await care_of(floor, adopts=True).look()
    await until(lambda: store.find("", "a").state.is_ended, "it was carried on")
    assert store.find("", "a").state is OptimizationState.SUCCEEDED
    await until(lambda: floor.memory.used_bytes == 0, "its memory was given back")


async def test_one_that_is_not_detached_is_interrupted_after_a_while():
    store = Orphans()
    await left_behind(store)
    care = care_of(Floor(store), adopts=True)
    await care.look()
    assert store.find("", "a").state is OptimizationState.RUNNING
    care._patience = 0.0
    await care.look()
    record = store.find("", "a")
    assert record.state is OptimizationState.INTERRUPTED
    assert (record.message, record.completed_count) == ("its server is gone", 2)
    assert (await Floor(store).run(request("a"))).succeeded_count == 4


async def test_a_private_server_adopts_nothing():
    store = Orphans()
    await left_behind(store, request("a", is_detached=True))
    floor = Floor(store)
    await care_of(floor, adopts=False, patience=0.0).look()
    assert store.find("", "a").state is OptimizationState.RUNNING
    assert floor.pool.workloads == []


async def test_an_adopted_one_on_other_inputs_stands_still_and_says_why():
    store = Orphans()
    await left_behind(store, request("a", is_detached=True))
    floor = Floor(store)
    floor.inputs = {"module": "2"}
    await care_of(floor, adopts=True).look()
    await until(lambda: store.find("", "a").message != "", "it was not carried on")
    record = store.find("", "a")
    assert record.state is OptimizationState.INTERRUPTED
    assert "module is 2 and was 1" in record.message


async def test_one_that_cannot_be_read_keeps_no_other_from_being_carried_on():
    store = Orphans()
    await left_behind(store, request("a", is_detached=True))
    await left_behind(store, request("b", is_detached=True))
    number, record = store._records["", "a"]
    store._records["", "a"] = number, replace(record, request=b"\xff of a newer version")
    await care_of(Floor(store), adopts=True).look()
    await until(lambda: store.find("", "b").state.is_ended, "the other one was carried on")
    assert store.find("", "a").state is OptimizationState.RUNNING


class ForgetfulStore(SharedStore):
    """A store that fails after it has written that an optimization has ended."""

    def move(self, record):
        super().move(record)
        if record.state.is_ended:
            raise StoreUnavailableError("the disk is gone")


async def test_what_a_store_has_written_although_it_failed_is_left_as_the_store_has_it():
    floor = Floor(ForgetfulStore())
    async with floor.opened(request("a")) as entry:
        with pytest.raises(StoreUnavailableError):
            await entry.result()
    await care_of(floor, adopts=True).look()
    assert floor.memory.used_bytes == 0
    assert (await floor.run(request("a"))).state is OptimizationState.SUCCEEDED


class OvertakenStore(SharedStore):
    """A store in which another process ends an optimization just before it is claimed here."""

    def claim(self, caller, optimization_id):
        record = super().claim(caller, optimization_id)
        if not record.state.is_ended:
            changes = {"completed_count": 2, "message": "enough", "end_time": time.time_ns()}
            super().move(replace(record, state=OptimizationState.CANCELLED, **changes))
        return super().claim(caller, optimization_id)


async def test_one_that_another_process_ends_meanwhile_is_given_as_it_ended():
    store = OvertakenStore()
    await left_behind(store)
    floor = Floor(store)
    async with floor.opened(request("a")) as overtaken:
        events = await events_of(overtaken)
        assert overtaken.record.message == "enough"
    assert floor.pool.workloads == []
    assert floor.memory.used_bytes == 0
    assert await floor.events(request("a")) == events
