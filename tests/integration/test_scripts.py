"""Engines and strategies that are defined in a script, a notebook's cell, or `python -c`.

Workers do not import any of these: it travels by value, and no main guard is needed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import SYNTHETIC_SYMBOL, write_synthetic_market

IMPORTS = """
import asyncio, multiprocessing, threading
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from stratsweep_server.backtest import (
    BacktestResult, Bars, Integers, Parameter, indicator, strategy
)
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.optimization import (
    EngineLoadError, GridSearchOptimizer, IntegerRange, OptimizationConfig, WorkersUnavailableError
)

print("the top level runs")
"""

ENGINE = (
    IMPORTS
    + """
@dataclass
class Settings:
    wanted: int = 3

SETTINGS = Settings()

class Base:
    def __init__(self):
        self.lock = threading.Lock()

class Engine(Base):
    def run_sync(self, config):
        with self.lock:
            distance = config.strategy.parameters["n"] - SETTINGS.wanted
            return BacktestResult({"p": -(distance**2)})

CONFIG = OptimizationConfig("x", ["A"], {"n": IntegerRange(1, 6)}, optimization_target="p")

async def run(**options):
    async with GridSearchOptimizer(**options) as optimizer:
        result = await optimizer.optimize(CONFIG)
    print(result.state.value, result.best.parameters)
"""
)
RUN = "asyncio.run(run(engine=Engine, max_workers=2))\n"
GUARDED = "if __name__ == '__main__':\n    " + RUN
FOUND = ["the top level runs", "SUCCEEDED {'n': 3}"]


def output(directory: Path, code: str, how: str = "file", *, stderr: str = "") -> list[str]:
    """What a program of this code prints, and exactly this on standard error."""
    script = directory / "sweep.py"
    script.write_text(code)
    arguments = {"file": [str(script)], "stdin": ["-"], "-c": ["-c", code]}[how]
    process = subprocess.run(
        [sys.executable, *arguments],
        input=code if how == "stdin" else "",
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=100,
        check=False,
    )
    assert process.stderr == stderr
    # A machine's first start compiles the kernels, and says so.
    return [line for line in process.stdout.splitlines() if not line.startswith("note:")]


@pytest.mark.parametrize(
    ("how", "run"), [("file", RUN), ("file", GUARDED), ("stdin", RUN), ("-c", RUN)]
)
def test_an_engine_of_the_main_module_works_and_its_top_level_runs_once(how, run, tmp_path):
    assert output(tmp_path, ENGINE + run, how) == FOUND


def test_it_works_without_a_fork_server_too(tmp_path):
    code = """
async def main():
    async with WorkerPool(EngineSpec(Engine), max_workers=2, start_method="spawn") as pool:
        await run(pool=pool)

asyncio.run(main())
"""
    assert output(tmp_path, ENGINE + code) == FOUND


def test_it_works_in_a_process_that_multiprocessing_started(tmp_path):
    code = """
def inner():
    asyncio.run(run(engine=Engine, max_workers=1))

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=inner)
    process.start()
    process.join()
"""
    # The user's own process imports the script again, as multiprocessing has it; workers do not.
    assert output(tmp_path, ENGINE + code) == ["the top level runs", *FOUND]


STRATEGIES = (
    IMPORTS
    + f"""
@indicator
def mean_close(bars: "Bars", period: int):
    return np.convolve(bars.close, np.ones(period) / period)[: len(bars)]

@strategy(name="above-mean")
def above(bars: "Bars", period: "Annotated[Integers, Parameter('Bars.', minimum=1)]" = 5):
    means = mean_close(bars, period)
    return bars.close > means.table[means.rows]

def pick(number, run):
    return np.random.rand() * number > run

def coin(bars: Bars, run: int = 1):
    return [pick(1, 0.5) for _ in range(len(bars))]

async def best(optimizer, strategy, parameter, values):
    config = OptimizationConfig(strategy, ["{SYNTHETIC_SYMBOL}"], {{parameter: values}})
    ranked = (await optimizer.optimize(config)).ranked_results
    return {{each.parameters[parameter]: each.metrics for each in ranked}}

async def main():
    async with GridSearchOptimizer(2, data=".", strategies=[coin]) as optimizer:
        print(len(await best(optimizer, "above-mean", "period", [5, 10])))
        coins = await best(optimizer, "coin", "run", range(20))
        print(len({{each["final_equity"] for each in coins.values()}}))
        print(await best(optimizer, "coin", "run", [7]) == {{7: coins[7]}})

asyncio.run(main())
"""
)


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_strategies_of_the_main_module_work_decorated_or_given_as_functions(how, tmp_path):
    write_synthetic_market(tmp_path / f"{SYNTHETIC_SYMBOL}.csv")
    assert output(tmp_path, STRATEGIES, how) == ["the top level runs", "2", "20", "True"]


def test_what_cannot_be_sent_is_one_line_and_no_worker_is_started(tmp_path):
    code = """
try:
    asyncio.run(run(engine=Engine()))
except EngineLoadError as error:
    print(error)
"""
    _, text = output(tmp_path, ENGINE + code)
    assert text.startswith(
        "engine 'Engine' cannot be sent to worker processes: 'lock' in 'Engine' cannot be pickled"
    )


def test_an_engine_that_cannot_be_loaded_is_logged_once_for_all_workers_and_attempts(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "away.py").write_text("class Engine:\n    def run_sync(self, config): 1\n")
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("away", "far/away.py")
sys.modules["away"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
try:
    asyncio.run(run(engine=module.Engine, max_workers=1))
except WorkersUnavailableError as error:
    print(error)
"""
    cause = (
        "the engine, or a strategy, cannot be loaded in a worker: "
        "ModuleNotFoundError: No module named 'away'; "
        "its module must be in the current directory or on PYTHONPATH"
    )
    lines = output(tmp_path, ENGINE + code, stderr=f"worker 0 did not start: {cause}\n")
    assert lines[1:] == [f"no worker starts: {cause}"]
