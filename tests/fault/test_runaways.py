"""What a backtest started ends with its worker, whatever its session and whoever its parent."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.fork_server import default_start_method
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.optimization import (
    FailureKind,
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
)

from tests.fault.conftest import at_full_strength
from tests.fault.runaways import Runaways, pids_in
from tests.waiting import is_alive, until

pytestmark = pytest.mark.skipif(
    default_start_method() != "forkserver", reason="nobody adopts orphans here"
)


def config_of(folder: Path, strategy: str, count: int = 1, **options) -> OptimizationConfig:
    return OptimizationConfig(
        strategy,
        [str(folder)],
        {"x": IntegerRange(0, count - 1)},
        optimization_target="score",
        **options,
    )


async def all_gone(folder: Path) -> None:
    pids = pids_in(folder)
    assert pids
    await until(lambda: not any(map(is_alive, pids.values())), f"{pids} are gone")


@pytest.fixture
async def pool():
    async with WorkerPool(EngineSpec(Runaways), max_workers=2) as pool:
        await pool.describe_engine()
        await at_full_strength(pool)
        yield pool


@pytest.mark.parametrize(
    ("strategy", "kind"), [("hang", FailureKind.TIMED_OUT), ("exit", FailureKind.CRASHED)]
)
async def test_they_end_with_a_worker_that_is_killed_or_dies(pool, tmp_path, strategy, kind):
    config = config_of(tmp_path, strategy, backtest_timeout=0.5)
    (failure,) = (await GridSearchOptimizer(pool=pool).optimize(config)).failures
    assert failure.kind is kind
    await all_gone(tmp_path)
    await at_full_strength(pool)


async def test_they_end_with_an_optimization_that_is_cancelled(pool, tmp_path):
    running = asyncio.create_task(
        GridSearchOptimizer(pool=pool).optimize(config_of(tmp_path, "hang"))
    )
    await until(lambda: pids_in(tmp_path) != {}, "they have been started")
    running.cancel()
    await all_gone(tmp_path)
    await at_full_strength(pool)


async def test_they_stay_while_their_worker_lives_and_others_die(pool, tmp_path):
    theirs, others = tmp_path / "theirs", tmp_path / "others"
    theirs.mkdir()
    others.mkdir()
    optimizer = GridSearchOptimizer(pool=pool)
    running = asyncio.create_task(optimizer.optimize(config_of(theirs, "hang")))
    await until(lambda: pids_in(theirs) != {}, "they have been started")
    await optimizer.optimize(config_of(others, "exit"))
    await all_gone(others)
    assert all(map(is_alive, pids_in(theirs).values()))
    running.cancel()
    await all_gone(theirs)


async def test_they_end_when_the_pool_closes(tmp_path):
    async with WorkerPool(EngineSpec(Runaways), max_workers=1) as pool:
        await GridSearchOptimizer(pool=pool).optimize(config_of(tmp_path, "go_on"))
        assert all(map(is_alive, pids_in(tmp_path).values()))
    await all_gone(tmp_path)


async def test_processes_that_the_program_itself_started_by_the_fork_server_stay(pool, tmp_path):
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=time.sleep, args=(600,))
    process.start()
    try:
        await GridSearchOptimizer(pool=pool).optimize(config_of(tmp_path, "exit"))
        await all_gone(tmp_path)
        assert process.is_alive()
    finally:
        process.kill()
        process.join()


SERVER = """
import asyncio, sys
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.optimization import GridSearchOptimizer, OptimizationConfig
from tests.fault.runaways import Runaways

async def main(directory, strategy):
    config = OptimizationConfig(strategy, [directory], {"x": [0]}, optimization_target="score")
    async with WorkerPool(EngineSpec(Runaways), max_workers=1) as pool:
        await GridSearchOptimizer(pool=pool).optimize(config)
        await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("strategy", ["hang", "go_on"])
async def test_they_end_with_a_server_that_is_killed(tmp_path, strategy):
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    root = Path(__file__).parents[2]
    with subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment, nothing else waits
        [sys.executable, str(script), str(tmp_path), strategy],
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as server:
        await until(lambda: pids_in(tmp_path) != {}, "they have been started")
        server.send_signal(signal.SIGKILL)
    await all_gone(tmp_path)
