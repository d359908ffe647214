"""One pool per start method, shared by all faults: each must leave it at full strength."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.execution.slot import SlotState

from tests.fault.faulty_engine import FaultyEngine
from tests.waiting import until


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["forkserver", "spawn"], name="pool"
)
async def pool_of_two(request, tmp_path_factory) -> AsyncIterator[WorkerPool]:
    """Two workers with the faulty engine; nothing of them may be left at the end."""
    scratch = tmp_path_factory.mktemp("scratch")
    before = set(threading.enumerate())
    engine = EngineSpec(FaultyEngine)
    async with WorkerPool(
        engine, max_workers=2, start_method=request.param, directory=scratch
    ) as pool:
        await pool.describe_engine()
        yield pool
    leftovers = [
        thread for thread in set(threading.enumerate()) - before if "asyncio" not in thread.name
    ]
    assert leftovers == []
    assert list(scratch.iterdir()) == []


async def at_full_strength(pool: WorkerPool) -> None:
    """Wait until every slot has an idle worker; its files and descriptors are all there are."""
    await until(
        lambda: all(slot.state is SlotState.IDLE for slot in pool.slots), "every slot is idle"
    )
    assert len({slot.worker_pid for slot in pool.slots}) == pool.worker_count
    names = {path.name.partition("-")[0] for path in pool.directory.iterdir()}
    assert names <= {"worker"}


def descriptor_count() -> int:
    """How many file descriptors this process has open."""
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))
