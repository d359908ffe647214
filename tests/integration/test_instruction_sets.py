"""What a machine's vector instructions have to do with the results: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

METRICS = """
import numpy as np
from stratsweep_server.backtest import BatchConfig
from stratsweep_server.backtest.default import DefaultEngine
from stratsweep_server.backtest.default.strategies import BUILT_IN
from tests.unit.backtest.markets import random_bars

bars = {"WALK": random_bars(5, 1_000), "TICKS": random_bars(6, 1_000, tick=1.0)}
for name in BUILT_IN:
    shorts = {} if name == "buy_and_hold" else {"allow_short": np.array([False, True])}
    for symbols in (["WALK"], ["TICKS"], ["WALK", "TICKS"]):
        config = BatchConfig(
            name, len(shorts) + 1, shorts, tuple(symbols), commission=0.001, bars=bars
        )
        for metric, values in DefaultEngine().run_batch(config).metrics.items():
            print(name, *symbols, metric, *(value.hex() for value in values.tolist()))
"""


def metrics_of_processors(**environment: str) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-c", METRICS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )
    return process.stdout.splitlines()


def test_kernels_without_the_newer_vector_instructions_give_the_same_bits():
    ours = metrics_of_processors()
    assert len(ours) > 300
    assert metrics_of_processors(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ours
