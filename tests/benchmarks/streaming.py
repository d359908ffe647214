"""The default engine's figures through gRPC: from a client's call until it has every metric."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import grpc
from stratsweep import Client, ServerProcess
from stratsweep.v1 import (
    optimization_service_pb2,
    optimization_service_pb2_grpc,
    outcome_pb2,
)
from stratsweep_server.app import Server as InProcessServer
from stratsweep_server.config import ServerConfig

from tests.benchmarks import libraries, markets, sweeps
from tests.benchmarks.bare_server import bare_message_rate
from tests.benchmarks.disk import usual_state
from tests.benchmarks.figures import Contestant, Reach, Row, Sample, interleave
from tests.benchmarks.stalls import longest_stall
from tests.benchmarks.sweeps import Grid, Server, deliver, grid_of, rate_through_grpc, serving
from tests.load.processes import descendants, peak_bytes

_BARS = 2_000
_MEGABYTE = 1e6
_OURS = "ours"
_PER_SECOND = "/s"


async def against_vectorbt(quick: bool) -> list[Row]:
    """Combinations per second, every metric delivered, beside vectorbt on forked processes."""
    market = markets.daily(_BARS)
    grids = [grid_of(10_000), grid_of(100_000)]
    count = 2_000 if quick else 4_000
    with libraries.vectorbt_rate(market, grids[-1], count) as theirs, serving(market) as server:
        samples = await interleave(3 if quick else 7, _rates(server, grids) | {"theirs": theirs})
    name = "vectorbt from_signals:"
    rows = [
        _sweep_row(grid, market.label, samples, name, reach)
        for grid, reach in zip(grids, (25, 50), strict=True)
    ]
    note = (
        f"vectorbt: {count:,} combinations of the larger grid, chunks of {libraries.CHUNK} on "
        "2 forked processes; total return, Sharpe ratio, drawdown and trade count alone"
    )
    return [*rows[:-1], replace(rows[-1], note=note)]


async def against_backtesting(quick: bool) -> list[Row]:
    """The same beside backtesting.py's own parallel optimization."""
    market = markets.daily(_BARS)
    grids = [grid_of(1_000), grid_of(10_000)]
    few = grid_of(200)
    with libraries.backtesting_rate(market, few) as theirs, serving(market) as server:
        samples = await interleave(
            1 if quick else 3, _rates(server, grids) | {"theirs": theirs}, warm_up=not quick
        )
    name = "backtesting.py optimize:"
    rows = [
        _sweep_row(grid, market.label, samples, name, reach)
        for grid, reach in zip(grids, (300, 1_000), strict=True)
    ]
    note = f"backtesting.py: the rate of {len(few)} combinations, its pool's start included"
    return [*rows[:-1], replace(rows[-1], note=note)]


async def share_of_kernel(quick: bool) -> list[Row]:
    """What is left of the engine's own rate when everything goes through gRPC."""
    market, grid = markets.daily(_BARS), grid_of(100_000)
    with sweeps.rate_of_engine_alone(market, grid) as alone, serving(market) as server:
        samples = await interleave(
            3 if quick else 9, {_OURS: rate_through_grpc(server, grid), "alone": alone}
        )
    note = "run_batch on a half of the grid in each of 2 processes, metrics into arrays there"
    label = f"through gRPC, {len(grid):,} on {market.label}"
    reach = Reach(lowest=0.6)
    return [Row(label, samples[_OURS], _PER_SECOND, "engine alone:", samples["alone"], reach, note)]


async def message_per_backtest(quick: bool) -> list[Row]:
    """Messages per second where each backtest has its own, beside what grpc.aio can do at all."""
    market, grid = markets.daily(_BARS), grid_of(10_000)
    progress_rates = []
    with serving(market) as server:

        def ours() -> float:
            delivery = deliver(server, grid, interval=None)
            if delivery.progress_count != len(grid):
                raise RuntimeError(f"{delivery.progress_count} messages of {len(grid)}")
            progress_rates.append(len(grid) / delivery.progress_seconds)
            return len(grid) / delivery.stream_seconds

        message = _typical_message(server)
        with bare_message_rate(message, len(grid)) as bare:
            samples = await interleave(2 if quick else 7, {_OURS: ours, "bare": bare})
    name = f"bare grpc.aio, {message.ByteSize()} B:"
    progress = Sample(tuple(progress_rates[1:]))
    label, reach = f"one message per backtest, {len(grid):,}", Reach(lowest=0.8)
    row = Row(label, progress, _PER_SECOND, name, samples["bare"], reach)
    note = (
        "until the last message of progress, each counted and timed as an event of the client; "
        "the reference only counts the stub's messages. The second has the ranking, too"
    )
    whole = replace(row, label="the same, until the ranking is there", ours=samples[_OURS])
    return [row, replace(whole, reach=None, note=note)]


async def million(quick: bool) -> list[Row]:
    """A million combinations on all of daily SPY: seconds, and the memory that they take."""
    market, grid = markets.daily(), grid_of(1_000_000)
    with serving(market) as server:
        seconds = await interleave(
            1 if quick else 3, {_OURS: lambda: deliver(server, grid).seconds}, warm_up=False
        )
        server_peak = peak_bytes(server.process_id)
        worker_peak = max(map(peak_bytes, descendants(server.process_id)))
        client_peak = peak_bytes(os.getpid())
    note = "resident memory at its peak, files mapped into it and shared libraries included"
    return [
        Row(
            f"{len(grid):,} combinations on {market.label}",
            seconds[_OURS],
            "s",
            reach=Reach(highest=15, of_ratio=False),
            note="published elsewhere: 1,000,000 backtests in 20 seconds, in process",
        ),
        _memory_row("server's memory for it", server_peak, 600),
        _memory_row("largest worker's memory for it", worker_peak, 250),
        replace(_memory_row("client's memory for it", client_peak, None), note=note),
    ]


async def growth(quick: bool) -> list[Row]:
    """Ten times the combinations, and ten times the bars, beside ten times the time."""
    large = grid_of(1_000_000)
    rounds = 1 if quick else 3
    with serving(markets.daily()) as server:
        combinations = await interleave(
            rounds,
            {
                "small": lambda: deliver(server, large.every_tenth()).seconds,
                "large": lambda: deliver(server, large).seconds,
            },
            warm_up=False,
        )
    grid = grid_of(10_000)
    with ExitStack() as stack:
        few, many = (
            stack.enter_context(serving(markets.minutes(count))) for count in (20_000, 200_000)
        )
        bars = await interleave(
            2 * rounds,
            {
                "small": lambda: deliver(few, grid).seconds,
                "large": lambda: deliver(many, grid).seconds,
            },
            warm_up=False,
        )
    return [
        _growth_row(f"{len(large):,} combinations", "10 x 100,000:", combinations),
        _growth_row(f"{len(grid):,} combinations on 200,000 bars", "10 x 20,000 bars:", bars),
    ]


async def stalls(quick: bool) -> list[Row]:
    """The longest callback of the server's event loop, 100,000 combinations to one client."""
    formats = {
        "rows": outcome_pb2.RESULT_FORMAT_ROWS,
        "Arrow": outcome_pb2.RESULT_FORMAT_ARROW,
    }
    with tempfile.TemporaryDirectory() as folder, usual_state() as state:
        market = markets.daily(_BARS)
        market.write_to(Path(folder))
        config = ServerConfig(data=Path(folder), listen="127.0.0.1:0", state=state)
        async with InProcessServer(config) as server:
            request = sweeps.request_of(market.bars.symbol, grid_of(100_000))
            request.progress_interval.FromMilliseconds(100)
            samples: dict[str, list[float]] = {name: [] for name in formats}
            for _ in range(2 if quick else 5):
                for name, result_format in formats.items():
                    request.result_format = result_format
                    samples[name].append(await longest_stall(server, request) * 1e3)
    reach = Reach(highest=20, of_ratio=False)
    return [
        Row(f"longest callback, results as {name}", Sample(tuple(taken)), "ms", reach=reach)
        for name, taken in samples.items()
    ]


async def start(quick: bool) -> list[Row]:
    """`stratsweep optimize` of 100 combinations on daily SPY, and where its time goes."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # warm caches: Python's own, too
    with tempfile.TemporaryDirectory() as folder, usual_state() as state:
        market = markets.daily()
        market.write_to(Path(folder))
        symbol = market.bars.symbol
        arguments = ["--data", folder, "--symbol", symbol, "--param", "fast=5:50:5"]
        command = [str(Path(sys.executable).with_name("stratsweep")), "optimize", sweeps.STRATEGY]
        command += [*arguments, "--param", "slow=60:240:20", "--state", state]
        parts: dict[str, list[float]] = {}
        samples = await interleave(
            3 if quick else 9,
            {
                _OURS: lambda: _seconds_of(command),
                "python": lambda: _seconds_of([sys.executable, "-c", "pass"]),
                **{part: functools.partial(_seconds_of_import, part) for part in _IMPORTS},
                "server": lambda: _time_parts(Path(folder), symbol, state, parts),
            },
        )
    parts_of = {part: samples[part] for part in _IMPORTS}
    parts_of |= {part: Sample(tuple(taken[1:])) for part, taken in parts.items()}
    reach = Reach(highest=1.5, of_ratio=False)
    name, bare = "bare python:", samples["python"]
    note = "parts are measured on their own; the workers' and the server's modules load together"
    rows = [Row("stratsweep optimize, 100 combinations", samples[_OURS], "s", name, bare, reach)]
    rows += [Row(f"  {part}", taken, "s") for part, taken in parts_of.items()]
    return [*rows[:-1], replace(rows[-1], note=note)]


FIGURES = (
    against_vectorbt,
    against_backtesting,
    share_of_kernel,
    message_per_backtest,
    million,
    growth,
    stalls,
    start,
)


def _rates(server: Server, grids: list[Grid]) -> dict[str, Contestant]:
    return {str(len(grid)): rate_through_grpc(server, grid) for grid in grids}


def _sweep_row(
    grid: Grid, market: str, samples: dict[str, Sample], name: str, lowest: float
) -> Row:
    label = f"{len(grid):,} combinations, {market}"
    ours, theirs = samples[str(len(grid))], samples["theirs"]
    return Row(label, ours, _PER_SECOND, name, theirs, Reach(lowest=lowest))


def _memory_row(label: str, peak: int, highest: float | None) -> Row:
    reach = None if highest is None else Reach(highest=highest, of_ratio=False)
    return Row(label, Sample((peak / _MEGABYTE,)), "MB", reach=reach)


def _growth_row(label: str, name: str, samples: dict[str, Sample]) -> Row:
    reach = Reach(lowest=0.85, highest=1.15)
    return Row(label, samples["large"], "s", name, samples["small"].scaled(10), reach)


def _typical_message(server: Server) -> optimization_service_pb2.OptimizeResponse:
    """A message of progress of the median size."""
    request = sweeps.request_of(server.symbol, grid_of(200))
    with grpc.insecure_channel(server.address) as channel:
        stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
        messages = [each for each in stub.Optimize(request) if each.event.HasField("progress")]
    messages.sort(key=lambda message: message.ByteSize())
    return messages[len(messages) // 2]


# Start.


_IMPORTS = {
    "the command line's modules": "stratsweep.cli",
    "the server's modules": "stratsweep_server.app",
    "the workers' modules and kernels": "stratsweep_server.backtest.default.preload",
}


def _seconds_of_import(part: str) -> float:
    return _seconds_of([sys.executable, "-c", f"import {_IMPORTS[part]}"])


def _seconds_of(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def _time_parts(folder: Path, symbol: str, state: str, parts: dict[str, list[float]]) -> float:
    """A private server as the command line starts it: each step's seconds; returns their sum."""
    begin = time.perf_counter()

    def note(part: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        parts.setdefault(part, []).append(time.perf_counter() - start)

    arguments = ["--data", str(folder), "--state", state]
    server = ServerProcess(arguments, listen=f"unix:{folder}/server.sock")
    grid = Grid(range(5, 55, 5), range(60, 260, 20))
    note("the server until it listens, its modules included", server.start)
    try:
        with Client(server.address) as client:
            view = Server(client, server.address, server.process_id, symbol)
            note("the optimization, workers' start included", lambda: deliver(view, grid))
            note("a second optimization", lambda: deliver(view, grid))
    finally:
        note("the stop of the server", server.stop)
    return time.perf_counter() - begin
