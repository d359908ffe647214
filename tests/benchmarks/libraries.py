"""The libraries that people sweep with today, each at its best, as combinations per second.

Each runs in a process of its own that forks its workers: a process that has used gRPC must not.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import numpy as np

from tests.benchmarks.figures import Contestant
from tests.benchmarks.markets import Market
from tests.benchmarks.optimizations import WORKERS
from tests.benchmarks.sweeps import COMMISSION, Grid

CHUNK = 500
_CASH = 10_000.0


@contextmanager
def vectorbt_rate(market: Market, grid: Grid, count: int) -> Iterator[Contestant]:
    """`Portfolio.from_signals`, chunks of 500 combinations on forked processes, all warm.

    Args:
        market: The bars.
        grid: Combinations from all over it are run.
        count: How many.
    """
    columns = grid.spread(count)
    chunks = [
        {name: values[first : first + CHUNK] for name, values in columns.items()}
        for first in range(0, count, CHUNK)
    ]
    with _own_process(_start_vectorbt, _prices(market)) as executor:
        yield lambda: executor.submit(_vectorbt_rate, chunks).result()


@contextmanager
def backtesting_rate(market: Market, grid: Grid) -> Iterator[Contestant]:
    """`Backtest.optimize` with its own pool, which it starts anew for each call."""
    with _own_process(_start_backtesting, _prices(market)) as executor:
        yield lambda: executor.submit(_backtesting_rate, grid).result()


def _prices(market: Market) -> dict[str, np.ndarray]:
    bars = market.bars
    return {
        "time": bars.time,
        "Open": bars.open,
        "High": bars.high,
        "Low": bars.low,
        "Close": bars.close,
        "Volume": bars.volume,
    }


@contextmanager
def _own_process(
    start: Callable[[dict[str, np.ndarray]], None], prices: dict[str, np.ndarray]
) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(start, prices).result()
        try:
            yield executor
        finally:
            executor.submit(_stop).result()


_state: dict[str, Any] = {}


def _frame(prices: dict[str, np.ndarray]) -> Any:
    import pandas as pd

    columns = {name: values for name, values in prices.items() if name != "time"}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(prices["time"]))


def _stop() -> None:
    if "pool" in _state:
        _state.pop("pool").terminate()


# vectorbt.


def _start_vectorbt(prices: dict[str, np.ndarray]) -> None:
    """Compile in this process; the workers are forked from it with everything in memory."""
    _state["frame"] = _frame(prices)
    _vectorbt_chunk({"fast": np.array([2, 3]), "slow": np.array([20, 30])})
    _state["pool"] = multiprocessing.get_context("fork").Pool(WORKERS)


def _vectorbt_rate(chunks: list[dict[str, np.ndarray]]) -> float:
    start = time.perf_counter()
    counts = _state["pool"].map(_vectorbt_chunk, chunks, chunksize=1)
    return float(sum(counts) / (time.perf_counter() - start))


def _vectorbt_chunk(columns: dict[str, np.ndarray]) -> int:
    """Four of our metrics; each distinct average is computed once, without vectorbt's overhead."""
    import vectorbt

    frame = _state["frame"]
    closes = frame["Close"].to_numpy()
    sums = np.concatenate([[0.0], np.cumsum(closes)])
    wanted = _averages(sums, columns["fast"]) > _averages(sums, columns["slow"])
    flat = np.zeros((1, wanted.shape[1]), dtype=np.bool_)
    wanted = np.vstack([flat, wanted[:-1]])  # decided at a close, traded at the next open
    held = np.vstack([flat, wanted[:-1]])
    portfolio = vectorbt.Portfolio.from_signals(
        frame["Close"],
        entries=wanted & ~held,
        exits=held & ~wanted,
        price=frame["Open"],
        fees=COMMISSION,
        init_cash=_CASH,
        freq="1D",
    )
    figures = (
        portfolio.total_return(),
        portfolio.sharpe_ratio(),
        portfolio.max_drawdown(),
        portfolio.trades.count(),
    )
    return min(map(len, figures))


def _averages(sums: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """A column of moving averages for each period."""
    distinct, inverse = np.unique(periods, return_inverse=True)
    table = np.full((len(sums) - 1, len(distinct)), np.nan)
    for column, period in enumerate(distinct):
        table[period - 1 :, column] = (sums[period:] - sums[:-period]) / period
    return table[:, inverse]


# backtesting.py.


def _start_backtesting(prices: dict[str, np.ndarray]) -> None:
    os.environ["TQDM_DISABLE"] = "1"  # its progress bars would be in the table
    # Its forked workers forget the same shared memory twice, which the tracker then complains of.
    resource_tracker.register = resource_tracker.unregister = lambda *_: None
    from backtesting import Backtest, Strategy

    class Crossover(Strategy):
        """All-in while the fast average is above the slow one."""

        fast, slow = 10, 30

        def init(self) -> None:
            closes = self.data.Close
            sums = np.concatenate([[0.0], np.cumsum(closes)])
            average = functools.partial(self.I, lambda period: _averages(sums, period)[:, 0])
            self.fast_average = average(np.array([self.fast]))
            self.slow_average = average(np.array([self.slow]))

        def next(self) -> None:
            is_above = self.fast_average[-1] > self.slow_average[-1]
            if is_above and not self.position:
                self.buy()
            elif self.position and not is_above:
                self.position.close()

    _state["backtest"] = Backtest(_frame(prices), Crossover, cash=_CASH, commission=COMMISSION)


def _backtesting_rate(grid: Grid) -> float:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trades that remain open, and what it calls of pandas
        _, heatmap = _state["backtest"].optimize(
            fast=grid.fast, slow=grid.slow, maximize="Sharpe Ratio", return_heatmap=True
        )
    if len(heatmap) != len(grid):
        raise RuntimeError(f"{len(heatmap)} results of {len(grid)}")
    return len(grid) / (time.perf_counter() - start)
