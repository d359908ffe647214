"""What it costs to keep optimizations on a disk, beside the same server that keeps nothing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from stratsweep import Client, Progress, ServerProcess

from tests.benchmarks import markets
from tests.benchmarks.disk import disk_folder, sync_milliseconds
from tests.benchmarks.figures import Contestant, Reach, Row, Sample, interleave
from tests.benchmarks.optimizations import WORKERS
from tests.benchmarks.sweeps import grid_of, rate_through_grpc, serving

_BARS = 2_000
_KEPT = "kept"
_NONE = "none"
_NOTHING_KEPT = "--state none:"
_LOOK_SECONDS = 1.0


async def disk(quick: bool) -> list[Row]:  # noqa: ARG001
    """How long a sync of the disk takes, which the other figures depend on."""
    with disk_folder() as folder:
        return [Row("a sync of 4 KiB on this disk", sync_milliseconds(folder), "ms")]


async def sweep(quick: bool) -> list[Row]:
    """Combinations per second through gRPC, kept, beside the same where nothing is kept."""
    market, grid = markets.daily(_BARS), grid_of(100_000)
    with (
        disk_folder() as folder,
        serving(market, folder / "state") as kept,
        serving(market) as none,
    ):
        samples = await interleave(
            3 if quick else 9,
            {_KEPT: rate_through_grpc(kept, grid), _NONE: rate_through_grpc(none, grid)},
        )
    return [_rate_row(f"{len(grid):,} combinations, {market.label}, kept", samples, 0.9)]


async def message_per_backtest(quick: bool) -> list[Row]:
    """Backtests that do nothing, each in a message of its own that is sent once it is kept."""
    count = 10_000
    with disk_folder() as folder, _doing_nothing(folder / "state") as kept, _doing_nothing() as none:
        samples = await interleave(
            2 if quick else 9,
            {_KEPT: _message_rate(kept, count), _NONE: _message_rate(none, count)},
        )
    row = _rate_row(f"a message per no-op backtest, {count:,}, kept", samples, 0.85)
    return [replace(row, note="until the ranking is there")]


FIGURES = (disk, sweep, message_per_backtest)


def _rate_row(label: str, samples: dict[str, Sample], lowest: float) -> Row:
    reach = Reach(lowest=lowest)
    return Row(label, samples[_KEPT], "/s", _NOTHING_KEPT, samples[_NONE], reach)


@contextmanager
def _doing_nothing(state: str | Path = "none") -> Iterator[Client]:
    """A client of a server whose backtests do nothing."""
    engine = "tests.benchmarks.engines:NoOpEngine"
    arguments = ["--engine", engine, "--workers", str(WORKERS), "--state", str(state)]
    with ServerProcess(arguments) as process, Client(process.address) as client:
        yield client


def _message_rate(client: Client, count: int) -> Contestant:
    """Backtests per second, over some time; each outcome is looked at by itself."""

    def rate() -> float:
        start, passed, done = time.perf_counter(), 0.0, 0
        while passed < _LOOK_SECONDS:
            stream = client.optimize(
                "any", symbols="ANY", parameters={"x": range(count)}, optimization_target="score"
            )
            messages = sum(isinstance(event, Progress) for event in stream)
            if messages != count or len(stream.result().to_polars()) != count:
                raise RuntimeError(f"{messages} messages of {count}")
            done, passed = done + count, time.perf_counter() - start
        return done / passed

    return rate
