"""A server that is killed again and again under clients that go on by themselves."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from stratsweep import (
    AsyncClient,
    Client,
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    Progress,
)
from stratsweep_server.optimization.store import Store
from stratsweep_server.storage.disk_store import open_store

from tests.fault.counting_engine import runs_in
from tests.fault.server_program import ServerProgram, running
from tests.waiting import GENEROUS_SECONDS

COUNT = 5_000
ENGINE = ("--engine", "tests.fault.counting_engine:CountingEngine")
FACES = ("sync", "async")
"""The optimizations: each has the name of the client that follows it."""


@pytest.fixture(autouse=True)
def eager_clients(monkeypatch):
    monkeypatch.setattr("stratsweep._follower._FIRST_PAUSE", 0.02)
    monkeypatch.setattr("stratsweep._follower._LONGEST_PAUSE", 0.1)


def sync_events(address: str, folder: Path) -> list[OptimizationEvent]:
    with Client(address, connect_timeout=60) as client:
        return list(client.optimize("sync", optimization_id="sync", **options(folder)))


def async_events(address: str, folder: Path) -> list[OptimizationEvent]:
    async def read() -> list[OptimizationEvent]:
        async with AsyncClient(address, connect_timeout=60) as client:
            stream = client.optimize("async", optimization_id="async", **options(folder))
            return [event async for event in stream]

    return asyncio.run(read())


def options(folder: Path) -> dict:
    return {
        "symbols": str(folder),
        "parameters": {"x": range(COUNT)},
        "optimization_target": "tie",
    }


def run_count(folder: Path) -> int:
    return sum(len(runs_in(folder / face)) for face in FACES)


def wait_for_runs(folder: Path, count: int, futures: list[Future]) -> None:
    """Wait until so many backtests have run."""
    deadline = time.monotonic() + GENEROUS_SECONDS
    while run_count(folder) < count:
        assert time.monotonic() < deadline, "backtests run no more"
        assert not all(future.done() for future in futures), [f.exception() for f in futures]
        time.sleep(0.002)


def on_disk(store: Store, name: str) -> list[int]:
    return store.log("", name).indices().tolist()


def kill_and_check(program: ServerProgram, store: Store, folder: Path, kept: dict) -> None:
    """Kill the server, and see that what was on the disk before has stayed and not run again.

    Args:
        program: The server.
        store: What it keeps.
        folder: Where the engine notes its runs.
        kept: By optimization, what was on the disk after the last kill, and how many had run.
    """
    program.kill()
    for face in FACES:
        before, ran_before = kept.get(face, ([], 0))
        now, runs = on_disk(store, face), runs_in(folder / face)
        assert now[: len(before)] == before
        assert set(before).isdisjoint(runs[ran_before:])
        kept[face] = now, len(runs)


def check_events(events: list[OptimizationEvent]) -> OptimizationResult:
    """See that each combination has one outcome; return the result."""
    started, *progress, result = events
    assert isinstance(started, OptimizationStarted)
    assert all(isinstance(event, Progress) for event in progress)
    assert [event.completed_count for event in progress] == list(range(1, COUNT + 1))
    seen = [event.outcomes[0].combination_index for event in progress]
    assert sorted(seen) == list(range(COUNT))
    elapsed = [event.elapsed_duration for event in progress]
    assert elapsed == sorted(elapsed)
    assert isinstance(result, OptimizationResult)
    assert result.state is OptimizationState.SUCCEEDED
    return result


def ranking_of(result: OptimizationResult) -> list[tuple]:
    return [(row.rank, row.combination_index, dict(row.metrics)) for row in result.ranked]


def run_with_kills(folder: Path, kill_count: int, chance: random.Random) -> None:
    """Kill a server so often while two clients follow an optimization each, and check it all."""
    state, runs = folder / "state", folder / "runs"
    runs.mkdir()
    listen = f"unix:{folder / 'socket'}"
    program = ServerProgram("--state", str(state), *ENGINE, listen=listen)
    program.start()
    store = open_store(state, "the test")
    kept: dict = {}
    with ThreadPoolExecutor(2) as threads:
        futures = [
            threads.submit(follow, program.address, runs) for follow in (sync_events, async_events)
        ]
        try:
            for number in range(1, kill_count + 1):
                share = (number - chance.random()) / (kill_count + 1)
                wait_for_runs(runs, max(int(share * COUNT * 2), run_count(runs) + 1), futures)
                kill_and_check(program, store, runs, kept)
                program.start()
            seen = [future.result() for future in futures]
        finally:
            program.kill()
    for face in FACES:
        before, ran_before = kept[face]
        assert set(before).isdisjoint(runs_in(runs / face)[ran_before:])
        assert sorted(on_disk(store, face)) == list(range(COUNT))
    store.close()
    check_replays(state, runs, listen, seen)
    check_against_an_undisturbed_run(folder / "undisturbed", seen)


def check_replays(state: Path, runs: Path, listen: str, seen: list) -> None:
    """See that who asks later gets what the clients saw, and that nothing runs for it."""
    ran = run_count(runs)
    with running("--state", str(state), *ENGINE, listen=listen) as program:
        assert [sync_events(program.address, runs), async_events(program.address, runs)] == seen
    assert run_count(runs) == ran


def check_against_an_undisturbed_run(folder: Path, seen: list) -> None:
    """See that both rankings are what they are when nobody kills anything."""
    folder.mkdir()
    with running("--state", "none", *ENGINE) as program:
        undisturbed = ranking_of(check_events(sync_events(program.address, folder)))
    for events in seen:
        assert ranking_of(check_events(events)) == undisturbed


@pytest.mark.timeout(300)
def test_twenty_kills_lose_nothing_and_run_nothing_again_that_was_kept(tmp_path):
    run_with_kills(tmp_path, 20, random.Random(13))


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_two_hundred_kills_lose_nothing_and_run_nothing_again_that_was_kept(tmp_path):
    run_with_kills(tmp_path, 200, random.Random(14))
