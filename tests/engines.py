"""Engines that behave as a test tells them to, in real worker processes.

A config's strategy name is the script: `raise@13,exit@17` raises at x = 13, exits at x = 17, and
runs every other combination normally. Its first symbol is a directory in which pids are noted.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from stratsweep_server.backtest import (
    BacktestConfig,
    BacktestResult,
    BatchConfig,
    BatchResult,
    EngineDescription,
    Metric,
    MetricUnit,
    OptimizationDirection,
    ParameterType,
    Strategy,
    StrategyConfig,
    StrategyParameter,
)


class DrawingEngine:
    """Its score is random, and what it drew when it was built is a metric, too."""

    def __init__(self) -> None:
        self._drawn = np.random.rand()

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        ScriptedEngine().run_sync(config)
        return BacktestResult({"score": np.random.rand() + random.random(), "built": self._drawn})


class ScriptedEngine:
    """Declares nothing; does what the strategy's name says for the parameter x."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        start = time.monotonic()
        x = config.strategy.parameters["x"]
        for step in config.strategy.name.split(","):
            action, _, value = step.partition("@")
            if value in ("*", str(x)):
                getattr(self, f"_{action}")(config, x)
        return BacktestResult(
            {"score": float(x), "pid": os.getpid(), "start": start, "end": time.monotonic()}
        )

    def _ok(self, config, x):
        pass

    def _nap(self, config, x):
        time.sleep(0.02)

    def _tick(self, config, x):
        time.sleep(0.001)

    def _raise(self, config, x):
        raise ValueError(f"no luck with {x}")

    def _exit(self, config, x):
        os._exit(3)

    def _exit_once(self, config, x):
        note = Path(config.symbols[0], f"exited-{x}")
        if not note.exists():
            note.touch()
            os._exit(3)

    def _segfault(self, config, x):
        os.kill(os.getpid(), signal.SIGSEGV)

    def _hang(self, config, x):
        note_pid(config, x)
        while True:
            pass

    def _sleep(self, config, x):
        note_pid(config, x)
        time.sleep(600)


class ScriptedBatchEngine(ScriptedEngine):
    """The same in batches, without saying which backtest it is on; `count` is the batch's size."""

    def run_batch(self, config: BatchConfig) -> BatchResult:
        rows = [
            self.run_sync(
                BacktestConfig(StrategyConfig(config.strategy, {"x": x}), config.symbols)
            ).metrics
            for x in config.parameters["x"].tolist()
        ]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return BatchResult(columns | {"count": np.full(config.count, float(config.count))})


class AverageEngine(ScriptedEngine):
    """Declares nothing; takes fast and slow: `sma_cross` scores, others do what their name says."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        fast, slow = (config.strategy.parameters[name] for name in ("fast", "slow"))
        if config.strategy.name != "sma_cross":
            getattr(self, f"_{config.strategy.name}")(config, f"{fast}-{slow}")
        return BacktestResult({"sharpe_ratio": (slow - fast) / 100})


def note_pid(config: BacktestConfig, x: object) -> None:
    """Leave a file named after this process where the test looks for it."""
    note = Path(config.symbols[0]) / f"{x}.pid"
    part = note.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.rename(note)


class DeclaringEngine:
    """Declares one strategy and one metric; loads its own data."""

    def describe(self) -> EngineDescription:
        return EngineDescription(
            strategies=(
                Strategy(
                    "parabola",
                    "Best at x = 3.",
                    (
                        StrategyParameter("x", ParameterType.DOUBLE, minimum=-10, maximum=10),
                        StrategyParameter("shift", ParameterType.INTEGER, default=3),
                    ),
                ),
            ),
            metrics=(
                Metric("height", "How high.", MetricUnit.RATIO),
                Metric(
                    "distance", "How far away.", MetricUnit.RATIO, OptimizationDirection.MINIMIZE
                ),
            ),
        )

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        values = config.strategy.parameters
        distance = (values["x"] - values.get("shift", 3)) ** 2
        return BacktestResult({"height": -distance, "distance": distance})


def thread_count() -> int:
    """Threads of this process, the ones of C libraries included."""
    return len(list(Path("/proc/self/task").iterdir()))


class ThreadCounter:
    """Counts this process's threads before and after a product of large matrices."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        before = thread_count()
        matrix = np.ones((600, 600))
        np.linalg.norm(matrix @ matrix)
        return BacktestResult({"threads": before, "threads_after": thread_count()})


class ConstructorRaises:
    """An engine that never comes to be."""

    def __init__(self) -> None:
        raise RuntimeError("no licence for this engine")


def exits_at_start() -> object:
    """A factory that ends the process without a word."""
    sys.stderr.flush()
    os._exit(7)


def is_never_ready() -> object:
    """A factory that does not come to an end."""
    while True:
        time.sleep(600)
