"""The asyncio client against a real gRPC server that plays scripts."""

import asyncio

import grpc
import pytest
from stratsweep import (
    AsyncClient,
    DeadlineExceededError,
    OptimizationCancelledError,
    OptimizationResult,
    OptimizationStarted,
    Progress,
    StreamInterruptedError,
)

WAIT_SECONDS = 20
CONFIG = {"symbols": "SPY", "parameters": {"slow": [50, 100], "fast": range(5, 11, 5)}}


@pytest.fixture
async def client(server):
    async with AsyncClient(server.address) as client:
        yield client


async def consume(stream, action):
    async for _ in stream:
        action()


async def ended(server):
    await asyncio.to_thread(server.wait_until_ended)


async def test_a_stream_is_started_progress_and_result(client, server, script):
    server.steps = [script.heartbeat(), *script.whole()]
    events = [event async for event in client.optimize("sma_cross", **CONFIG)]
    assert [type(event) for event in events] == [
        OptimizationStarted,
        Progress,
        Progress,
        Progress,
        OptimizationResult,
    ]


async def test_the_result_can_be_had_without_looking_at_progress(client, server, script):
    server.steps = script.whole()
    stream = client.optimize("sma_cross", **CONFIG)
    result = await stream.result()
    assert result.best.metrics["sharpe_ratio"] == 1.5
    assert await stream.result() is result
    assert len(server.requests) == 1


async def test_leaving_the_loop_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    stream = client.optimize("sma_cross", **CONFIG)
    async for _ in stream:
        break
    await ended(server)
    with pytest.raises(OptimizationCancelledError):
        await stream.result()


async def test_leaving_the_with_block_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    async with client.optimize("sma_cross", **CONFIG) as stream:
        events = aiter(stream)
        await anext(events)
    await ended(server)


async def test_an_error_in_the_loop_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    with pytest.raises(ZeroDivisionError):
        await consume(client.optimize("sma_cross", **CONFIG), lambda: 1 / 0)
    await ended(server)


async def test_cancelling_the_task_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    first_event = asyncio.Event()

    stream = client.optimize("sma_cross", **CONFIG)
    task = asyncio.create_task(consume(stream, first_event.set))
    await first_event.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended(server)


async def test_cancelling_the_stream_raises_in_the_loop(client, server, script):
    server.steps = [script.started(), server.hang]
    stream = client.optimize("sma_cross", **CONFIG)
    with pytest.raises(OptimizationCancelledError):
        await consume(stream, stream.cancel)
    await ended(server)


async def test_closing_the_client_cancels_its_streams(server, script):
    server.steps = [script.started(), server.hang]
    async with AsyncClient(server.address) as client:
        events = aiter(client.optimize("sma_cross", **CONFIG))
        await anext(events)
    await ended(server)


async def test_a_stream_whose_client_is_closed_elsewhere_says_so(client, server, script):
    server.steps = [script.started(), server.hang]
    first_event = asyncio.Event()
    task = asyncio.create_task(consume(client.optimize("sma_cross", **CONFIG), first_event.set))
    await first_event.wait()
    await client.close()
    with pytest.raises(OptimizationCancelledError) as caught:
        await task
    assert caught.value.optimization_id == "opt-1"


async def test_a_call_whose_client_is_closed_elsewhere_says_so(client, server):
    server.steps = [server.hang]
    task = asyncio.create_task(client.validate("sma_cross", **CONFIG))
    await asyncio.to_thread(server.hanging.wait, WAIT_SECONDS)
    await client.close()
    with pytest.raises(OptimizationCancelledError):
        await task


async def test_a_passed_deadline_is_its_own_error(client, server):
    server.steps = [server.hang]
    with pytest.raises(DeadlineExceededError):
        await client.optimize("sma_cross", timeout=0.2, **CONFIG).result()
    await ended(server)


async def test_a_stream_that_ends_early_is_interrupted(client, server, script):
    server.steps = script.whole()[:-1]
    with pytest.raises(StreamInterruptedError):
        await client.optimize("sma_cross", **CONFIG).result()


async def test_a_connection_lost_in_the_middle_is_an_interruption(client, server, script):
    server.steps = [
        script.started(),
        lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "going away"),
    ]
    with pytest.raises(StreamInterruptedError, match="going away"):
        await client.optimize("sma_cross", **CONFIG).result()


async def test_validating_runs_nothing(client, server, script):
    server.steps = [script.started(rejected_count=3)]
    started = await client.validate("sma_cross", **CONFIG)
    assert started.rejected_count == 3
    assert server.requests[0].validate_only


async def test_strategies_are_listed(client, server, script):
    server.catalogue = script.catalogue()
    assert (await client.list_strategies()).strategies[0].name == "sma_cross"


def test_a_client_may_be_made_outside_the_loop(server, script):
    server.steps = script.whole()
    client = AsyncClient(server.address)

    async def run():
        async with client:
            return await client.optimize("sma_cross", **CONFIG).result()

    assert asyncio.run(run()).best is not None
