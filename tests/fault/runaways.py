"""An engine whose backtests start processes that get away from their worker."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from stratsweep_server.backtest import BacktestConfig, BacktestResult

STARTS_THEM = 0
"""The value of x at which they are started; the strategy's name says what happens afterwards."""


class Runaways:
    """Leaves a process in a session of its own, and an orphan: its parent is gone."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        if config.strategy.parameters["x"] == STARTS_THEM:
            folder = Path(config.symbols[0])
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            script = "sleep 600 & echo $! > orphan.part; mv orphan.part orphan.pid"
            subprocess.run(["sh", "-c", script], start_new_session=True, cwd=folder, check=True)
            (folder / "worker.pid").write_text(str(os.getpid()))
            (folder / "session.pid").write_text(str(child.pid))
            getattr(self, f"_{config.strategy.name}")()
        return BacktestResult({"score": 1.0})

    def _hang(self) -> None:
        time.sleep(600)

    def _exit(self) -> None:
        os._exit(3)

    def _go_on(self) -> None:
        pass


def pids_in(folder: Path) -> dict[str, int]:
    """The processes by name, once all have been noted."""
    names = ("orphan", "worker", "session")
    if not (folder / "session.pid").exists() or not (folder / "session.pid").read_text():
        return {}
    return {name: int((folder / f"{name}.pid").read_text()) for name in names}
