"""One pool per start method, shared by all faults: each must leave it at full strength."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.execution.slot import SlotState

from tests.fault.faulty_engine import FaultyBatchEngine, FaultyEngine
from tests.waiting import until

START_METHODS = ["forkserver", "spawn"]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=START_METHODS, name="pool")
async def pool_of_two(request, tmp_path_factory) -> AsyncIterator[WorkerPool]:
    """Two workers with the faulty engine; nothing of them may be left at the end."""
    async with open_pool(FaultyEngine, request.param, tmp_path_factory.mktemp("scratch")) as pool:
        yield pool


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=START_METHODS)
async def batch_pool(request, tmp_path_factory) -> AsyncIterator[WorkerPool]:
    """The same with the faulty engine that takes batches."""
    scratch = tmp_path_factory.mktemp("scratch")
    async with open_pool(FaultyBatchEngine, request.param, scratch) as pool:
        yield pool


@asynccontextmanager
async def open_pool(engine: type, start_method: str, scratch: Path) -> AsyncIterator[WorkerPool]:
    before = set(threading.enumerate())
    async with WorkerPool(
        EngineSpec(engine), max_workers=2, start_method=start_method, directory=scratch
    ) as pool:
        await pool.describe_engine()
        yield pool
    check_that_nothing_is_left(before, scratch)


def check_that_nothing_is_left(threads_before: set[threading.Thread], scratch: Path) -> None:
    threads = set(threading.enumerate()) - threads_before
    kept = {"asyncio", "background"}  # nobody joins the second, and the process keeps them
    assert [each for each in threads if each.name.partition("_")[0] not in kept] == []
    assert list(scratch.iterdir()) == []


async def at_full_strength(pool: WorkerPool) -> None:
    """Wait until every slot has an idle worker."""
    await until(
        lambda: all(slot.state is SlotState.IDLE for slot in pool.slots), "every slot is idle"
    )
    assert len({slot.worker_pid for slot in pool.slots}) == pool.worker_count


def descriptor_count() -> int:
    """How many file descriptors this process has open."""
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))
