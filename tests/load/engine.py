"""The cheap engine of the load test: its score can be foretold, its failures too."""

from __future__ import annotations

import os
import time

from stratsweep_server.backtest import BacktestConfig, BacktestResult

RAISES_EVERY = 97
EXITS_AT = 23
HANGS_AT = 41


def score(x: int, salt: int) -> float:
    """What the backtest of x gives; the salt tells one optimization from another."""
    return float((x * 7_919 + salt) % 10_007)


def expected_failures(strategy: str, count: int) -> dict[int, str]:
    """Kind of failure by combination index."""
    if strategy != "faulty":
        return {}
    failures = dict.fromkeys(range(0, count, RAISES_EVERY), "ERROR")
    failures |= {EXITS_AT: "CRASHED", HANGS_AT: "TIMED_OUT"}
    return {x: kind for x, kind in failures.items() if x < count}


class LoadEngine:
    """Strategies: `quick` answers at once, `nap` takes 20 ms, `faulty` fails now and then."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """Run x."""
        x, salt = config.strategy.parameters["x"], config.strategy.parameters["salt"]
        if config.strategy.name == "nap":
            time.sleep(0.02)
        if config.strategy.name == "faulty":
            self._fail(x)
        return BacktestResult({"score": score(x, salt), "salt": salt})

    def _fail(self, x: int) -> None:
        if x == EXITS_AT:
            os._exit(3)
        if x == HANGS_AT:
            time.sleep(600)
        if x % RAISES_EVERY == 0:
            raise ValueError(f"no luck with {x}")
