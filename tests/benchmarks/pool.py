"""The worker pool's figures: what it adds to a backtest, and how soon it acts."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.optimization import GridSearchOptimizer, OptimizationConfig

from examples.demo import SYNTHETIC_SYMBOL, write_synthetic_market
from tests.benchmarks import engines, references
from tests.benchmarks.figures import Reach, Row, Sample, interleave
from tests.benchmarks.hanging_strategy import NOTES_VARIABLE
from tests.benchmarks.optimizations import WORKERS, optimize, optimizer_of, timed_optimization
from tests.load.processes import peak_bytes, reset_peak, resident_bytes
from tests.load.server_program import ServerProgram
from tests.requests import optimize_request
from tests.waiting import until

_HANG_TIMEOUT = 0.2
_BACKLOG, _SMALL, _NAP = 2_000, 100, 0.005
_OURS = "ours"
_SUBMIT_EACH = "executor, submit each:"
_JOBLIB = "joblib:"
_POOL = "multiprocessing.Pool:"


async def overhead(quick: bool) -> list[Row]:
    """What one no-op backtest costs through GridSearchOptimizer, all told."""
    count = 2_000 if quick else 10_000
    async with optimizer_of("NoOpEngine") as optimizer:
        with ExitStack() as stack:
            each = stack.enter_context(references.submit_each(engines.no_op, WORKERS))
            batches = stack.enter_context(references.joblib_automatic(engines.no_op, WORKERS))

            async def ours() -> float:
                return await timed_optimization(optimizer, count) / count * 1e6

            samples = await interleave(
                3 if quick else 9,
                {
                    _OURS: ours,
                    _SUBMIT_EACH: functools.partial(_microseconds_each, each, count),
                    _JOBLIB: functools.partial(_microseconds_each, batches, count),
                },
            )
    label = f"overhead per no-op backtest, {count:,} of them"
    note = "validation, grid, progress callback, log and ranking included; joblib has none of these"
    return [
        Row(label, samples[_OURS], "us", _SUBMIT_EACH, samples[_SUBMIT_EACH], Reach(highest=0.15)),
        Row(label, samples[_OURS], "us", _JOBLIB, samples[_JOBLIB], Reach(highest=3.0), note),
    ]


async def parallel_efficiency(quick: bool) -> list[Row]:
    """CPU seconds of equal CPU-bound backtests over the core seconds that they took."""
    count, rounds = (20, 1) if quick else (100, 3)
    runs = await _race(count, 0.2, 0.0, rounds)
    cpu = _samples(runs, lambda run: run.cpu_efficiency)
    wall = _samples(runs, lambda run: run.occupancy)
    label = f"parallel efficiency, {count} x 0.2 s"
    reach = Reach(lowest=0.985, of_ratio=False)
    return [
        Row(label, cpu[_OURS], "", _JOBLIB, cpu[_JOBLIB], reach),
        Row(label, cpu[_OURS], "", _POOL, cpu[_POOL], reach),
        Row(
            "share of the time that workers are in a backtest",
            wall[_OURS],
            "",
            _POOL,
            wall[_POOL],
            note="efficiency 1 is the CPU time of all backtests / workers; other processes on the "
            "machine lower it, but hardly the share",
        ),
    ]


async def long_tail(quick: bool) -> list[Row]:
    """How near lognormal durations come to the list-scheduling bound."""
    rounds = 1 if quick else 3
    rows = []
    for count in (100, 2_000):
        mean = (5.0 if quick else 25.0) / count
        samples = _samples(await _race(count, mean, 1.0, rounds), lambda run: run.list_efficiency)
        label = f"long tail, {count:,} x lognormal, mean {mean * 1e3:g} ms"
        reach = Reach(lowest=0.95, of_ratio=False)
        rows.append(Row(label, samples[_OURS], "", _JOBLIB, samples[_JOBLIB], reach))
        rows.append(Row(label, samples[_OURS], "", _POOL, samples[_POOL], reach))
    note = "1 is greedy list scheduling, in grid order, of the durations measured in that run"
    return [*rows[:-1], replace(rows[-1], note=note)]


async def replacement(quick: bool) -> list[Row]:
    """From a backtest's deadline to the replacement running its first backtest."""
    rounds = 5 if quick else 15
    with tempfile.TemporaryDirectory() as notes:
        async with optimizer_of("ProbeEngine", workers=1) as optimizer:
            ours = functools.partial(_deadline_to_first_backtest, optimizer, Path(notes))
            bare = functools.partial(_bare_start_milliseconds, 1)
            samples = await interleave(rounds, {_OURS: ours, "bare": bare})
    return [
        Row(
            "kill at timeout -> next worker's first backtest",
            samples[_OURS],
            "ms",
            "bare start:",
            samples["bare"],
            Reach(highest=100, of_ratio=False),
            "counted from the deadline itself, so the timer's lateness is in it",
        )
    ]


async def replacement_default_engine(quick: bool) -> list[Row]:
    """The same with the default engine, which imports numba and TA-Lib."""
    rounds = 5 if quick else 15
    with tempfile.TemporaryDirectory() as folder:
        os.environ[NOTES_VARIABLE] = folder
        write_synthetic_market(Path(folder) / f"{SYNTHETIC_SYMBOL}.csv")
        async with GridSearchOptimizer(
            1, data=folder, strategy_modules=["tests.benchmarks.hanging_strategy"]
        ) as optimizer:
            ours = functools.partial(_deadline_to_first_outcome, optimizer, Path(folder))
            samples = await interleave(rounds, {_OURS: ours})
    note = "until the first outcome is back at the server"
    label = "the same, default engine"
    return [Row(label, samples[_OURS], "ms", reach=Reach(highest=100, of_ratio=False), note=note)]


async def cancellation(quick: bool) -> list[Row]:
    """From the cancelling of hung backtests to every slot running another optimization's."""
    rounds = 5 if quick else 15
    rows = []
    for workers in (WORKERS, 4 * WORKERS):
        with tempfile.TemporaryDirectory() as notes:
            async with optimizer_of("ProbeEngine", workers=workers) as optimizer:
                ours = functools.partial(_cancel_to_free, optimizer, workers, Path(notes))
                bare = functools.partial(_bare_start_milliseconds, workers)
                samples = await interleave(rounds, {_OURS: ours, "bare": bare})
        rows.append(
            Row(
                f"cancel of {workers} hung -> all slots run others",
                samples[_OURS],
                "ms",
                f"{workers} bare starts:",
                samples["bare"],
                Reach(highest=50, of_ratio=False) if workers == WORKERS else None,
            )
        )
    return rows


async def fair_share(quick: bool) -> list[Row]:
    """How long a small optimization takes beside a huge one, over its fair share."""
    rounds = 2 if quick else 5
    with references.submit_each(engines.nap, WORKERS) as first_in_first_out:
        async with optimizer_of("NapEngine") as optimizer:
            samples = await interleave(
                rounds,
                {
                    _OURS: functools.partial(_beside_a_backlog, optimizer),
                    "fifo": functools.partial(_behind_a_backlog, first_in_first_out),
                },
                warm_up=False,
            )
    return [
        Row(
            f"{_SMALL} x 5 ms beside {_BACKLOG:,}, over its fair share",
            samples[_OURS],
            "",
            "executor, first in first out:",
            samples["fifo"],
            Reach(lowest=0.8, highest=1.3, of_ratio=False),
            "the backtests sleep; the fair share is their measured time on half of the workers",
        )
    ]


async def queued_memory(quick: bool) -> list[Row]:
    """What a queued combination costs in the server program's memory."""
    count, rounds = (200_000, 1) if quick else (1_000_000, 3)
    settled, peak = [], []
    for _ in range(rounds):
        after, highest = await _bytes_per_combination(count)
        settled.append(after)
        peak.append(highest)
    future = Sample((references.pending_future_bytes(count // 10),))
    label = f"memory per queued combination, {count:,} of them"
    reach = Reach(highest=64, of_ratio=False)
    name = "executor's pending future:"
    return [
        Row(label, Sample(tuple(settled)), "B", name, future, reach),
        Row("the same, at the peak of submitting", Sample(tuple(peak)), "B", name, future),
    ]


FIGURES = (
    overhead,
    parallel_efficiency,
    long_tail,
    replacement,
    replacement_default_engine,
    cancellation,
    fair_share,
    queued_memory,
)


def _microseconds_each(mapper: references.Mapper, count: int) -> float:
    start = time.perf_counter()
    results = mapper(range(count))
    elapsed = time.perf_counter() - start
    if len(results) != count:
        raise RuntimeError(f"{len(results)} results of {count}")
    return elapsed / count * 1e6


# Efficiency.


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of CPU-bound backtests: seconds in all, and of each (CPU, wall) in grid order."""

    elapsed: float
    durations: Sequence[tuple[float, float]]

    @property
    def cpu_efficiency(self) -> float:
        return sum(cpu for cpu, _ in self.durations) / WORKERS / self.elapsed

    @property
    def occupancy(self) -> float:
        return sum(wall for _, wall in self.durations) / WORKERS / self.elapsed

    @property
    def list_efficiency(self) -> float:
        free = [0.0] * WORKERS
        for _, wall in self.durations:
            worker = free.index(min(free))
            free[worker] += wall
        return max(free) / self.elapsed


async def _race(count: int, mean: float, sigma: float, rounds: int) -> dict[str, list[_Run]]:
    """The same CPU-bound work on our pool, joblib and multiprocessing.Pool, in turn."""
    iterations = int(engines.calibrated_iterations(mean) / math.exp(sigma**2 / 2))
    burn = functools.partial(engines.burn, iterations=iterations, sigma=sigma)
    runs: dict[str, list[_Run]] = {_OURS: [], _JOBLIB: [], _POOL: []}
    async with AsyncExitStack() as stack:
        optimizer = await stack.enter_async_context(optimizer_of("BurnEngine"))
        mappers = {
            _JOBLIB: stack.enter_context(references.joblib_automatic(burn, WORKERS)),
            _POOL: stack.enter_context(references.multiprocessing_pool(burn, WORKERS)),
        }

        async def ours(number: int = count) -> _Run:
            start = time.perf_counter()
            result = await optimize(optimizer, "any", number, iterations=iterations, sigma=sigma)
            elapsed = time.perf_counter() - start
            rows = sorted(result.ranked_results, key=lambda row: row.combination_index)
            return _Run(elapsed, [(row.metrics["cpu"], row.metrics["wall"]) for row in rows])

        def theirs(mapper: references.Mapper, number: int = count) -> _Run:
            start = time.perf_counter()
            durations = mapper(range(number))
            return _Run(time.perf_counter() - start, durations)

        await ours(2 * WORKERS)
        for mapper in mappers.values():
            theirs(mapper, 2 * WORKERS)
        for _ in range(rounds):
            runs[_OURS].append(await ours())
            for name, mapper in mappers.items():
                runs[name].append(theirs(mapper))
    return runs


def _samples(runs: dict[str, list[_Run]], number_of: Callable[[_Run], float]) -> dict[str, Sample]:
    return {name: Sample(tuple(map(number_of, each))) for name, each in runs.items()}


# Kills.


async def _deadline_to_first_backtest(optimizer: GridSearchOptimizer, notes: Path) -> float:
    result = await optimize(
        optimizer, "hang_once@0", 2, symbol=str(notes), backtest_timeout=_HANG_TIMEOUT
    )
    deadline = _take_only_note(notes) + _HANG_TIMEOUT
    return (result.ranked_results[0].metrics["start"] - deadline) * 1e3


async def _deadline_to_first_outcome(optimizer: GridSearchOptimizer, notes: Path) -> float:
    arrivals = []
    config = OptimizationConfig(
        "hang_at_zero",
        [SYNTHETIC_SYMBOL],
        {"x": [0, 1]},
        optimization_target="total_return",
        backtest_timeout=_HANG_TIMEOUT,
    )
    await optimizer.optimize(config, lambda *_: arrivals.append(time.monotonic()))
    return (arrivals[-1] - _take_only_note(notes) - _HANG_TIMEOUT) * 1e3


async def _cancel_to_free(optimizer: GridSearchOptimizer, workers: int, notes: Path) -> float:
    hung = asyncio.create_task(optimize(optimizer, "hang@0", 100, symbol=str(notes)))
    await until(lambda: len(_notes_in(notes)) == workers, "every worker hangs")
    start = time.monotonic()
    hung.cancel()
    result = await optimize(optimizer, "nap", workers)
    for note in _notes_in(notes):
        note.unlink()
    last = max(row.metrics["start"] for row in result.ranked_results)
    return (last - start) * 1e3


def _bare_start_milliseconds(count: int) -> float:
    return references.bare_start(count) * 1e3


def _notes_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.start"))


def _take_only_note(notes: Path) -> float:
    (note,) = _notes_in(notes)
    start = float(note.read_text())
    note.unlink()
    return start


# Sharing.


async def _beside_a_backlog(optimizer: GridSearchOptimizer) -> float:
    under_way = asyncio.Event()

    def progress(completed: int, total: int) -> None:
        if completed >= total // 10:
            under_way.set()

    backlog = asyncio.create_task(
        optimize(optimizer, "any", _BACKLOG, callback=progress, seconds=_NAP)
    )
    await under_way.wait()
    start = time.perf_counter()
    result = await optimize(optimizer, "any", _SMALL, seconds=_NAP)
    elapsed = time.perf_counter() - start
    if backlog.done():
        raise RuntimeError("the backlog was too short to compete with")
    backlog.cancel()
    await asyncio.wait([backlog])
    share = sum(row.metrics["wall"] for row in result.ranked_results) / (WORKERS / 2)
    return elapsed / share


def _behind_a_backlog(mapper: references.Mapper) -> float:
    start = time.perf_counter()
    naps = mapper([_NAP] * (_BACKLOG - _BACKLOG // 10 + _SMALL))
    return (time.perf_counter() - start) / (sum(naps[-_SMALL:]) / (WORKERS / 2))


# Memory.


async def _bytes_per_combination(count: int) -> tuple[float, float]:
    """Growth of a server's memory while combinations are queued: settled, and at its peak.

    The first hundred run, so that there are columns for results; the rest waits behind hung ones.
    """
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.mkdir()
        arguments = ("--workers", str(WORKERS), "--engine", "tests.benchmarks.engines:ProbeEngine")
        with ServerProgram(Path(folder), *arguments) as server:
            async with grpc.aio.insecure_channel(server.address) as channel:
                stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
                async for _ in stub.Optimize(optimize_request("any", 2_000)):
                    pass
                before = resident_bytes(server.pid)
                reset_peak(server.pid)
                hung = stub.Optimize(optimize_request("hang@100", count, symbol=str(notes)))
                while (await hung.read()).event.progress.completed_count == 0:
                    pass
                await until(lambda: len(_notes_in(notes)) == WORKERS, "every worker hangs")
                after, peak = resident_bytes(server.pid), peak_bytes(server.pid)
                hung.cancel()
    return (after - before) / count, (peak - before) / count
