"""Files and folders that somebody removes, or that are full, while a server runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from multiprocessing import forkserver
from pathlib import Path

import pytest
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.fork_server import default_start_method
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.optimization import (
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
)

from tests.engines import ScriptedEngine
from tests.fault.conftest import START_METHODS, at_full_strength
from tests.fault.faulty_engine import ReadsBars
from tests.waiting import until

CLOSES = [10.0, 11.0, 12.0]


@pytest.fixture
def prices(tmp_path) -> Path:
    folder = tmp_path / "prices"
    folder.mkdir()
    rows = [f"2024-01-0{day},10,20,9,{close},100" for day, close in enumerate(CLOSES, 2)]
    (folder / "SPY.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows, ""]))
    return folder


async def replace_workers(pool: WorkerPool) -> None:
    """Kill every worker, and wait until there are others."""
    old = {slot.worker_pid for slot in pool.slots}
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    await until(
        lambda: not {None, *old} & {slot.worker_pid for slot in pool.slots}, "they are replaced"
    )


def remove_everything_in(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)


@pytest.mark.parametrize("start_method", START_METHODS)
async def test_new_workers_get_what_they_need_though_the_run_directory_is_gone(
    start_method, prices, tmp_path
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pool = WorkerPool(
        EngineSpec(ReadsBars), max_workers=2, start_method=start_method, directory=scratch
    )
    async with pool:
        optimizer = GridSearchOptimizer(pool=pool, data=prices)
        completed: list[int] = []
        config = OptimizationConfig(
            "slow", ["SPY"], {"x": IntegerRange(0, 99)}, optimization_target="last_close"
        )
        running = asyncio.create_task(
            optimizer.optimize(config, lambda count, _: completed.append(count))
        )
        await until(lambda: len(completed) > 5, "it is at work")
        remove_everything_in(scratch)
        await replace_workers(pool)
        result = await running
        assert result.failures == ()
        assert {row.metrics["last_close"] for row in result.ranked_results} == {CLOSES[-1]}
        again = await optimizer.optimize(config)  # the directory is made again
        assert again.failures == ()
        remove_everything_in(scratch)
        loaded = pool.generation
        pool.reload()
        await until(lambda: pool.generation is not loaded, "the engine is loaded anew")
        await at_full_strength(pool)


@pytest.mark.skipif(default_start_method() != "forkserver", reason="there is no fork server here")
async def test_workers_are_started_and_none_is_lost_though_the_fork_servers_socket_is_gone():
    async with WorkerPool(EngineSpec(ScriptedEngine), max_workers=2) as pool:
        await pool.describe_engine()
        await at_full_strength(pool)
        kept, victim = (slot.worker_pid for slot in pool.slots)
        lost = forkserver._forkserver._forkserver_address
        shutil.rmtree(Path(lost).parent)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: pool.slots[1].worker_pid not in (None, victim), "it was replaced")
        await at_full_strength(pool)
        assert pool.slots[0].worker_pid == kept
        assert forkserver._forkserver._forkserver_address != lost
        await replace_workers(pool)
        await at_full_strength(pool)
