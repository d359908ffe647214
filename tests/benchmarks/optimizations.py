"""Optimizations as the figures run them: x = 0 … count - 1 on one of the benchmark's engines."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from stratsweep_server.optimization import (
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
    OptimizationResult,
)

WORKERS = 2


@asynccontextmanager
async def optimizer_of(engine: str, workers: int = WORKERS) -> AsyncIterator[GridSearchOptimizer]:
    """An optimizer whose workers are all ready and have run a backtest."""
    factory = f"tests.benchmarks.engines:{engine}"
    async with GridSearchOptimizer(workers, factory) as optimizer:
        yield optimizer


async def optimize(
    optimizer: GridSearchOptimizer,
    strategy: str,
    count: int,
    *,
    symbol: str = "ANY",
    backtest_timeout: float = 60.0,
    callback: Callable[[int, int], None] | None = None,
    **fixed: float,
) -> OptimizationResult:
    """Run x = 0 … count - 1, with other parameters fixed."""
    parameters: dict[str, Any] = {name: [value] for name, value in fixed.items()}
    config = OptimizationConfig(
        strategy,
        [symbol],
        parameters | {"x": IntegerRange(0, count - 1)},
        optimization_target="score",
        backtest_timeout=backtest_timeout,
    )
    return await optimizer.optimize(config, callback)


async def timed_optimization(optimizer: GridSearchOptimizer, count: int, **fixed: float) -> float:
    """Seconds of a whole optimization, with a progress callback that counts."""
    calls = 0

    def progress(completed: int, total: int) -> None:
        nonlocal calls
        calls += 1

    start = time.perf_counter()
    result = await optimize(optimizer, "any", count, callback=progress, **fixed)
    elapsed = time.perf_counter() - start
    if (calls, result.succeeded_count) != (count, count):
        raise RuntimeError(f"{calls} calls and {result.succeeded_count} results of {count}")
    return elapsed
