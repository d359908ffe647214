"""Streams of both clients that are left, stopped or interrupted before their end."""

import _thread
import asyncio
import gc
import sys
import threading
import time
import traceback
from datetime import timedelta

import pytest
from google.rpc import code_pb2, error_details_pb2
from stratsweep import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    OptimizationCancelledError,
    OptimizationExistsError,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    ServerBusyError,
)

from .conftest import WAIT_SECONDS, error_info, status
from .resuming import Break, Resuming

CONFIG = {"symbols": "SPY", "parameters": {"slow": [50, 100], "fast": range(5, 11, 5)}}


@pytest.fixture
def resuming(server):
    resuming = Resuming(server)
    resuming.breaks = [Break(3, resuming.hang)]
    return resuming


@pytest.fixture(params=[Client, AsyncClient])
def use(request, server):
    """Do something with a stream of either client, as if both were asynchronous."""

    async def run(method, action, *arguments, **options):
        if request.param is AsyncClient:
            async with AsyncClient(server.address) as client:
                return await action(getattr(client, method)(*arguments, **options))
        with Client(server.address) as client:
            return await action(_Asynchronous(getattr(client, method)(*arguments, **options)))

    return run


class _Asynchronous:
    """A synchronous stream with the face of an asynchronous one."""

    def __init__(self, stream):
        self._stream = stream
        self.stop, self.cancel = stream.stop, stream.cancel

    def __aiter__(self):
        return _AsynchronousIterator(iter(self._stream))

    async def result(self):
        return self._stream.result()

    async def __aenter__(self):
        self._stream.__enter__()
        return self

    async def __aexit__(self, *exception):
        self._stream.__exit__(*exception)


class _AsynchronousIterator:
    def __init__(self, events):
        self._events = events

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self._events)
        except StopIteration:
            raise StopAsyncIteration from None


async def leave_loop(stream):
    async for _ in stream:
        break
    await asyncio.sleep(0)  # asyncio closes the loop's iterator a step later


async def leave_block(stream):
    async with stream:
        await anext(aiter(stream))


async def cancel(stream):
    events = aiter(stream)
    await anext(events)
    stream.cancel("enough")
    with pytest.raises(OptimizationCancelledError):
        await anext(events)


async def leave_open(stream):
    """The client's own block ends."""
    events = aiter(stream)
    await anext(events)
    return events


LEAVING = [leave_loop, leave_block, cancel, leave_open]


@pytest.mark.parametrize("leave", LEAVING)
async def test_leaving_early_stops_the_optimization(use, server, resuming, leave):
    await use("optimize", leave, "sma_cross", **CONFIG)
    await asyncio.to_thread(resuming.wait_until_stopped)
    ((optimization_id, _),) = resuming.stops
    assert optimization_id == server.requests[0].optimization_id
    await asyncio.to_thread(server.wait_until_ended)


async def test_the_reason_for_leaving_is_told(use, resuming):
    await use("optimize", cancel, "sma_cross", **CONFIG)
    assert [reason for _, reason in resuming.stops] == ["enough"]


@pytest.mark.parametrize("leave", LEAVING)
async def test_a_detached_one_goes_on(use, server, resuming, leave):
    await use("optimize", leave, "sma_cross", detached=True, **CONFIG)
    await asyncio.to_thread(server.wait_until_ended)
    assert resuming.stops == []


@pytest.mark.parametrize("leave", LEAVING)
async def test_a_watched_one_goes_on(use, resuming, leave):
    await use("watch_optimization", leave, "mine")
    assert resuming.stops == []


async def test_one_that_a_server_refused_is_nobodys_to_stop(use, resuming):
    async def run(stream):
        async with stream:
            await stream.result()

    exists = status(code_pb2.ALREADY_EXISTS, "seed differs", error_info("OPTIMIZATION_EXISTS"))
    resuming.breaks = [Break(0, exists)]
    with pytest.raises(OptimizationExistsError, match="seed differs"):
        await use("optimize", run, "sma_cross", optimization_id="mine", **CONFIG)
    assert resuming.stops == []


async def test_one_of_which_nothing_is_known_yet_is_nobodys_to_stop(use, server, resuming):
    async def leave_at_once(stream):
        stream.cancel()

    await use("optimize", leave_at_once, "sma_cross", optimization_id="mine", **CONFIG)
    assert resuming.stops == []


async def test_an_old_server_is_not_asked_to_stop(use, server, resuming):
    resuming.ignores_ids = True
    await use("optimize", leave_loop, "sma_cross", **CONFIG)
    await asyncio.to_thread(server.wait_until_ended)
    assert resuming.stops == []


async def test_one_that_has_ended_is_not_stopped(use, resuming):
    async def run(stream):
        async with stream:
            return await stream.result()

    resuming.breaks = []
    await use("optimize", run, "sma_cross", **CONFIG)
    assert resuming.stops == []


async def test_a_passed_deadline_stops_the_optimization(use, resuming):
    async def run(stream):
        with pytest.raises(DeadlineExceededError):
            await stream.result()

    await use("optimize", run, "sma_cross", timeout=0.3, **CONFIG)
    await asyncio.to_thread(resuming.wait_until_stopped)


async def test_stopping_it_goes_on_to_the_result_of_what_has_completed(use, resuming):
    async def stop(stream):
        events = []
        async for event in stream:
            events.append(event)
            if len(events) == 3:
                stream.stop("enough")
        return events, await stream.result()

    events, result = await use("optimize", stop, "sma_cross", **CONFIG)
    assert isinstance(events[0], OptimizationStarted)
    assert events[-1] is result
    assert result.state is OptimizationState.CANCELLED
    assert [reason for _, reason in resuming.stops] == ["enough"]


class CtrlC:
    """Presses Ctrl-C while a stream waits for an event."""

    def __init__(self, resuming) -> None:
        self._resuming = resuming
        self._has_read = threading.Event()

    def press(self, context):
        """A break: after the messages before it have been read."""
        assert self._has_read.wait(WAIT_SECONDS)
        while not is_waiting_for_grpc(threading.main_thread()):
            time.sleep(0.005)
        _thread.interrupt_main()
        self._resuming.hang(context)

    def events(self, stream):
        """The three events of a stream before Ctrl-C, which must come."""
        events = []
        with pytest.raises(KeyboardInterrupt):
            events.extend(self._watched(stream, events))
        assert len(events) == 3
        return events

    def _watched(self, stream, events):
        for event in stream:
            if len(events) == 2:
                self._has_read.set()
            yield event


def is_waiting_for_grpc(thread):
    """Whether a thread is where gRPC waits for a message."""
    # Garbage that is collected in there and closes a socket lets go of the interpreter, but not of
    # its lock on the threads, which the next one to run may need: both would wait for ever.
    gc.disable()
    try:
        frame = sys._current_frames()[thread.ident]
    finally:
        gc.enable()
    frames = traceback.extract_stack(frame)
    return frames[-1].name == "wait" and any(each.name == "_wait_once" for each in frames)


@pytest.fixture
def ctrl_c(resuming):
    return CtrlC(resuming)


def test_after_ctrl_c_a_stream_goes_on_to_its_result(server, resuming, ctrl_c):
    resuming.breaks = [Break(3, ctrl_c.press), Break(0, resuming.hang)]
    with Client(server.address) as client:
        stream = client.optimize("sma_cross", **CONFIG)
        first = ctrl_c.events(stream)
        *others, result = stream
    assert [*first, *others] == first
    assert result.state is OptimizationState.CANCELLED
    assert [reason for _, reason in resuming.stops] == ["interrupted by Ctrl-C"]
    assert stream.reconnect_count == 0


@pytest.mark.parametrize("method", ["optimize", "watch_optimization"])
def test_after_ctrl_c_one_that_goes_on_by_itself_is_followed_on(server, resuming, ctrl_c, method):
    resuming.breaks = [Break(3, ctrl_c.press)]
    options = {"detached": True, **CONFIG} if method == "optimize" else {}
    with Client(server.address) as client:
        stream = getattr(client, method)("mine", **options)
        first = ctrl_c.events(stream)
        events = [*first, *stream]
    assert [event.completed_count for event in events[1:-1]] == list(range(1, 41))
    assert isinstance(events[-1], OptimizationResult)
    assert resuming.stops == []


def test_ctrl_c_in_a_block_leaves_it(server, resuming, ctrl_c):
    resuming.breaks = [Break(3, ctrl_c.press)]
    with Client(server.address) as client:
        with client.optimize("sma_cross", **CONFIG) as stream:
            ctrl_c.events(stream)
        with pytest.raises(OptimizationCancelledError):
            stream.result()
    assert len(resuming.stops) == 1


def busy(retry_seconds=0.01):
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=retry_seconds))
    return status(
        code_pb2.RESOURCE_EXHAUSTED, "64 run already", error_info("TOO_MANY_OPTIMIZATIONS"), retry
    )


async def result_of(stream):
    return await stream.result()


async def test_a_busy_server_is_asked_again_where_that_is_wanted(use, server, resuming):
    resuming.breaks = [Break(0, busy())] * 3
    result = await use("optimize", result_of, "sma_cross", wait_when_busy=20, **CONFIG)
    assert result.state is OptimizationState.SUCCEEDED
    assert len({request.optimization_id for request in server.requests}) == 1


async def test_a_server_that_is_busy_for_longer_is_not_waited_for(use, resuming):
    resuming.breaks = [Break(0, busy()), Break(0, busy(3600))]
    with pytest.raises(ServerBusyError):
        await use("optimize", result_of, "sma_cross", wait_when_busy=timedelta(1e-2), **CONFIG)
    assert len(resuming.afters) == 2


async def test_a_busy_server_is_an_error_where_nothing_is_said(use, resuming):
    resuming.breaks = [Break(0, busy())]
    with pytest.raises(ServerBusyError):
        await use("optimize", result_of, "sma_cross", **CONFIG)
    with pytest.raises(ValueError, match="wait_when_busy must be 0 or more"):
        await use("optimize", result_of, "sma_cross", wait_when_busy=-1, **CONFIG)
