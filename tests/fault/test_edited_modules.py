"""Modules that are edited while an optimization runs on them and its workers are killed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.execution.scheduler import RunMode
from stratsweep_server.optimization import GridSearchOptimizer, IntegerRange, OptimizationConfig

from tests.fault.conftest import START_METHODS, at_full_strength
from tests.waiting import until

ENGINE = """
import time
from stratsweep_server.backtest import BacktestResult

class Engine:
    def run_sync(self, config):
        import imported_late
        time.sleep(0.001)
        return BacktestResult({"score": 1.0, "late": imported_late.VALUE})
"""


@pytest.mark.parametrize("start_method", START_METHODS)
async def test_all_outcomes_are_of_the_modules_as_they_were_first(
    start_method, tmp_path, monkeypatch
):
    (tmp_path / "edited_engine.py").write_text(ENGINE)
    (tmp_path / "imported_late.py").write_text("VALUE = 1.0")
    monkeypatch.chdir(tmp_path)
    completed = []
    pool = WorkerPool(EngineSpec("edited_engine:Engine"), max_workers=2, start_method=start_method)
    async with pool:
        optimizer = GridSearchOptimizer(pool=pool)
        config = OptimizationConfig(
            "any", ["ANY"], {"x": IntegerRange(0, 999)}, optimization_target="score"
        )
        running = asyncio.create_task(optimizer.optimize(config, lambda *each: completed.append(1)))
        for count in (1, 300, 600):
            await until(lambda wanted=count: len(completed) >= wanted, "progress")
            edit(tmp_path, version=count)
            for slot in pool.slots:
                # Not the second run of a suspect: killed twice, it would rightly be a crash.
                if slot.chunk is not None and slot.chunk.mode is not RunMode.ALONE:
                    os.kill(slot.worker_pid, signal.SIGKILL)
        result = await running
        await at_full_strength(pool)
    assert result.failures == ()
    assert {(each.metrics["score"], each.metrics["late"]) for each in result.ranked_results} == {
        (1.0, 1.0)
    }


def edit(directory: Path, version: int) -> None:
    """Another version of both; the second time it cannot be loaded, and the third time is gone."""
    engine, late = directory / "edited_engine.py", directory / "imported_late.py"
    if version == 600:
        engine.unlink()
        late.unlink()
    else:
        engine.write_text(ENGINE.replace("1.0,", "2.0," if version == 1 else "("))
        late.write_text("VALUE = 2.0")
