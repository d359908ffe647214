"""What every `BacktestPool` does: worker processes, and the stand-in that unit tests run on.

What needs a process that can be killed or dies is said of the worker pool alone, in the list of its
parameters.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import numpy as np
import pytest
import pytest_asyncio
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.outcomes import FailureKind, OutcomeBatch
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.pool import WorkerPool, WorkersUnavailableError
from stratsweep_server.execution.slot import SlotState
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.storage import StorageUnavailableError

from tests.contracts.engine import ContractEngine
from tests.inline_pool import InlinePool
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def open_worker_pool(directory):
    engine = EngineSpec(ContractEngine)
    async with WorkerPool(engine, max_workers=2, directory=directory) as pool:
        yield pool


@asynccontextmanager
async def open_inline_pool(directory):
    engine = ContractEngine()
    yield InlinePool(engine, directory, description=engine.describe())


POOLS = {"workers": open_worker_pool, "inline": open_inline_pool}
with_processes = pytest.mark.parametrize("pool", ["workers"], indirect=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=POOLS)
async def pool(request, tmp_path_factory):
    async with POOLS[request.param](tmp_path_factory.mktemp("scratch")) as pool:
        yield pool


class Inbox:
    """What a workload delivered."""

    def __init__(self) -> None:
        self.outcomes: Counter[int] = Counter()
        self.scores: dict[int, float] = {}
        self.metrics: dict[int, dict[str, float]] = {}
        self.failures = {}

    def __call__(self, batch: OutcomeBatch) -> None:
        self.outcomes.update(batch.indices.tolist())
        for index, row in zip(batch.indices.tolist(), batch.metrics, strict=True):
            self.metrics[index] = dict(zip(batch.metric_names, row.tolist(), strict=True))
            self.scores[index] = self.metrics[index].get("score", np.nan)
        for failure in batch.failures:
            assert failure.combination_index in batch.indices
            self.failures[failure.combination_index] = failure
        assert len(batch.durations) == len(batch)
        assert (batch.durations >= 0).all()


def plan_of(script: str, count: int, **options) -> BacktestPlan:
    return BacktestPlan(script, (ParameterAxis("x", range(count)),), ("ANY",), **options)


def start(pool, script: str, count: int, inbox, *, limit: float = 60.0, indices=None, **options):
    return pool.submit(
        plan_of(script, count),
        np.arange(count) if indices is None else np.array(indices, dtype=np.int64),
        backtest_timeout=limit,
        on_outcomes=inbox,
        **options,
    )


async def run(pool, script: str, count: int, **options) -> Inbox:
    inbox = Inbox()
    await start(pool, script, count, inbox, **options).wait()
    return inbox


def bars_of(symbol: str, closes: list[float]) -> Bars:
    prices = np.array(closes)
    return Bars(symbol, np.arange(len(prices)), prices, prices, prices, prices, prices)


# Outcomes.


async def test_each_combination_has_exactly_one_outcome_and_it_is_its_own(pool):
    inbox = await run(pool, "ok@*", 500)
    assert inbox.outcomes == Counter(range(500))
    assert inbox.scores == {x: float(x) for x in range(500)}


async def test_only_the_combinations_that_were_asked_for_are_run(pool):
    inbox = await run(pool, "ok@*", 1_000, indices=[999, 3, 500])
    assert inbox.outcomes == Counter([999, 3, 500])
    assert inbox.scores == {999: 999.0, 3: 3.0, 500: 500.0}


async def test_nothing_to_run_is_over_without_an_outcome(pool):
    assert (await run(pool, "ok@*", 5, indices=[])).outcomes == Counter()


async def test_an_exception_is_the_failure_of_its_combination_alone(pool):
    inbox = await run(pool, "raise@13", 100)
    assert inbox.outcomes == Counter(range(100))
    assert set(inbox.failures) == {13}
    assert inbox.failures[13].kind is FailureKind.ERROR
    assert "no luck with 13" in inbox.failures[13].message
    assert [x for x, score in inbox.scores.items() if np.isnan(score)] == [13]


async def test_a_metric_that_one_result_lacks_is_absent_there_alone(pool):
    inbox = await run(pool, "less@7", 20)
    extras = {x for x, metrics in inbox.metrics.items() if metrics.get("extra") == 1.0}
    assert extras == set(range(20)) - {7}
    assert np.isnan(inbox.metrics[7].get("extra", np.nan))
    assert inbox.failures == {}


@with_processes
@pytest.mark.parametrize(
    ("script", "kind"), [("spin@5", FailureKind.TIMED_OUT), ("exit@5", FailureKind.CRASHED)]
)
async def test_a_hang_or_a_death_is_the_failure_of_its_combination_alone(pool, script, kind):
    inbox = await run(pool, script, 50, limit=0.5 if kind is FailureKind.TIMED_OUT else 60.0)
    assert inbox.outcomes == Counter(range(50))
    assert {x: failure.kind for x, failure in inbox.failures.items()} == {5: kind}


# Workloads.


async def test_workloads_that_run_at_the_same_time_have_each_their_own_outcomes(pool):
    inboxes = [Inbox() for _ in range(4)]
    await asyncio.gather(
        *(
            start(pool, f"raise@{number}", 50 + number, inbox).wait()
            for number, inbox in enumerate(inboxes)
        )
    )
    for number, inbox in enumerate(inboxes):
        assert inbox.outcomes == Counter(range(50 + number))
        assert set(inbox.failures) == {number}


async def test_cancelling_ends_one_workload_at_once_and_leaves_the_others_alone(pool):
    inbox, kept = Inbox(), Inbox()
    cancelled, other = (start(pool, "nap@*", 200, inbox), start(pool, "ok@*", 200, kept))
    await until(lambda: len(inbox.outcomes) > 0, "an outcome")
    cancelled.cancel()
    delivered = inbox.outcomes.total()
    await cancelled.wait()
    cancelled.cancel()
    await other.wait()
    assert 0 < delivered == inbox.outcomes.total() < 200
    assert kept.outcomes == Counter(range(200))


async def test_cancelling_what_has_ended_is_nothing(pool):
    inbox = Inbox()
    workload = start(pool, "ok@*", 5, inbox)
    await workload.wait()
    workload.cancel()
    await workload.wait()
    assert inbox.outcomes == Counter(range(5))


@with_processes
async def test_cancelling_ends_a_backtest_that_would_never_end(pool):
    inbox = Inbox()
    workload = start(pool, "spin@*", 2, inbox)
    await until(lambda: all(slot.state is SlotState.RUNNING for slot in pool.slots), "they run")
    workload.cancel()
    await workload.wait()
    assert (await run(pool, "ok@*", 5)).outcomes == Counter(range(5))
    assert inbox.outcomes == Counter()


async def test_a_listener_that_raises_ends_its_own_workload_with_its_error(pool):
    calls = []

    def refuse(batch):
        calls.append(batch)
        raise RuntimeError("no room for outcomes")

    kept = Inbox()
    refused, other = start(pool, "ok@*", 500, refuse), start(pool, "ok@*", 50, kept)
    with pytest.raises(RuntimeError, match="no room for outcomes"):
        await refused.wait()
    await other.wait()
    assert len(calls) == 1
    assert kept.outcomes == Counter(range(50))


# Bars.


async def test_backtests_have_the_bars_that_were_shared(pool):
    shared = pool.share([bars_of("A", [1.0, 2.0]), bars_of("B", [30.0, 20.0, 10.0])])
    inbox = Inbox()
    plan = plan_of("closes@*", 20, bar_headers=shared.headers)
    await pool.submit(
        plan, np.arange(20), backtest_timeout=60.0, on_outcomes=inbox, bars=shared
    ).wait()
    shared.close()
    assert inbox.failures == {}
    assert {metrics["A"] for metrics in inbox.metrics.values()} == {2.0}
    assert {metrics["B"] for metrics in inbox.metrics.values()} == {10.0}


async def test_the_same_bars_are_shared_once_and_the_first_to_close_them_costs_others_nothing(pool):
    first, second = (pool.share([bars_of("A", [1.0, 2.0])]) for _ in range(2))
    other = pool.share([bars_of("A", [1.0, 3.0])])
    assert first.fileno() == second.fileno() != other.fileno()
    assert first.digests == second.digests != other.digests
    first.close()
    inbox = Inbox()
    plan = plan_of("closes@*", 20, bar_headers=second.headers)
    await pool.submit(
        plan, np.arange(20), backtest_timeout=60.0, on_outcomes=inbox, bars=second
    ).wait()
    assert {metrics["A"] for metrics in inbox.metrics.values()} == {2.0}
    second.close()
    other.close()


@pytest.mark.parametrize("open_pool", POOLS.values(), ids=POOLS)
async def test_bars_for_which_there_is_no_place_are_a_matter_of_the_folder(open_pool, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with open_pool(scratch) as pool:
        for path in scratch.iterdir():
            path.rename(tmp_path / path.name)
        scratch.rmdir()
        with pytest.raises(StorageUnavailableError, match="scratch directory"):
            pool.share([bars_of("A", [1.0])])
        scratch.mkdir()
        pool.share([bars_of("A", [1.0])]).close()


# Engine and generation.


async def test_the_engine_is_described_and_so_is_the_generation_that_has_loaded_it(pool):
    description = await pool.describe_engine()
    assert [strategy.name for strategy in description.strategies] == ["ok@*"]
    assert pool.generation.description == description
    assert [each.name for each in description.metrics] == ["score"]


async def test_a_workload_runs_on_the_generation_that_it_names(pool):
    await pool.describe_engine()
    inbox = await run(pool, "ok@*", 5, generation=pool.generation)
    assert inbox.outcomes == Counter(range(5))


async def test_the_users_modules_are_those_of_the_generation(pool):
    await pool.describe_engine()
    loaded = await pool.loaded_sources()
    assert [each.source for each in loaded] == list(pool.generation.sources)


async def test_the_number_of_workers_is_known(pool):
    assert pool.worker_count == 2


# The end of the pool.


@pytest.mark.parametrize("open_pool", [open_worker_pool], ids=["workers"])
async def test_closing_ends_what_runs_and_whoever_waits_is_told(open_pool, tmp_path):
    inbox = Inbox()
    async with open_pool(tmp_path) as pool:
        workload = start(pool, "nap@*", 10_000, inbox)
        await until(lambda: len(inbox.outcomes) > 0, "an outcome")
    with pytest.raises(WorkersUnavailableError, match="the worker pool was closed"):
        await workload.wait()
    assert inbox.outcomes.total() < 10_000
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorkersUnavailableError, match="closed"):
        start(pool, "ok@*", 5, inbox)
