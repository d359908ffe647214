"""An engine that notes in a file which backtests have run, however often its server is killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from stratsweep_server.backtest import BacktestConfig, BacktestResult

BACKTEST_SECONDS = 0.001


class CountingEngine:
    """Scores x; the first symbol is a folder, in which each strategy has a file of its runs."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        x = config.strategy.parameters["x"]
        time.sleep(BACKTEST_SECONDS)
        note_run(Path(config.symbols[0], config.strategy.name), x)
        return BacktestResult({"score": float(x * 7_919 % 5_003), "tie": float(x % 7)})


class GatedEngine(CountingEngine):
    """The same, where a backtest of `gated` waits until there is a file `gate` in the folder."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        gate = Path(config.symbols[0], "gate")
        while config.strategy.name == "gated" and not gate.exists():
            time.sleep(0.01)
        return super().run_sync(config)


def note_run(path: Path, x: int) -> None:
    """Append a line in one write, which no kill can tear and no other process interrupt."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"%d\n" % x)
    finally:
        os.close(descriptor)


def runs_in(path: Path) -> list[int]:
    """Which backtests have run, in their order; one that ran twice is there twice."""
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []
