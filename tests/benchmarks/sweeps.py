"""Grids of moving-average crossovers, run through gRPC as a user runs them, or by the engine alone.

The default engine's figures all use them, so that their numbers can be held against each other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stratsweep import Client, OptimizationStream, Progress, ServerProcess
from stratsweep.v1 import optimization_config_pb2, optimization_service_pb2, parameter_pb2
from stratsweep_server.backtest import Bars
from stratsweep_server.backtest.default.engine import DefaultEngine
from stratsweep_server.backtest.default.metrics import METRICS
from stratsweep_server.backtest.engine import BatchConfig

from tests.benchmarks.disk import usual_state
from tests.benchmarks.figures import Contestant
from tests.benchmarks.markets import Market
from tests.benchmarks.optimizations import WORKERS
from tests.benchmarks.references import CONTEXT

STRATEGY = "sma_cross"
COMMISSION = 0.001
INTERVAL = 0.1
_LOOK_SECONDS = 1.0
_SHAPES = {
    200: (10, 20),
    1_000: (25, 40),
    10_000: (100, 100),
    100_000: (250, 400),
    1_000_000: (1_000, 1_000),
}


@dataclass(frozen=True, slots=True)
class Grid:
    """Every pair of a fast and a slow period, the slow ones varying fastest."""

    fast: range
    slow: range

    def __len__(self) -> int:
        return len(self.fast) * len(self.slow)

    @property
    def parameters(self) -> dict[str, range]:
        """As the client takes them."""
        return {"fast": self.fast, "slow": self.slow}

    def columns(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The periods of some combinations, as an engine takes them."""
        fast, slow = np.divmod(np.asarray(indices), len(self.slow))
        return {"fast": np.array(self.fast)[fast], "slow": np.array(self.slow)[slow]}

    def spread(self, count: int) -> dict[str, np.ndarray]:
        """Some combinations from all over the grid."""
        return self.columns(np.linspace(0, len(self) - 1, count).astype(np.int64))

    def every_tenth(self) -> Grid:
        """A tenth of the fast periods: as far apart, so that backtests trade as often."""
        return Grid(self.fast[::10], self.slow)


def grid_of(count: int) -> Grid:
    """A grid of consecutive periods: fast from 2, slow from where fast ends."""
    fast, slow = _SHAPES[count]
    return Grid(range(2, 2 + fast), range(2 + fast, 2 + fast + slow))


# Through gRPC.


@dataclass(frozen=True, slots=True)
class Server:
    """A server with the bars of one market, and a client of it."""

    client: Client
    address: str
    process_id: int
    symbol: str


@contextmanager
def serving(market: Market, state: str | Path | None = None) -> Iterator[Server]:
    """A server whose kernels are loaded and whose workers are ready.

    Args:
        market: Its bars.
        state: Where it keeps optimizations; default: nowhere, or as `--kept` says.
    """
    with tempfile.TemporaryDirectory() as folder, usual_state() as usual:
        market.write_to(Path(folder))
        arguments = ["--data", folder, "--workers", str(WORKERS), "--state", str(state or usual)]
        with ServerProcess(arguments) as process, Client(process.address) as client:
            server = Server(client, process.address, process.process_id, market.bars.symbol)
            deliver(server, grid_of(1_000))
            yield server


@dataclass(frozen=True, slots=True)
class Delivery:
    """One optimization as its client saw it.

    Attributes:
        seconds: From the call until the ranking is a table.
        stream_seconds: From the call until the stream has ended.
        progress_seconds: From the call until the last message of progress.
        progress_count: Those messages.
    """

    seconds: float
    stream_seconds: float
    progress_seconds: float
    progress_count: int


def deliver(
    server: Server,
    grid: Grid,
    interval: float | None = INTERVAL,
    optimization_id: str | None = None,
) -> Delivery:
    """Run a grid as a user does: look at every outcome as it comes, take all metrics as a table.

    Raises:
        RuntimeError: An outcome, a rank or a metric is missing.
    """
    start = time.perf_counter()
    stream = server.client.optimize(
        STRATEGY,
        symbols=server.symbol,
        parameters=grid.parameters,
        commission=COMMISSION,
        progress_interval=interval,
        optimization_id=optimization_id,
    )
    return _follow(stream, grid, start)


def deliver_again(
    server: Server, grid: Grid, optimization_id: str, interval: float | None = INTERVAL
) -> Delivery:
    """Watch an optimization of a grid from its start, and look at all of it as `deliver` does."""
    start = time.perf_counter()
    stream = server.client.watch_optimization(optimization_id, progress_interval=interval)
    return _follow(stream, grid, start)


def _follow(stream: OptimizationStream, grid: Grid, start: float) -> Delivery:
    outcome_count = message_count = 0
    last_progress = start
    for event in stream:
        if isinstance(event, Progress):
            outcome_count += len(event.outcomes)
            message_count += 1
            last_progress = time.perf_counter()
    stream_end = time.perf_counter()
    table_shape = stream.result().to_polars().shape
    end = time.perf_counter()
    expected = len(grid), (len(grid), 2 + len(grid.parameters) + len(METRICS))
    if (outcome_count, table_shape) != expected:
        raise RuntimeError(f"{outcome_count} outcomes and a table {table_shape}, not {expected}")
    return Delivery(end - start, stream_end - start, last_progress - start, message_count)


def request_of(symbol: str, grid: Grid) -> optimization_service_pb2.OptimizeRequest:
    """A request for a grid, as the generated stub takes it."""
    return optimization_service_pb2.OptimizeRequest(
        config=optimization_config_pb2.OptimizationConfig(
            strategy=STRATEGY,
            symbols=[symbol],
            parameters=[
                parameter_pb2.Parameter(
                    name=name,
                    integer_range=parameter_pb2.IntegerRange(start=values[0], stop=values[-1]),
                )
                for name, values in grid.parameters.items()
            ],
        )
    )


def rate_through_grpc(server: Server, grid: Grid) -> Callable[[], float]:
    """Combinations per second of `deliver`, over about as long as the references take.

    A short look sees one mood of the machine, and whatever the contestant before it left behind.
    """

    def rate() -> float:
        count, seconds = 0, 0.0
        while seconds < _LOOK_SECONDS:
            seconds += deliver(server, grid).seconds
            count += len(grid)
        return count / seconds

    return rate


# The engine alone.


@contextmanager
def rate_of_engine_alone(market: Market, grid: Grid) -> Iterator[Contestant]:
    """Combinations per second of `run_batch` on equal parts of the grid, one process for each.

    The metrics end in arrays of those processes.
    """
    parts = np.array_split(np.arange(len(grid)), WORKERS)
    columns = market.bars.time, *(getattr(market.bars, name) for name in _PRICES)
    with ProcessPoolExecutor(
        WORKERS, mp_context=CONTEXT, initializer=_keep_bars, initargs=columns
    ) as executor:

        def rate() -> float:
            start = time.perf_counter()
            futures = [executor.submit(_run_part, grid, part[0], part[-1] + 1) for part in parts]
            counts = [future.result() for future in futures]
            elapsed = time.perf_counter() - start
            if sum(counts) != len(grid):
                raise RuntimeError(f"{sum(counts)} results of {len(grid)}")
            return len(grid) / elapsed

        yield rate


_PRICES = ("open", "high", "low", "close", "volume")
_bars: dict[str, Bars] = {}


def _keep_bars(*columns: np.ndarray) -> None:
    _bars["KEPT"] = Bars("KEPT", *columns)


def _run_part(grid: Grid, first: int, end: int) -> int:
    result = DefaultEngine().run_batch(batch(_bars, grid.columns(range(first, end))))
    return len(result.metrics["final_equity"])


def batch(bars: dict[str, Bars], columns: dict[str, Any]) -> BatchConfig:
    """The engine's view of combinations of a grid."""
    return BatchConfig(
        STRATEGY,
        len(columns["fast"]),
        columns,
        symbols=tuple(bars),
        commission=COMMISSION,
        bars=bars,
    )
