"""Several optimizations at a time, by both clients, against a server that plays scripts."""

import asyncio
import contextlib
import threading

import pytest
from google.rpc import code_pb2, error_details_pb2
from stratsweep import (
    AsyncClient,
    Client,
    InvalidConfigError,
    OptimizationCancelledError,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    ServerUnavailableError,
    StreamInterruptedError,
    SymbolResult,
)

CONFIG = {"parameters": {"slow": [50, 100], "fast": range(5, 11, 5)}}
WAIT_SECONDS = 20


@pytest.fixture(params=["threads", "tasks"])
def ends(request, server):
    """Run `optimize_many` of either client; returns the ends, and raises what it raises."""

    def in_threads(symbols, **options):
        with Client(server.address) as client:
            return list(client.optimize_many("sma_cross", symbols=symbols, **CONFIG, **options))

    async def in_tasks(symbols, **options):
        async with AsyncClient(server.address) as client:
            many = client.optimize_many("sma_cross", symbols=symbols, **CONFIG, **options)
            return [end async for end in many]

    async def run(symbols, **options):
        if request.param == "threads":
            return in_threads(symbols, **options)
        return await in_tasks(symbols, **options)

    return run


async def test_each_symbol_is_an_optimization_of_its_own(ends, server, script):
    server.steps = script.whole()
    found = await ends(["SPY", "AAPL", "SPY"])
    assert {end.symbol for end in found} == {"SPY", "AAPL"}
    assert all(isinstance(end.result, OptimizationResult) and end.error is None for end in found)
    symbols = sorted(tuple(request.config.symbols) for request in server.requests)
    assert symbols == [("AAPL",), ("SPY",)]


async def test_a_symbol_that_is_refused_or_failed_stops_no_other(ends, server, script, statuses):
    server.steps = script.whole()
    server.steps_of = {
        "BAD": [statuses["invalid_config"](("config.symbols[0]", "is odd"))],
        "NONE": script.failed(),
    }
    found = {end.symbol: end for end in await ends(["BAD", "NONE", "SPY"], max_concurrent=1)}
    assert isinstance(found["BAD"].error, InvalidConfigError)
    assert found["NONE"].result.state is OptimizationState.FAILED
    assert found["SPY"].result.state is OptimizationState.SUCCEEDED


async def test_no_more_run_at_a_time_than_allowed_and_ends_come_as_they_come(ends, server, script):
    running, most, lock = set(), [], threading.Lock()
    may_end = threading.Event()

    def note(name):
        def step(context):
            with lock:
                running.add(name)
                most.append(len(running))
            if name == "SLOW":
                may_end.wait(WAIT_SECONDS)

        return step

    def leave(name):
        def step(context):
            with lock:
                running.discard(name)
            if name == "D":
                may_end.set()

        return step

    names = ["SLOW", "A", "B", "C", "D"]
    server.steps_of = {name: [note(name), leave(name), *script.whole()] for name in names}
    found = await ends(names, max_concurrent=2)
    assert [end.symbol for end in found][-1] in {"SLOW", "D"}
    assert {end.symbol for end in found} == set(names)
    assert max(most) == 2


async def test_a_server_that_is_busy_is_asked_again(ends, server, script, statuses):
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(10)
    info = statuses["error_info"]("MEMORY_EXHAUSTED")
    busy = statuses["status"](code_pb2.RESOURCE_EXHAUSTED, "no room", info, retry)

    def be_busy_twice(context):
        if len(server.requests) <= 2:
            context.abort_with_status(busy)

    server.steps = [be_busy_twice, *script.whole()]
    (end,) = await ends(["SPY"])
    assert end.result.state is OptimizationState.SUCCEEDED
    assert len(server.requests) == 3


async def test_events_are_told_with_their_symbol(ends, server, script):
    server.steps = script.whole()
    told = []
    await ends(["A", "B"], on_event=lambda symbol, event: told.append((symbol, type(event))))
    for symbol in ("A", "B"):
        kinds = [kind for name, kind in told if name == symbol]
        assert (kinds[0], kinds[-1]) == (OptimizationStarted, OptimizationResult)


async def test_what_the_listener_raises_ends_all(ends, server, script):
    server.steps = script.whole()

    def refuse(symbol, event):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await ends(["A", "B", "C"], on_event=refuse)


@pytest.mark.parametrize(
    ("reason", "is_started", "kind"),
    [("DRAINING", False, ServerUnavailableError), ("DRAINING", True, StreamInterruptedError)],
)
async def test_a_server_that_is_gone_ends_all(
    ends, server, script, statuses, reason, is_started, kind
):
    info = statuses["error_info"](reason)
    gone = statuses["status"](code_pb2.UNAVAILABLE, "stopping", info)
    server.steps = [*([script.started()] if is_started else []), gone]
    with pytest.raises(kind):
        await ends([f"S{number}" for number in range(50)], max_concurrent=2)
    assert len(server.requests) < 50


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"symbols": []}, ValueError, "name at least one"),
        ({}, TypeError, "missing the keyword argument 'symbols'"),
        ({"symbols": "A", "max_concurrent": 0}, ValueError, "at least 1, not 0"),
        ({"symbols": "A", "targt": "cagr"}, TypeError, "unexpected keyword argument 'targt'"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_wrong_with_the_call_is_raised_at_once(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind().optimize_many("sma_cross", **options)


def test_leaving_the_loop_cancels_what_runs(server, script):
    server.steps_of = {"A": script.whole(), "B": [script.started(), server.hang_alone]}
    with Client(server.address) as client:
        for end in client.optimize_many("sma_cross", symbols=["B", "A"], **CONFIG):
            assert end.symbol == "A"
            break
        assert server.ended_alone.wait(WAIT_SECONDS)
    assert not any("optimize-many" in each.name for each in threading.enumerate())


def test_closing_an_iterator_that_has_a_name_cancels_what_runs(server, script):
    server.steps_of = {"A": script.whole(), "B": [script.started(), server.hang_alone]}
    with Client(server.address) as client:
        many = client.optimize_many("sma_cross", symbols=["B", "A"], **CONFIG)
        assert next(many).symbol == "A"
        many.close()
        assert server.ended_alone.wait(WAIT_SECONDS)


async def test_closing_the_iterator_cancels_what_runs(server, script):
    server.steps = script.whole()
    async with AsyncClient(server.address) as client:
        many = client.optimize_many("sma_cross", symbols=["A", "B", "C"], **CONFIG)
        async with contextlib.aclosing(many):
            async for end in many:
                assert isinstance(end, SymbolResult)
                break


async def test_closing_the_client_elsewhere_ends_what_runs(server, script):
    server.steps = [script.started(), server.hang]
    client = AsyncClient(server.address)

    async def run():
        many = client.optimize_many("sma_cross", symbols=["A", "B"], **CONFIG)
        return [end.error async for end in many]

    running = asyncio.create_task(run())
    await asyncio.to_thread(server.hanging.wait, WAIT_SECONDS)
    await client.close()
    errors = await running
    assert [type(error) for error in errors] == [OptimizationCancelledError] * 2
