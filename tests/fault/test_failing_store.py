"""Servers whose state directory fails them in the middle of an optimization, and recovers."""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from stratsweep.v1 import optimization_event_pb2 as events_pb2
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.app import Server
from stratsweep_server.config import ServerConfig
from stratsweep_server.optimization import storage_watch
from stratsweep_server.optimization.store import StoreUnavailableError
from stratsweep_server.storage import catalogue_connection
from stratsweep_server.storage.disk_store import open_store

from tests.fault.counting_engine import runs_in
from tests.fault.mounting import filled, mounted, read_only
from tests.requests import optimize_request, seconds

COUNT = 1_500
States = health_pb2.HealthCheckResponse


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(storage_watch, "PROBE_SECONDS", 0.02)
    monkeypatch.setattr(catalogue_connection, "BUSY_SECONDS", 0.05)


@asynccontextmanager
async def serving(state: Path):
    """A stub of a server with three workers that keeps its optimizations, and its channel."""
    config = ServerConfig(
        listen="127.0.0.1:0",
        workers=3,
        engine="tests.fault.counting_engine:GatedEngine",
        grace=0.0,
        state=str(state),
    )
    async with Server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield optimization_service_pb2_grpc.OptimizationServiceStub(channel), channel


def request_of(name: str, folder: Path, count: int = COUNT, after: int = 0):
    return optimize_request(
        name,
        count,
        symbol=str(folder),
        optimization_id=name,
        after_sequence_number=after,
        abandon_grace=seconds(60),
    )


async def read(call, limit: int = COUNT + 10) -> list[events_pb2.OptimizationEvent]:
    """Up to so many events that are no heartbeats; fewer when the call ends."""
    events = []
    while len(events) < limit and (response := await call.read()) is not grpc.aio.EOF:
        if not response.event.HasField("heartbeat"):
            events.append(response.event)
    return events


async def read_to_end(call, seen: list) -> None:
    while (events := await read(call, 1)) != []:
        seen += events


async def refusal(call, seen: list | None = None) -> tuple[str, str]:
    """Read to the error that ends a call; return its reason and its text."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read_to_end(call, [] if seen is None else seen)
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return info.reason, caught.value.details()


async def health_becomes(channel, status) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    async for response in watch:
        if response.status == status:
            watch.cancel()
            return


def check_all(events: list, folder: Path, count: int = COUNT) -> None:
    """See that an optimization has succeeded with each combination once."""
    assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
    indices = [
        event.progress.outcomes[0].result.combination_index for event in events[1 : count + 1]
    ]
    assert sorted(indices) == list(range(count))
    assert events[-1].result.state == events_pb2.OPTIMIZATION_STATE_SUCCEEDED
    rows = [row for part in events[count + 1 :] for row in part.result.ranked_results]
    scores = [row.metrics["score"] for row in rows]
    assert scores == sorted((x * 7_919 % 5_003 for x in range(count)), reverse=True)


def seen_indices(events: list) -> set[int]:
    return {event.progress.outcomes[0].result.combination_index for event in events[1:]}


async def test_on_a_full_disk_what_writes_stands_still_and_goes_on_when_there_is_room(tmp_path):
    with mounted(tmp_path / "disk", "size=2m,mode=0700") as disk:
        async with serving(disk / "state") as (stub, channel):
            patient = stub.Optimize(request_of("gated", tmp_path, 2))
            first = await read(patient, 1)
            writer = stub.Optimize(request_of("writer", tmp_path))
            seen = await read(writer, 20)
            ballast = filled(disk)
            reason, text = await refusal(writer, seen)
            assert reason == "STORE_UNAVAILABLE"
            assert "cannot be kept: No space left on device" in text
            await health_becomes(channel, States.NOT_SERVING)
            refused = stub.Optimize(request_of("new", tmp_path, 2))
            assert (await refusal(refused))[0] == "STORE_UNAVAILABLE"

            ballast.unlink()
            await health_becomes(channel, States.SERVING)
            (tmp_path / "gate").touch()
            check_all(first + await read(patient), tmp_path, 2)
            ran = len(runs_in(tmp_path / "writer"))
            rest = await read(stub.Optimize(request_of("writer", tmp_path, after=len(seen))))
            check_all(seen + rest, tmp_path)
            assert seen_indices(seen).isdisjoint(runs_in(tmp_path / "writer")[ran:])
            check_all(await read(stub.Optimize(request_of("new", tmp_path, 2))), tmp_path, 2)


async def test_a_state_directory_that_goes_away_ends_nothing_wrongly(tmp_path):
    state = tmp_path / "state"
    async with serving(state) as (stub, channel):
        call = stub.Optimize(request_of("writer", tmp_path))
        seen = await read(call, 20)
        state.rename(tmp_path / "away")
        reason, text = await refusal(call, seen)
        assert reason == "STORE_UNAVAILABLE"
        assert "is gone; put it back" in text
        await health_becomes(channel, States.NOT_SERVING)
        refused = stub.Optimize(request_of("new", tmp_path, 2))
        assert (await refusal(refused))[0] == "STORE_UNAVAILABLE"

        (tmp_path / "away").rename(state)
        await health_becomes(channel, States.SERVING)
        ran = len(runs_in(tmp_path / "writer"))
        rest = await read(stub.Optimize(request_of("writer", tmp_path, after=len(seen))))
        check_all(seen + rest, tmp_path)
        assert seen_indices(seen).isdisjoint(runs_in(tmp_path / "writer")[ran:])


async def test_a_catalogue_that_is_locked_for_long_ends_nothing_wrongly(tmp_path):
    state = tmp_path / "state"
    async with serving(state) as (stub, _):
        call = stub.Optimize(request_of("writer", tmp_path))
        seen = await read(call, 20)
        with contextlib.closing(sqlite3.connect(state / "catalogue.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = stub.Optimize(request_of("new", tmp_path, 2))
            reason, text = await refusal(refused)
            assert reason == "STORE_UNAVAILABLE"
            assert "is locked by another process" in text
            assert (await refusal(call, seen))[0] == "STORE_UNAVAILABLE"
            other.rollback()
        assert len(seen) == COUNT + 1  # nothing but the end is missing
        ran = len(runs_in(tmp_path / "writer"))
        rest = await read(stub.Optimize(request_of("writer", tmp_path, after=len(seen))))
        check_all(seen + rest, tmp_path)
        assert len(runs_in(tmp_path / "writer")) == ran
        check_all(await read(stub.Optimize(request_of("new", tmp_path, 2))), tmp_path, 2)


async def test_a_catalogue_that_is_damaged_ends_nothing_wrongly(tmp_path):
    state = tmp_path / "state"
    async with serving(state) as (stub, _):
        call = stub.Optimize(request_of("writer", tmp_path))
        seen = await read(call, 20)
        for file in state.glob("catalogue.sqlite*"):
            if not file.name.endswith("-shm"):
                with file.open("r+b") as opened:
                    opened.write(b"\xa5" * file.stat().st_size)
        reason, text = await refusal(stub.Optimize(request_of("new", tmp_path, 2)))
        assert reason == "STORE_UNAVAILABLE"
        assert "is damaged; move the files catalogue.sqlite* away and start again" in text
        assert (await refusal(call, seen))[0] == "STORE_UNAVAILABLE"
    assert [event.sequence_number for event in seen] == list(range(1, COUNT + 2))
    with pytest.raises(StoreUnavailableError, match="is damaged"):
        open_store(state, "the test")
    for file in state.glob("catalogue.sqlite*"):
        file.unlink()
    async with serving(state) as (stub, _):
        check_all(await read(stub.Optimize(request_of("writer", tmp_path))), tmp_path)


async def test_a_state_directory_that_becomes_read_only_ends_nothing_wrongly(tmp_path):
    state = tmp_path / "state"
    async with serving(state) as (stub, channel):
        call = stub.Optimize(request_of("writer", tmp_path))
        seen = await read(call, 20)
        with read_only(state):
            reason, _ = await refusal(stub.Optimize(request_of("new", tmp_path, 2)))
            assert reason == "STORE_UNAVAILABLE"
            await health_becomes(channel, States.NOT_SERVING)
        await health_becomes(channel, States.SERVING)
        check_all(seen + await read(call), tmp_path)
        check_all(await read(stub.Optimize(request_of("new", tmp_path, 2))), tmp_path, 2)
