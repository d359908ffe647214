"""What is read of optimizations, running or ended: events, where they stand, lists and results."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from stratsweep.v1 import optimization_config_pb2 as config_pb2
from stratsweep.v1 import optimization_event_pb2 as event_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1.outcome_pb2 import RESULT_FORMAT_ARROW
from stratsweep_server.backtest import Metric, OptimizationDirection
from stratsweep_server.optimization.conclusion import conclude
from stratsweep_server.optimization.kept import OptimizationInterruptedError
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.preparation import readable
from stratsweep_server.optimization.preparer import OptimizationRunningError
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import (
    LOCAL_CALLER,
    HeldElsewhereError,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.rpc import optimization_pages
from stratsweep_server.rpc.events import formats
from stratsweep_server.rpc.events.following import following
from stratsweep_server.rpc.events.stream import StreamOptions
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.rpc.requests import InvalidRequestError
from stratsweep_server.storage.disk_store import DiskStore, open_store

from tests.kept import (
    CONFIG,
    END_TIME,
    RUNNING_SECONDS,
    START_TIME,
    batch_of,
    keep,
    optimizations_of,
)

MAXIMIZE, MINIMIZE = (
    config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE,
)
BEST = config_pb2.OPTIMIZATION_DIRECTION_BEST
RUNNING, INTERRUPTED = OptimizationState.RUNNING, OptimizationState.INTERRUPTED
ROWS = [
    None if index % 7 == 3 else {"score": float(index * 13 % 10), "drawdown": index % 4 / 4}
    for index in range(30)
]
"""30 outcomes: four failures, and ties of both metrics."""
ADDRESS = "127.0.0.1:50051"


@pytest.fixture(params=["memory", "disk"])
async def store(request, tmp_path):
    if request.param == "disk" and not hasattr(DiskStore, "journal"):
        pytest.skip("outcomes are not kept on a disk yet")
    opened = MemoryStore() if request.param == "memory" else open_store(tmp_path / "s", ADDRESS)
    yield opened
    opened.close()


@pytest.fixture
def reading(store):
    return Reading(optimizations_of(store), store)


def watch_request(optimization_id="first", **fields):
    return service_pb2.WatchOptimizationRequest(optimization_id=optimization_id, **fields)


async def events_of(reading, **fields):
    return [event async for event in reading.watch(watch_request(**fields))]


def event_of(response):
    return service_pb2.WatchOptimizationResponse.FromString(response).event


async def results_of(reading, **fields):
    request = service_pb2.ListResultsRequest(**{"optimization_id": "first", **fields})
    return service_pb2.ListResultsResponse.FromString(await reading.results(request))


async def listed_by(reading, **fields):
    request = service_pb2.ListOptimizationsRequest(**fields)
    return service_pb2.ListOptimizationsResponse.FromString(await reading.optimizations(request))


async def violations_of(call) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        await call
    return {each.field: each.description for each in caught.value.violations}


def indices_of(response):
    return [result.combination_index for result in response.results]


def expected(metric, is_maximizing, rows=ROWS):
    """Combination indices in order of a metric; ties by index, without a value last."""
    sign = -1 if is_maximizing else 1
    there = [index for index, row in enumerate(rows) if row is not None]
    return sorted(
        there, key=lambda index: (metric not in rows[index], sign * rows[index].get(metric, 0))
    )


class FirstOne:
    """The optimization as it ran, in the process that ran it."""

    def __init__(self, log, record):
        self.log, self.started, self.started_time = log, record.started, record.create_time
        self._prepared = readable(CONFIG)
        self.config, self.grid = CONFIG, self._prepared.grid

    async def begun(self, patience):
        return True

    async def result(self):
        return conclude(self._prepared, self.log, RUNNING_SECONDS)


@pytest.mark.parametrize("is_arrow", [False, True])
async def test_a_kept_optimization_is_watched_as_it_was_at_first_bit_for_bit(
    store, reading, is_arrow
):
    log = await keep(store, "first", ROWS)
    first = FirstOne(log, store.find(LOCAL_CALLER, "first"))
    stream = following(first, StreamOptions(has_arrow_results=is_arrow))
    sent = [response async for response in stream]
    fields = {"result_format": RESULT_FORMAT_ARROW} if is_arrow else {}
    for after in (0, 1, 5, len(sent) - 1, len(sent), 2**63 - 1):
        assert await events_of(reading, after_sequence_number=after, **fields) == sent[after:]


async def test_what_stands_still_is_replayed_and_then_said_to_stand_still(store, reading):
    await keep(store, "first", ROWS, state=INTERRUPTED, total_count=99, message="the disk is full")
    events = reading.watch(watch_request())
    replayed = [await anext(events) for _ in range(1 + len(ROWS))]
    assert event_of(replayed[-1]).progress.completed_count == len(ROWS)
    with pytest.raises(OptimizationInterruptedError, match="the disk is full"):
        await anext(events)


async def test_a_watcher_may_leave_what_stands_still_early(store, reading):
    await keep(store, "first", ROWS, state=INTERRUPTED, total_count=99)
    events = reading.watch(watch_request())
    assert event_of(await anext(events)).started.total_count == 99
    await events.aclose()


async def test_what_another_process_runs_is_watched_there(store):
    await keep(store, "first", ROWS, state=RUNNING, total_count=99)

    optimizations = optimizations_of(store)
    find = optimizations.find

    async def held_elsewhere(optimization_id):
        found = await find(optimization_id)
        found.record = replace(found.record, holder_address="127.0.0.1:7")
        return found

    optimizations.find = held_elsewhere
    with pytest.raises(HeldElsewhereError) as caught:
        await events_of(Reading(optimizations, store))
    assert caught.value.address == "127.0.0.1:7"


async def test_what_is_watched_by_many_is_ranked_once(store):
    await keep(store, "first", ROWS)
    optimizations = optimizations_of(store)
    found = [await optimizations.find("first") for _ in range(3)]
    results = [await each.result() for each in found]
    assert results[0] is results[1] is results[2]


async def test_an_unknown_optimization_is_unknown_to_every_call(reading):
    for call in (
        events_of(reading),
        results_of(reading),
        reading.optimization(service_pb2.GetOptimizationRequest(optimization_id="first")),
        reading.delete(service_pb2.DeleteOptimizationRequest(optimization_id="first")),
    ):
        with pytest.raises(UnknownOptimizationError):
            await call


@pytest.mark.parametrize("optimization_id", ["", "-first", "a" * 65, "a/b", "ä", "a\n"])
async def test_what_can_be_no_id_is_refused_by_every_call(reading, optimization_id):
    named = {"optimization_id": optimization_id}
    for call in (
        events_of(reading, **named),
        results_of(reading, **named),
        reading.optimization(service_pb2.GetOptimizationRequest(**named)),
        reading.delete(service_pb2.DeleteOptimizationRequest(**named)),
    ):
        assert list(await violations_of(call)) == ["optimization_id"]


async def test_every_fault_of_a_watch_is_named(reading):
    request = watch_request("", after_sequence_number=-1, result_format=77)
    request.progress_interval.SetInParent()
    found = await violations_of(anext(reading.watch(request)))
    fields = {"optimization_id", "after_sequence_number", "progress_interval", "result_format"}
    assert found.keys() == fields


async def test_where_an_optimization_stands_says_its_best_result_and_its_first_event(
    store, reading
):
    await keep(store, "first", ROWS, create_time=START_TIME - 5, message="")
    request = service_pb2.GetOptimizationRequest(optimization_id="first")
    found = (await reading.optimization(request)).optimization
    assert found.state == event_pb2.OPTIMIZATION_STATE_SUCCEEDED
    assert (found.completed_count, found.failed_count) == (30, 4)
    assert found.best.combination_index == expected("score", is_maximizing=True)[0]
    assert found.started.config.parameters[1].string_list.values == ["x", "Ω", ""]
    assert found.create_time.ToNanoseconds() == START_TIME - 5
    assert found.start_time.ToNanoseconds() == START_TIME
    assert found.end_time.ToNanoseconds() == END_TIME
    assert found.running_duration.ToMilliseconds() == 77_250


async def test_the_best_result_meets_the_requirements(store, reading):
    config = replace(CONFIG, requirements=("drawdown < 0.2",))
    await keep(store, "first", ROWS, config=config)
    request = service_pb2.GetOptimizationRequest(optimization_id="first")
    best = (await reading.optimization(request)).optimization.best
    assert best.metrics["drawdown"] == 0.0
    only_failures = [None, None]
    await keep(store, "second", only_failures, state=OptimizationState.FAILED)
    request.optimization_id = "second"
    assert not (await reading.optimization(request)).optimization.HasField("best")


async def test_results_are_ranked_by_any_metric_and_either_end(store, reading):
    metrics = (Metric("score"), Metric("drawdown", best_direction=OptimizationDirection.MINIMIZE))
    await keep(store, "first", ROWS, metrics=metrics)
    for fields, metric, is_maximizing in (
        ({}, "score", True),
        ({"direction": MINIMIZE}, "score", False),
        ({"direction": BEST}, "score", True),
        ({"metric": "drawdown"}, "drawdown", False),
        ({"metric": "drawdown", "direction": BEST}, "drawdown", False),
        ({"metric": "drawdown", "direction": MAXIMIZE}, "drawdown", True),
    ):
        response = await results_of(reading, **fields)
        assert indices_of(response) == expected(metric, is_maximizing), fields
        assert [result.rank for result in response.results] == list(range(1, 27))
        assert (response.total_count, response.next_page_token) == (26, "")


async def test_unspecified_is_the_direction_in_which_the_target_was_ranked(store, reading):
    config = replace(CONFIG, direction=OptimizationDirection.MINIMIZE)
    await keep(store, "first", ROWS, config=config)
    assert indices_of(await results_of(reading)) == expected("score", is_maximizing=False)


async def test_results_without_the_metric_come_last_and_count(store, reading):
    rows = [{"score": 1.0}, {"score": 2.0, "late": 7.0}, None, {"score": 3.0}]
    await keep(store, "first", rows)
    response = await results_of(reading, metric="late")
    assert (indices_of(response), response.total_count) == ([1, 0, 3], 3)
    assert "late" not in response.results[1].metrics


@pytest.mark.parametrize("page_size", [1, 7, 26])
async def test_pages_together_are_the_whole_ranking(store, reading, page_size):
    await keep(store, "first", ROWS)
    found, token = [], ""
    while True:
        page = await results_of(reading, metric="drawdown", page_size=page_size, page_token=token)
        assert 1 <= len(page.results) <= page_size
        assert page.total_count == 26
        found += page.results
        token = page.next_page_token
        if not token:
            break
    assert found == list((await results_of(reading, metric="drawdown")).results)


async def test_arrow_pages_have_what_pages_of_rows_have(store, reading):
    await keep(store, "first", ROWS)
    token = arrow_token = ""
    for _ in range(3):
        rows = await results_of(reading, page_size=10, page_token=token)
        arrow = await results_of(
            reading, page_size=10, page_token=arrow_token, result_format=RESULT_FORMAT_ARROW
        )
        table = pa.ipc.open_stream(arrow.arrow_results).read_all()
        assert table["rank"].to_pylist() == [result.rank for result in rows.results]
        assert table["combination_index"].to_pylist() == indices_of(rows)
        assert table["metrics"].to_pylist() == [dict(result.metrics) for result in rows.results]
        assert (arrow.total_count, len(arrow.results)) == (26, 0)
        token, arrow_token = rows.next_page_token, arrow.next_page_token
    assert (token, arrow_token) == ("", "")


async def test_pages_of_a_running_optimization_are_of_the_moment_of_the_first(store, reading):
    log = await keep(store, "first", ROWS[:20], state=RUNNING, total_count=30)

    class Live:
        is_here = True

        def __init__(self, found):
            self.found, self.log = found, log

        def __getattr__(self, name):
            return getattr(self.found, name)

    optimizations = optimizations_of(store)
    find = optimizations.find

    async def find_live(optimization_id):
        return Live(await find(optimization_id))

    optimizations.find_outcomes = find_live
    reading = Reading(optimizations, store)
    whole = await results_of(reading)
    first = await results_of(reading, page_size=5)
    log.append(batch_of(range(20, 30), [{"score": 99.0}] * 10), 50.0)
    second = await results_of(reading, page_size=100, page_token=first.next_page_token)
    assert [*first.results, *second.results] == list(whole.results)
    assert first.total_count == second.total_count == whole.total_count
    assert (await results_of(reading)).total_count == whole.total_count + 10


async def test_requirements_are_the_optimizations_own_or_those_given(store, reading):
    config = replace(CONFIG, requirements=("drawdown < 0.2",))
    await keep(store, "first", ROWS, config=config)
    own = await results_of(reading)
    assert {result.metrics["drawdown"] for result in own.results} == {0.0}
    given = await results_of(reading, requirements=["drawdown > 0.6"], has_requirements=True)
    assert {result.metrics["drawdown"] for result in given.results} == {0.75}
    assert [result.rank for result in given.results] == list(range(1, given.total_count + 1))
    assert (await results_of(reading, has_requirements=True)).total_count == 26


async def test_no_result_gives_an_empty_page(store, reading):
    await keep(store, "first", [None], state=OptimizationState.FAILED)
    for result_format in (0, RESULT_FORMAT_ARROW):
        response = await results_of(reading, result_format=result_format)
        assert response == service_pb2.ListResultsResponse()


async def test_every_fault_of_a_question_for_results_is_named(store, reading):
    await keep(store, "first", ROWS)
    faults = {"page_size": 10_001, "direction": 9, "result_format": 9, "requirements": ["a > 1"]}
    assert (await violations_of(results_of(reading, **faults))).keys() == faults.keys()
    for page_size in (-1, -(2**31)):
        found = await violations_of(results_of(reading, page_size=page_size))
        assert "1 to 10,000" in found["page_size"]
    found = await violations_of(
        results_of(reading, metric="scor", requirements=["slow > 1", "("], has_requirements=True)
    )
    assert found.keys() == {"metric", "requirements[0]", "requirements[1]"}
    assert "drawdown, score" in found["metric"]
    for many in (["score > 1"] * 101, ["score > 1" + " " * 480] * 5):
        fields = {"requirements": many, "has_requirements": True}
        assert (await violations_of(results_of(reading, **fields))).keys() == {"requirements"}


@pytest.mark.parametrize(
    "token", ["x", "ä", "====", "AAAA", "A" * 10_000, "\x00", "5:3", "AAAAAAAAAAAAAAAAAAAA-_8="]
)
async def test_what_is_no_token_is_refused(store, reading, token):
    await keep(store, "first", ROWS)
    assert "page_token" in await violations_of(results_of(reading, page_token=token))
    assert "page_token" in await violations_of(listed_by(reading, page_token=token))


async def test_a_token_goes_with_its_question_alone(store, reading):
    await keep(store, "first", ROWS)
    await keep(store, "second", ROWS)
    token = (await results_of(reading, page_size=5)).next_page_token
    for fields in (
        {"metric": "drawdown"},
        {"optimization_id": "second"},
        {"has_requirements": True},
    ):
        found = await violations_of(results_of(reading, page_token=token, **fields))
        assert "something else" in found["page_token"]
    token = (await listed_by(reading, page_size=1)).next_page_token
    for fields in ({"strategy": "sma_cross"}, {"labels": {"desk": "fx"}}):
        found = await violations_of(listed_by(reading, page_token=token, **fields))
        assert "something else" in found["page_token"]


async def test_optimizations_are_listed_newest_first_without_their_parameters(store, reading):
    for number in range(25):
        await keep(store, f"run-{number:02}", [{"score": 1.0}])
    names, token = [], ""
    while True:
        page = await listed_by(reading, page_size=12, page_token=token)
        assert len(page.optimizations) <= 12
        for each in page.optimizations:
            names.append(each.optimization_id)
            assert each.started.config.strategy == "sma_cross"
            assert not each.started.config.parameters
            assert not each.HasField("best")
        token = page.next_page_token
        if not token:
            break
    assert names == [f"run-{number:02}" for number in reversed(range(25))]


async def test_a_page_of_optimizations_ends_early_when_it_is_large(store, reading, monkeypatch):
    monkeypatch.setattr(formats, "MAX_MESSAGE_BYTES", 500)
    monkeypatch.setattr(optimization_pages, "_READ_AT_ONCE", 2)
    for number in range(9):
        await keep(store, f"run-{number}", [{"score": 1.0}])
    found, token, sizes = [], "", []
    while True:
        page = await listed_by(reading, page_token=token)
        sizes.append(len(page.optimizations))
        found += page.optimizations
        token = page.next_page_token
        if not token:
            break
    assert len(found) == 9
    assert max(sizes) < 9


async def test_a_page_of_results_ends_early_when_it_is_large(store, reading, monkeypatch):
    await keep(store, "first", ROWS)
    whole = await results_of(reading)
    monkeypatch.setattr(formats, "MAX_MESSAGE_BYTES", 300)
    first = await results_of(reading)
    assert 0 < len(first.results) < 10
    second = await results_of(reading, page_token=first.next_page_token)
    together = [*first.results, *second.results]
    assert together == list(whole.results)[: len(together)]
    arrow = await results_of(reading, result_format=RESULT_FORMAT_ARROW)
    assert 0 < pa.ipc.open_stream(arrow.arrow_results).read_all().num_rows < 10
    assert arrow.next_page_token


async def test_lists_are_filtered(store, reading):
    time = Timestamp()
    time.FromNanoseconds(START_TIME)
    await keep(store, "a-1", ROWS, create_time=START_TIME - 1, labels={"desk": "fx"})
    await keep(store, "a-2", ROWS, create_time=START_TIME, strategy="other", symbols=("QQQ",))
    await keep(store, "b-1", ROWS, create_time=START_TIME, state=INTERRUPTED, labels={})
    for fields, names in (
        ({}, ["b-1", "a-2", "a-1"]),
        ({"states": [event_pb2.OPTIMIZATION_STATE_INTERRUPTED]}, ["b-1"]),
        ({"strategy": "other"}, ["a-2"]),
        ({"symbol": "QQQ", "id_prefix": "a"}, ["a-2", "a-1"]),
        ({"labels": {"desk": "fx"}, "id_prefix": "a-1"}, ["a-1"]),
        ({"created_after": time}, ["b-1", "a-2"]),
        ({"created_before": time}, ["a-1"]),
        ({"id_prefix": "c"}, []),
    ):
        page = await listed_by(reading, **fields)
        assert [each.optimization_id for each in page.optimizations] == names, fields


async def test_every_fault_of_a_list_is_named(reading):
    faults = {
        "page_size": 1_001,
        "strategy": "s" * 251,
        "symbol": "s" * 251,
        "labels": {"": "x"},
        "created_after": Timestamp(seconds=2**62),
        "created_before": Timestamp(nanos=-1),
        "id_prefix": "a%",
    }
    found = await violations_of(listed_by(reading, states=[1, 0, 77], **faults))
    assert {field.partition("[")[0] for field in found} == {*faults, "states"}
    assert {"states[1]", "states[2]"} <= found.keys()
    assert list(await violations_of(listed_by(reading, states=[1] * 1_000))) == ["states"]


async def test_the_ends_of_time_are_times(store, reading):
    await keep(store, "first", ROWS)
    first, last = Timestamp(), Timestamp()
    first.FromJsonString("0001-01-01T00:00:00Z")
    last.FromJsonString("9999-12-31T23:59:59.999999999Z")
    page = await listed_by(reading, created_after=first, created_before=last)
    assert len(page.optimizations) == 1


async def test_what_is_deleted_is_unknown(store, reading):
    await keep(store, "first", ROWS)
    request = service_pb2.DeleteOptimizationRequest(optimization_id="first")
    await reading.delete(request)
    with pytest.raises(UnknownOptimizationError):
        await reading.delete(request)
    assert not (await listed_by(reading)).optimizations


async def test_what_runs_is_not_deleted(store, reading):
    await keep(store, "first", ROWS, state=RUNNING)
    request = service_pb2.DeleteOptimizationRequest(optimization_id="first")
    with pytest.raises(OptimizationRunningError, match="cancel it first"):
        await reading.delete(request)
    assert len((await listed_by(reading)).optimizations) == 1


async def test_a_store_that_cannot_be_read_is_told_of(store):
    told = []
    error = StoreUnavailableError("the catalogue is gone")

    class Broken:
        def page(self, *arguments):
            raise error

    with pytest.raises(StoreUnavailableError):
        await listed_by(Reading(optimizations_of(store), Broken(), told.append))
    assert told == [error]
