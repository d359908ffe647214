"""Streams of both clients that break off and go on, against a server that keeps optimizations."""

import asyncio
import threading

import pytest
from google.rpc import code_pb2
from stratsweep import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InputsChangedError,
    OptimizationResult,
    OptimizationStarted,
    Progress,
    ServerUnavailableError,
    StreamInterruptedError,
)

from tests.proxy import Proxy

from .conftest import WAIT_SECONDS, error_info, status
from .resuming import EVENT_COUNT, Break, Resuming, unavailable

CONFIG = {"symbols": "SPY", "parameters": {"slow": [50, 100], "fast": range(5, 11, 5)}}


@pytest.fixture
def resuming(server):
    return Resuming(server)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("stratsweep._follower._FIRST_PAUSE", 0.01)


@pytest.fixture(params=[Client, AsyncClient])
def events_of(request, server):
    """Run a stream of either client to its end; returns the client's events."""

    def run_sync(method, *arguments, address=None, client_options=None, **options):
        with Client(address or server.address, **(client_options or {})) as client:
            return list(getattr(client, method)(*arguments, **options))

    async def run_async(method, *arguments, address=None, client_options=None, **options):
        async with AsyncClient(address or server.address, **(client_options or {})) as client:
            stream = getattr(client, method)(*arguments, **options)
            return [event async for event in stream]

    if request.param is Client:
        return run_sync
    return lambda *arguments, **options: asyncio.run(run_async(*arguments, **options))


def assert_whole(events):
    """No event is missing, and none came twice."""
    started, *progress, result = events
    assert isinstance(started, OptimizationStarted)
    assert isinstance(result, OptimizationResult)
    assert all(isinstance(event, Progress) for event in progress)
    assert [event.completed_count for event in progress] == list(range(1, EVENT_COUNT + 1))
    assert [row.rank for row in result.ranked] == [1, 2, 3, 4]


@pytest.mark.parametrize("reason", ["", "DRAINING", "OPTIMIZATION_INTERRUPTED"])
def test_a_stream_that_breaks_off_goes_on_where_it_was(events_of, server, resuming, reason):
    resuming.breaks = [Break(count, unavailable(reason)) for count in (1, 3, 7, 30)]
    assert_whole(events_of("optimize", "sma_cross", **CONFIG))
    assert resuming.afters == [0, 1, 4, 11, 41]
    first, *others = server.requests
    for other in others:
        other.after_sequence_number = 0
        assert other == first


def test_parts_of_a_result_go_on_too(events_of, resuming):
    resuming.breaks = [Break(EVENT_COUNT + 3, unavailable())]
    assert_whole(events_of("optimize", "sma_cross", **CONFIG))
    assert resuming.afters == [0, EVENT_COUNT + 3]


def test_a_watcher_goes_on_too_but_not_where_nothing_runs(events_of, resuming):
    resuming.breaks = [Break(5, unavailable("DRAINING")), Break(5, unavailable())]
    assert_whole(events_of("watch_optimization", "mine"))
    resuming.breaks = [Break(5, unavailable("OPTIMIZATION_INTERRUPTED"))]
    with pytest.raises(StreamInterruptedError) as caught:
        events_of("watch_optimization", "mine")
    assert caught.value.reason == "OPTIMIZATION_INTERRUPTED"
    assert resuming.afters == [0, 5, 10, 0]


def test_a_watcher_may_begin_after_any_event(events_of, resuming):
    resuming.breaks = [Break(2, unavailable())]
    events = events_of("watch_optimization", "mine", after_sequence_number=EVENT_COUNT - 2)
    assert [type(event) for event in events] == [Progress, Progress, Progress, OptimizationResult]
    assert events[0].completed_count == EVENT_COUNT - 2
    assert events[0].optimization_id == "mine"
    assert resuming.afters == [EVENT_COUNT - 2, EVENT_COUNT]


def test_whoever_wants_to_know_is_told_of_each_loss(events_of, resuming):
    told = []
    resuming.breaks = [
        Break(3, unavailable("DRAINING")),
        Break(0, unavailable()),
        Break(1, unavailable()),
    ]
    events_of("optimize", "sma_cross", client_options={"on_reconnect": told.append}, **CONFIG)
    assert [(error.reason, error.completed_count) for error in told] == [("DRAINING", 2), ("", 3)]


def test_a_stream_counts_how_often_it_went_on(server, resuming):
    resuming.breaks = [Break(3, unavailable()), Break(3, unavailable())]
    with Client(server.address) as client:
        stream = client.optimize("sma_cross", **CONFIG)
        assert stream.optimization_id
        stream.result()
    assert stream.reconnect_count == 2
    assert stream.optimization_id == server.requests[0].optimization_id


def test_what_a_server_that_is_started_again_says_for_a_while_is_passed_over(events_of, resuming):
    elsewhere = error_info("RUNS_ELSEWHERE", address="127.0.0.1:1")
    full = error_info("TOO_MANY_OPTIMIZATIONS")
    resuming.breaks = [
        Break(3, unavailable()),
        Break(0, unavailable("STORAGE_UNAVAILABLE")),
        Break(0, status(code_pb2.FAILED_PRECONDITION, "the one before runs it", elsewhere)),
        Break(0, status(code_pb2.RESOURCE_EXHAUSTED, "full", full)),
    ]
    assert_whole(events_of("optimize", "sma_cross", **CONFIG))


def test_after_the_reconnect_timeout_the_loss_itself_is_told(events_of, resuming):
    resuming.breaks = [Break(3, unavailable("DRAINING")), *[Break(0, unavailable())] * 1_000]
    with pytest.raises(StreamInterruptedError) as caught:
        events_of("optimize", "sma_cross", client_options={"reconnect_timeout": 0.2}, **CONFIG)
    assert (caught.value.reason, caught.value.completed_count) == ("DRAINING", 2)
    assert len(resuming.afters) > 1


def test_a_reconnect_timeout_of_nothing_goes_on_nowhere(events_of, resuming):
    resuming.breaks = [Break(3, unavailable())]
    with pytest.raises(StreamInterruptedError, match="the connection was lost: gone for now"):
        events_of("optimize", "sma_cross", client_options={"reconnect_timeout": 0}, **CONFIG)
    assert resuming.afters == [0]


def test_a_server_that_is_too_old_to_know_ids_is_not_asked_again(events_of, resuming):
    resuming.ignores_ids = True
    resuming.breaks = [Break(3, unavailable())]
    with pytest.raises(StreamInterruptedError):
        events_of("optimize", "sma_cross", **CONFIG)
    assert resuming.afters == [0]


def test_the_deadline_bounds_all_of_it(events_of, resuming):
    resuming.breaks = [Break(3, unavailable()), *[Break(0, unavailable("DRAINING"))] * 1_000]
    with pytest.raises(DeadlineExceededError) as caught:
        events_of("optimize", "sma_cross", timeout=0.3, **CONFIG)
    assert caught.value.completed_count == 2


def test_inputs_that_changed_end_it_at_once(events_of, resuming):
    changed = status(
        code_pb2.FAILED_PRECONDITION, "the bars of SPY differ", error_info("INPUTS_CHANGED")
    )
    resuming.breaks = [Break(3, unavailable()), Break(0, changed)]
    with pytest.raises(InputsChangedError, match="the bars of SPY differ, after 2 of 40"):
        events_of("optimize", "sma_cross", **CONFIG)
    assert resuming.afters == [0, 3]


def test_a_server_that_has_forgotten_the_optimization_leaves_the_loss(events_of, resuming):
    unknown = status(code_pb2.NOT_FOUND, "no such id", error_info("UNKNOWN_OPTIMIZATION"))
    resuming.breaks = [Break(3, unavailable()), Break(0, unknown)]
    with pytest.raises(StreamInterruptedError, match="the connection was lost: gone for now"):
        events_of("optimize", "sma_cross", **CONFIG)


@pytest.mark.parametrize("harm", ["cut", "reset"])
def test_a_connection_that_is_cut_at_any_time_costs_nothing(events_of, server, resuming, harm):
    with Proxy(server.address) as proxy:
        sent = []

        def do_harm_now_and_then(context):
            sent.append(context)
            if len(sent) % 10 == 5:
                getattr(proxy, harm)()

        resuming.step = do_harm_now_and_then
        assert_whole(events_of("optimize", "sma_cross", address=proxy.address, **CONFIG))
        assert proxy.connection_count > 3


def test_what_a_stalled_connection_has_swallowed_comes_by_another(events_of, server, resuming):
    with Proxy(server.address) as proxy:

        def reset_soon(context):
            threading.Timer(0.1, proxy.reset).start()
            resuming.hang(context)
            proxy.flow()

        messages = iter(range(1_000))
        resuming.step = lambda _: proxy.stall() if next(messages) == 5 else None
        resuming.breaks = [Break(20, reset_soon)]
        assert_whole(events_of("optimize", "sma_cross", address=proxy.address, **CONFIG))
        assert proxy.connection_count > 1
        assert resuming.afters[1] < 20


def test_a_server_that_was_away_is_found_again(events_of, server, resuming):
    has_begun = threading.Event()

    def go_away(context):
        assert has_begun.wait(WAIT_SECONDS)
        proxy.refuse()
        threading.Timer(0.3, proxy.admit).start()
        resuming.hang(context)

    # The first loss shows that the client has read something.
    resuming.breaks = [Break(3, unavailable()), Break(3, go_away)]
    with Proxy(server.address) as proxy:
        client_options = {"on_reconnect": lambda _: has_begun.set()}
        options = {"client_options": client_options, **CONFIG}
        assert_whole(events_of("optimize", "sma_cross", address=proxy.address, **options))
        assert proxy.connection_count > 1


def test_a_call_whose_server_goes_before_it_has_answered_ends_in_an_error(
    events_of, server, resuming
):
    """gRPC's own attempts to repeat it would lose it: nobody would ever be told."""

    def go_away(context):
        proxy.refuse()
        resuming.hang(context)

    resuming.breaks = [Break(0, go_away)]
    options = {"client_options": {"connect_timeout": 0.2}, **CONFIG}
    with Proxy(server.address) as proxy, pytest.raises(ServerUnavailableError):
        events_of("optimize", "sma_cross", address=proxy.address, **options)
