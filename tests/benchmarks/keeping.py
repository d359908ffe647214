"""What it costs to keep optimizations on a disk, beside the same server that keeps nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
from stratsweep import Client, Progress, ServerProcess
from stratsweep.v1 import optimization_service_pb2, outcome_pb2
from stratsweep.v1.optimization_service_pb2_grpc import OptimizationServiceStub
from stratsweep_server.backtest.default.metrics import METRICS

from tests.benchmarks import markets
from tests.benchmarks.disk import NOWHERE, disk_folder, sync_milliseconds
from tests.benchmarks.figures import Reach, Row, Sample, interleave
from tests.benchmarks.full_store import fill_store
from tests.benchmarks.optimizations import WORKERS
from tests.benchmarks.sweeps import (
    INTERVAL,
    Grid,
    Server,
    deliver,
    deliver_again,
    grid_of,
    rate_through_grpc,
    request_of,
    serving,
)
from tests.load.processes import (
    anonymous_bytes,
    cpu_seconds,
    peak_bytes,
    reset_peak,
    resident_bytes,
    usage,
)

_BARS = 2_000
_KEPT = "kept"
_NONE = "none"
_NOTHING_KEPT = "--state none:"
_EMPTY = "empty"
_FULL = "full"
_LOOK_SECONDS = 1.0
_MEGABYTE = 1e6
_NO_LIMIT = (("grpc.max_receive_message_length", -1),)


async def disk(quick: bool) -> list[Row]:
    """How long a sync of the disk takes, which the other figures depend on."""
    with disk_folder() as folder:
        return [Row("a sync of 4 KiB on this disk", sync_milliseconds(folder), "ms")]


async def sweep(quick: bool) -> list[Row]:
    """Combinations per second through gRPC, kept, beside the same where nothing is kept."""
    market, grid = markets.daily(_BARS), grid_of(100_000)
    with (
        disk_folder() as folder,
        serving(market, folder / "state") as kept,
        serving(market, NOWHERE) as none,
    ):
        both = {
            name: _Watched(rate_through_grpc(server, grid), server.process_id)
            for name, server in ((_KEPT, kept), (_NONE, none))
        }
        samples = await interleave(3 if quick else 9, both)
    row = _rate_row(f"{len(grid):,} combinations, {market.label}, kept", samples, 0.9)
    return [row, _cost_row(row, both)]


async def message_per_backtest(quick: bool) -> list[Row]:
    """Backtests that do nothing, each in a message of its own that is sent once it is kept."""
    count = 10_000
    with (
        disk_folder() as folder,
        _doing_nothing(folder / "state") as kept,
        _doing_nothing() as none,
    ):
        both = {
            name: _Watched(_message_rate(client, count), process_id)
            for name, (client, process_id) in ((_KEPT, kept), (_NONE, none))
        }
        samples = await interleave(2 if quick else 9, both)
    row = _rate_row(f"a message per no-op backtest, {count:,}, kept", samples, 0.85)
    return [row, _cost_row(row, both)]


async def cost_per_outcome(quick: bool) -> list[Row]:
    """The server's processor time per delivered outcome of a million in columns, and its parts."""
    market, grid = markets.daily(_BARS), grid_of(1_000_000)
    parts: dict[str, list[tuple[float, float]]] = {_KEPT: [], _NONE: []}
    with (
        disk_folder() as folder,
        serving(market, folder / "state") as kept,
        serving(market, NOWHERE) as none,
    ):

        def measure(name: str, server: Server) -> float:
            parts[name].append(_cost(server, grid))
            return sum(parts[name][-1])

        samples = await interleave(
            1 if quick else 3,
            {
                name: partial(measure, name, server)
                for name, server in ((_KEPT, kept), (_NONE, none))
            },
            warm_up=not quick,
        )
    count = len(samples[_KEPT].values)
    streaming, ending = (
        {
            name: Sample(tuple(each[part] for each in taken[-count:]))
            for name, taken in parts.items()
        }
        for part in (0, 1)
    )
    reach = Reach(highest=0.5, of_ratio=False)
    note = "the rest: ranking, its million rows to the client, the log in its final form"
    row = Row("server's time per outcome, 1,000,000", samples[_KEPT], "us", _NOTHING_KEPT)
    row = replace(row, theirs=samples[_NONE], reach=reach)
    return [
        row,
        _part_of(row, "  until the last progress", streaming),
        replace(_part_of(row, "  after it", ending), note=note),
    ]


async def million(quick: bool) -> list[Row]:
    """A million kept outcomes: replayed, paged by every metric, and what they take on the disk."""
    market, grid = markets.daily(_BARS), grid_of(1_000_000)
    with disk_folder() as folder:
        state = folder / "state"
        with serving(market, state) as server:
            samples = await interleave(
                1 if quick else 3,
                {
                    "live": partial(_live_rate, server, grid),
                    "replay": partial(_replay_rate, server, grid),
                },
                warm_up=False,
            )
            kept = next(iter(server.client.list_optimizations(limit=1)))
        with serving(market, state) as server:
            pages = _pages(server, kept.optimization_id)
    label = f"replay of {len(grid):,} outcomes to a new watcher"
    replay = Row(label, samples["replay"], "/s", "live:", samples["live"], Reach(lowest=1))
    size = Sample((kept.stored_bytes / len(grid),))
    reach = Reach(highest=160, of_ratio=False)
    return [replay, *pages, Row("on the disk per outcome of 16 metrics", size, "B", reach=reach)]


async def start(quick: bool) -> list[Row]:
    """The start of a server with 1,000 optimizations and 10,000,000 outcomes, or with none."""
    optimization_count = 100 if quick else 1_000
    memory: dict[str, list[float]] = {_FULL: [], _EMPTY: []}
    with disk_folder() as folder:
        await fill_store(folder / _FULL, optimization_count, 10_000)

        def measure(name: str) -> float:
            begin = time.perf_counter()
            with ServerProcess(["--state", str(folder / name)]) as process:
                seconds = time.perf_counter() - begin
                with Client(process.address) as client:
                    client.list_strategies()
                memory[name].append(peak_bytes(process.process_id) / _MEGABYTE)
            return seconds

        samples = await interleave(
            2 if quick else 7, {name: partial(measure, name) for name in memory}
        )
    label = f"start with {optimization_count:,} optimizations of 10,000 outcomes each"
    more = Sample((samples[_FULL].median - samples[_EMPTY].median,))
    peaks = {name: Sample(tuple(taken[1:])) for name, taken in memory.items()}
    more_memory = Sample((peaks[_FULL].median - peaks[_EMPTY].median,))
    return [
        Row(label, samples[_FULL], "s", "empty store:", samples[_EMPTY]),
        Row("  more than empty", more, "s", reach=Reach(highest=1, of_ratio=False)),
        Row("its memory, until it has answered", peaks[_FULL], "MB", "empty store:", peaks[_EMPTY]),
        Row("  more than empty", more_memory, "MB", reach=Reach(highest=20, of_ratio=False)),
    ]


FIGURES = (disk, sweep, message_per_backtest, cost_per_outcome, million, start)


class _Watched:
    """A rate, and the processor time that it takes."""

    def __init__(self, rate: Callable[[], float], process_id: int) -> None:
        self._rate = rate
        self._process_id = process_id
        self.microseconds: list[float] = []

    def __call__(self) -> float:
        """Return the rate."""
        start, cpu = time.perf_counter(), self._cpu_seconds()
        rate = self._rate()
        count = rate * (time.perf_counter() - start)
        self.microseconds.append((self._cpu_seconds() - cpu) / count * 1e6)
        return rate

    def _cpu_seconds(self) -> float:
        return usage(self._process_id).cpu_seconds + time.process_time()


def _cost_row(row: Row, both: dict[str, _Watched]) -> Row:
    """Processor time, which says more than seconds where others use the machine, too."""
    count = len(row.ours.values)
    costs = {name: Sample(tuple(each.microseconds[-count:])) for name, each in both.items()}
    label = "  processor time: client, server, workers"
    return Row(label, costs[_KEPT], "us", _NOTHING_KEPT, costs[_NONE])


def _rate_row(label: str, samples: dict[str, Sample], lowest: float) -> Row:
    reach = Reach(lowest=lowest)
    return Row(label, samples[_KEPT], "/s", _NOTHING_KEPT, samples[_NONE], reach)


@contextmanager
def _doing_nothing(state: str | Path = NOWHERE) -> Iterator[tuple[Client, int]]:
    """A client of a server whose backtests do nothing, and the server's process id."""
    engine = "tests.benchmarks.engines:NoOpEngine"
    arguments = ["--engine", engine, "--workers", str(WORKERS), "--state", str(state)]
    with ServerProcess(arguments) as process, Client(process.address) as client:
        yield client, process.process_id


def _message_rate(client: Client, count: int) -> Callable[[], float]:
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


def _part_of(row: Row, label: str, samples: dict[str, Sample]) -> Row:
    return replace(row, label=label, ours=samples[_KEPT], theirs=samples[_NONE], reach=None)


def _cost(server: Server, grid: Grid) -> tuple[float, float]:
    """Microseconds of the server's own per outcome, until the last progress and after it."""
    request = request_of(server.symbol, grid)
    request.progress_interval.FromMilliseconds(round(INTERVAL * 1e3))
    request.result_format = outcome_pb2.RESULT_FORMAT_ARROW
    begin = last_progress = cpu_seconds(server.process_id)
    with grpc.insecure_channel(server.address, options=_NO_LIMIT) as channel:
        for message in OptimizationServiceStub(channel).Optimize(request):
            if message.event.HasField("progress"):
                completed = message.event.progress.completed_count
                last_progress = cpu_seconds(server.process_id)
    end = _settled_cpu_seconds(server.process_id)
    if completed != len(grid):
        raise RuntimeError(f"{completed} outcomes of {len(grid)}")
    scale = 1e6 / len(grid)
    return (last_progress - begin) * scale, (end - last_progress) * scale


def _settled_cpu_seconds(process_id: int) -> float:
    """What a server has used once it has nothing left to do."""
    before, now = -1.0, cpu_seconds(process_id)
    while now > before:
        time.sleep(_LOOK_SECONDS)
        before, now = now, cpu_seconds(process_id)
    return now


def _live_rate(server: Server, grid: Grid) -> float:
    return len(grid) / deliver(server, grid).stream_seconds


def _replay_rate(server: Server, grid: Grid) -> float:
    last = next(iter(server.client.list_optimizations(limit=1)))
    return len(grid) / deliver_again(server, grid, last.optimization_id).stream_seconds


def _pages(server: Server, optimization_id: str) -> list[Row]:
    """The first page by every metric, one after the other, and how the memory grows with it."""
    request = optimization_service_pb2.ListResultsRequest(optimization_id=optimization_id)
    seconds = []
    reset_peak(server.process_id)
    before, own_before = resident_bytes(server.process_id), anonymous_bytes(server.process_id)
    with grpc.insecure_channel(server.address, options=_NO_LIMIT) as channel:
        stub = OptimizationServiceStub(channel)
        for metric in METRICS:
            request.metric = metric.name
            begin = time.perf_counter()
            page = stub.ListResults(request)
            seconds.append(time.perf_counter() - begin)
            if not page.results or page.total_count < 1_000_000:
                raise RuntimeError(f"{len(page.results)} results of {page.total_count}")
    peak = peak_bytes(server.process_id) - before
    own = anonymous_bytes(server.process_id) - own_before
    note = "resident at its peak, the mapped files included; the other is its own, afterwards"
    return [
        Row(
            f"first page of results by each of {len(METRICS)} metrics, the slowest",
            Sample((max(seconds),)),
            "s",
            reach=Reach(highest=0.3, of_ratio=False),
        ),
        Row("  all of them", Sample(tuple(seconds)), "s"),
        Row("  server's memory for them", Sample((peak / _MEGABYTE,)), "MB"),
        Row("  of its own, afterwards", Sample((own / _MEGABYTE,)), "MB", note=note),
    ]
