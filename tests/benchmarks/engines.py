"""Engines that do nothing, burn a set amount of work, sleep, or hang; used in worker processes."""

from __future__ import annotations

import math
import os
import random
import time
from pathlib import Path

from stratsweep_server.backtest import BacktestConfig, BacktestResult

SEED = 20_240_229


def no_op(x: int) -> float:
    """What a backtest costs when it costs nothing."""
    return float(x)


def burn(x: int, iterations: int, sigma: float) -> tuple[float, float]:
    """Keep a core busy with a fixed amount of work; returns the CPU and the wall seconds it took.

    Args:
        x: Chooses the amount, the same in every run.
        iterations: The median amount.
        sigma: Of the lognormal factor on it; 0 makes all amounts equal.
    """
    wall, cpu = time.perf_counter(), time.thread_time()
    factor = math.exp(sigma * random.Random(f"{SEED}:{x}").gauss(0, 1))
    value = x
    for _ in range(int(iterations * factor)):
        value = (value * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return time.thread_time() - cpu, time.perf_counter() - wall


def nap(seconds: float) -> float:
    """Sleep; returns the wall seconds it took."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def calibrated_iterations(seconds: float) -> int:
    """Iterations of `burn` that take this many CPU seconds, on a core of its own."""
    trial = 1_000_000
    fastest = min(burn(0, trial, 0.0)[0] for _ in range(5))
    return int(trial * seconds / fastest)


class NoOpEngine:
    """Answers at once."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """The score is x."""
        return BacktestResult({"score": no_op(config.strategy.parameters["x"])})


class BurnEngine:
    """Runs `burn` with the combination's parameters."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """The score is x."""
        values = config.strategy.parameters
        cpu, wall = burn(values["x"], values["iterations"], values["sigma"])
        return BacktestResult({"score": values["x"], "cpu": cpu, "wall": wall})


class NapEngine:
    """Sleeps."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """The score is x."""
        values = config.strategy.parameters
        return BacktestResult({"score": values["x"], "wall": nap(values["seconds"])})


class ProbeEngine:
    """Says when a backtest started; `hang@X` hangs from combination X on and leaves a note of it.

    The first symbol is the directory for the notes.
    """

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """The metric `start` is in monotonic seconds, which all processes share."""
        start = time.monotonic()
        x = config.strategy.parameters["x"]
        action, _, first = config.strategy.name.partition("@")
        if action == "hang" and x >= int(first):
            leave_note(Path(config.symbols[0]), start)
            while True:
                pass
        if action == "hang_once" and x == int(first):
            leave_note(Path(config.symbols[0]), start)
            while True:
                pass
        if action == "nap":
            time.sleep(0.5)
        return BacktestResult({"score": x, "start": start})


def leave_note(folder: Path, start: float) -> None:
    """A file per process with the time when its hang began."""
    part = folder / f"{os.getpid()}.part"
    part.write_text(repr(start))
    part.rename(folder / f"{os.getpid()}.start")
