"""Optimizations that a server keeps, asked for by both clients, against scripted answers."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.rpc import code_pb2
from stratsweep import (
    AsyncClient,
    Client,
    NotFoundError,
    OptimizationResult,
    OptimizationRunningError,
    OptimizationState,
    ServerError,
)
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
)

from tests.unit.client.conftest import arrow_stream


@pytest.fixture(params=[Client, AsyncClient])
def ask(request, server):
    """Call a method of either client; an iterator is returned as a list."""

    def ask_sync(method, *arguments, **options):
        with Client(server.address) as client:
            answer = getattr(client, method)(*arguments, **options)
            return list(answer) if hasattr(answer, "__next__") else answer

    async def ask_async(method, *arguments, **options):
        async with AsyncClient(server.address) as client:
            answer = getattr(client, method)(*arguments, **options)
            if inspect.isasyncgen(answer):
                return [item async for item in answer]
            return await answer if inspect.isawaitable(answer) else answer

    if request.param is Client:
        return ask_sync
    return lambda *arguments, **options: asyncio.run(ask_async(*arguments, **options))


@pytest.fixture(params=[Client, AsyncClient])
def watch(request, server):
    """Watch by either client to the end; returns the events."""

    def watch_sync(*arguments, **options):
        with Client(server.address) as client:
            return list(client.watch_optimization(*arguments, **options))

    async def watch_async(*arguments, **options):
        async with AsyncClient(server.address) as client:
            return [event async for event in client.watch_optimization(*arguments, **options)]

    if request.param is Client:
        return watch_sync
    return lambda *arguments, **options: asyncio.run(watch_async(*arguments, **options))


def get_response(optimization):
    return optimization_service_pb2.GetOptimizationResponse(optimization=optimization)


def not_found(statuses):
    info = statuses["error_info"]("UNKNOWN_OPTIMIZATION")
    return statuses["status"](code_pb2.NOT_FOUND, "there is no optimization nope", info)


def optimizations(script, ids, next_page_token=""):
    return optimization_service_pb2.ListOptimizationsResponse(
        optimizations=[script.optimization(optimization_id=each) for each in ids],
        next_page_token=next_page_token,
    )


def results(script, ranks, next_page_token="", total_count=3):
    rows = [
        script.result_row(4 - rank, rank=rank, trade_count=10 - rank, sharpe_ratio=0.5)
        for rank in ranks
    ]
    return optimization_service_pb2.ListResultsResponse(
        arrow_results=arrow_stream(rows, is_ranked=True),
        next_page_token=next_page_token,
        total_count=total_count,
    )


def test_where_an_optimization_stands_has_its_config_counts_and_times(ask, server, script):
    message = script.optimization(
        optimization_event_pb2.OPTIMIZATION_STATE_INTERRUPTED,
        completed=2,
        best=script.result_row(2, sharpe_ratio=1.5),
        message="its server is gone",
        is_detached=True,
        holder_address="127.0.0.1:1",
        stored_bytes=1_234,
    )
    message.start_time.FromJsonString("2026-03-02T09:00:01Z")
    message.running_duration.FromMilliseconds(1_500)
    server.answers["GetOptimization"] = [get_response(message)]
    found = ask("get_optimization", "opt-1")
    assert (found.optimization_id, found.state) == ("opt-1", OptimizationState.INTERRUPTED)
    assert not found.state.is_ended
    assert found.started.config.strategy == "sma_cross"
    assert (found.completed_count, found.failed_count) == (2, 1)
    assert found.best.parameters == {"slow": 100, "fast": 5}
    assert found.create_time == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert found.start_time == found.create_time + timedelta(seconds=1)
    assert found.end_time is None
    assert found.running_duration == timedelta(seconds=1.5)
    assert (found.message, found.is_detached) == ("its server is gone", True)
    assert (found.holder_address, found.stored_bytes) == ("127.0.0.1:1", 1_234)
    assert server.asked("GetOptimization")[0].optimization_id == "opt-1"


@pytest.mark.parametrize(
    ("method", "rpc"),
    [
        ("get_optimization", "GetOptimization"),
        ("cancel_optimization", "CancelOptimization"),
        ("delete_optimization", "DeleteOptimization"),
        ("list_results", "GetOptimization"),
    ],
)
def test_an_id_that_the_server_does_not_know_is_not_found(ask, server, statuses, method, rpc):
    server.answers[rpc] = [not_found(statuses)]
    with pytest.raises(NotFoundError) as caught:
        ask(method, "nope")
    assert caught.value.reason == "UNKNOWN_OPTIMIZATION"
    assert str(caught.value) == "there is no optimization nope"


def test_a_server_that_keeps_nothing_yet_does_not_know_the_call(ask, server):
    with pytest.raises(ServerError, match="does not know GetOptimization"):
        ask("get_optimization", "opt-1")


def test_optimizations_are_listed_over_all_pages(ask, server, script):
    pages = [optimizations(script, ["c", "b"], "more"), optimizations(script, ["a"])]
    server.answers["ListOptimizations"] = pages
    assert [each.optimization_id for each in ask("list_optimizations")] == ["c", "b", "a"]


def test_a_page_is_asked_for_when_it_is_needed(server, script):
    server.answers["ListOptimizations"] = [optimizations(script, ["c", "b"], "more")]
    with Client(server.address) as client:
        listed = client.list_optimizations()
        assert server.questions == []
        assert [next(listed).optimization_id, next(listed).optimization_id] == ["c", "b"]
        assert len(server.questions) == 1


def test_a_limit_ends_the_list(ask, server, script):
    server.answers["ListOptimizations"] = [optimizations(script, ["c", "b"], "more")]
    assert len(ask("list_optimizations", limit=2)) == 2
    assert [request.page_size for request in server.asked("ListOptimizations")] == [2]
    assert ask("list_optimizations", limit=0) == []
    with pytest.raises(ValueError, match="limit"):
        ask("list_optimizations", limit=-1)


def test_what_is_wanted_of_a_list_goes_with_the_request(ask, server, script):
    server.answers["ListOptimizations"] = [optimizations(script, [])]
    zone = timezone(timedelta(hours=2))
    ask(
        "list_optimizations",
        states=[OptimizationState.RUNNING, "QUEUED"],
        strategy="sma_cross",
        symbol="SPY",
        labels={"desk": "rates"},
        created_after=datetime(2026, 3, 2, 2, tzinfo=zone),
        id_prefix="01j",
    )
    (request,) = server.asked("ListOptimizations")
    assert list(request.states) == [
        optimization_event_pb2.OPTIMIZATION_STATE_RUNNING,
        optimization_event_pb2.OPTIMIZATION_STATE_QUEUED,
    ]
    assert (request.strategy, request.symbol, request.id_prefix) == ("sma_cross", "SPY", "01j")
    assert dict(request.labels) == {"desk": "rates"}
    assert request.created_after.ToJsonString() == "2026-03-02T00:00:00Z"
    assert not request.HasField("created_before")


def test_a_state_that_there_is_not_is_refused_before_anything_is_sent(ask, server):
    with pytest.raises(ValueError, match="DONE"):
        ask("list_optimizations", states="DONE")
    assert server.questions == []


def test_results_are_put_together_from_all_pages(ask, server, script):
    server.answers["GetOptimization"] = [get_response(script.optimization())]
    server.answers["ListResults"] = [results(script, [1, 2], "more"), results(script, [3])]
    found = ask("list_results", "opt-1", metric="trade_count", maximize=True)
    assert [each.rank for each in found.results] == [1, 2, 3]
    assert [each.combination_index for each in found.results] == [3, 2, 1]
    assert found.total_count == 3
    assert found.optimization.state is OptimizationState.SUCCEEDED
    first, second = server.asked("ListResults")
    assert (first.metric, first.result_format) == ("trade_count", outcome_pb2.RESULT_FORMAT_ARROW)
    assert first.direction == optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE
    assert not first.has_requirements
    assert (first.page_token, second.page_token) == ("", "more")


def test_results_become_a_table_with_counts_as_integers(ask, server, script):
    server.answers["GetOptimization"] = [get_response(script.optimization())]
    server.answers["ListResults"] = [results(script, [1, 2])]
    table = ask("list_results", "opt-1", limit=2).to_polars()
    assert table.columns[:4] == ["rank", "combination_index", "slow", "fast"]
    assert table["trade_count"].to_list() == [9, 8]
    assert table["trade_count"].dtype.is_integer()


def test_no_results_are_an_empty_list(ask, server, script):
    server.answers["GetOptimization"] = [get_response(script.optimization())]
    server.answers["ListResults"] = [optimization_service_pb2.ListResultsResponse()]
    found = ask("list_results", "opt-1", requirements=[])
    assert (len(found.results), found.total_count) == (0, 0)
    (request,) = server.asked("ListResults")
    assert request.has_requirements
    assert request.direction == optimization_config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED


def test_cancelling_says_why_and_returns_where_it_stands(ask, server, script):
    running = script.optimization(optimization_event_pb2.OPTIMIZATION_STATE_RUNNING, completed=2)
    server.answers["CancelOptimization"] = [
        optimization_service_pb2.CancelOptimizationResponse(optimization=running)
    ]
    found = ask("cancel_optimization", "opt-1", reason="enough")
    assert (found.state, found.completed_count) == (OptimizationState.RUNNING, 2)
    (request,) = server.asked("CancelOptimization")
    assert (request.optimization_id, request.reason) == ("opt-1", "enough")


def test_deleting_returns_nothing(ask, server):
    server.answers["DeleteOptimization"] = [optimization_service_pb2.DeleteOptimizationResponse()]
    assert ask("delete_optimization", "opt-1") is None
    assert server.asked("DeleteOptimization")[0].optimization_id == "opt-1"


def test_what_runs_elsewhere_says_where(ask, server, statuses):
    info = statuses["error_info"]("RUNS_ELSEWHERE", address="127.0.0.1:7")
    status = statuses["status"](code_pb2.FAILED_PRECONDITION, "another server runs it", info)
    server.answers["CancelOptimization"] = [status]
    with pytest.raises(OptimizationRunningError) as caught:
        ask("cancel_optimization", "opt-1")
    assert (caught.value.reason, caught.value.address) == ("RUNS_ELSEWHERE", "127.0.0.1:7")


def test_watching_gives_the_events_of_the_optimization(watch, server, script):
    server.steps = [script.heartbeat(), *script.whole()]
    events = watch("opt-1", progress_interval=0.1)
    assert len(events) == 5
    assert isinstance(events[-1], OptimizationResult)
    (request,) = server.asked("WatchOptimization")
    assert (request.optimization_id, request.after_sequence_number) == ("opt-1", 0)
    assert request.progress_interval.ToTimedelta() == timedelta(seconds=0.1)
    assert request.result_format == outcome_pb2.RESULT_FORMAT_ARROW
