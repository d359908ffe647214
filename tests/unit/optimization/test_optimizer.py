"""GridSearchOptimizer on a pool without processes."""

import asyncio
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.backtest import EngineDescription, Metric
from stratsweep_server.optimization import (
    FailureKind,
    GridSearchOptimizer,
    IntegerRange,
    InvalidConfigError,
    OptimizationConfig,
    OptimizationDirection,
    OptimizationState,
    Parameter,
    WorkersUnavailableError,
    optimizer,
)
from stratsweep_server.optimization.memory import MemoryBudget

from tests.inline_pool import InlinePool, WorkerEndedError

MAXIMIZE, MINIMIZE = OptimizationDirection.MAXIMIZE, OptimizationDirection.MINIMIZE


def score(x, y=0):
    """A score with its best value at x = 3, y = 2, and ties."""
    return {"score": -((x - 3) ** 2) - (y - 2) ** 2}


def config(**changes):
    defaults = {
        "strategy": "any",
        "symbols": ["SPY"],
        "parameters": {"x": IntegerRange(1, 5), "y": [0, 1, 2, 3]},
        "optimization_target": "score",
    }
    return OptimizationConfig(**defaults | changes)


async def optimize(function, changes=None, progress_callback=None, **pool_options):
    pool = InlinePool(function, **pool_options)
    return await GridSearchOptimizer(pool=pool).optimize(config(**changes or {}), progress_callback)


def table(result):
    return [
        (row.rank, row.combination_index, dict(row.parameters), dict(row.metrics))
        for row in result.ranked_results
    ]


async def test_every_combination_is_run_and_ranked():
    result = await optimize(score)
    assert result.state is OptimizationState.SUCCEEDED
    assert (result.total_count, result.succeeded_count, result.failed_count) == (20, 20, 0)
    assert [row.rank for row in result.ranked_results] == list(range(1, 21))
    assert sorted(row.combination_index for row in result.ranked_results) == list(range(20))
    assert result.best is not None
    assert result.best.parameters == {"x": 3, "y": 2}
    assert result.best.metrics == {"score": 0}
    assert result.best.duration == 0.25
    assert result.execution_time >= 0
    assert result.message == ""


async def test_results_are_ranked_by_score_and_then_by_combination():
    result = await optimize(score)
    keys = [(-row.metrics["score"], row.combination_index) for row in result.ranked_results]
    assert keys == sorted(keys)


async def test_minimizing_puts_the_smallest_first():
    result = await optimize(score, {"direction": OptimizationDirection.MINIMIZE})
    assert result.best.parameters == {"x": 1, "y": 0}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [(MINIMIZE, MINIMIZE), (MAXIMIZE, MAXIMIZE), (None, MAXIMIZE)],
)
async def test_the_best_end_is_the_one_that_the_metric_declares(declared, expected):
    description = EngineDescription(metrics=(Metric("score", best_direction=declared),))
    best = {"direction": OptimizationDirection.BEST}
    result = await optimize(score, best, description=description)
    assert table(result) == table(await optimize(score, {"direction": expected}))


async def test_the_best_end_of_a_metric_that_nobody_declares_is_the_largest():
    result = await optimize(score, {"direction": OptimizationDirection.BEST})
    assert result.best.parameters == {"x": 3, "y": 2}


async def test_without_a_word_the_largest_is_first_whatever_the_metric_declares():
    description = EngineDescription(metrics=(Metric("score", best_direction=MINIMIZE),))
    result = await optimize(score, description=description)
    assert result.best.parameters == {"x": 3, "y": 2}


async def test_parameters_may_be_given_as_a_list_of_axes():
    axes = [Parameter("y", [0, 2]), Parameter("x", [3, 4])]
    result = await optimize(score, {"parameters": axes})
    assert table(result)[0] == (1, 2, {"y": 2, "x": 3}, {"score": 0})


async def test_without_parameters_there_is_one_backtest():
    result = await optimize(lambda: {"score": 1.0}, {"parameters": {}})
    assert table(result) == [(1, 0, {}, {"score": 1.0})]


async def test_the_callback_hears_of_each_backtest_once_and_ends_with_total_of_total():
    calls = []
    batches = [[0, 1, 2], [3], list(range(4, 20))]
    await optimize(
        score,
        progress_callback=lambda completed, total: calls.append((completed, total)),
        batches=lambda indices: batches,
    )
    assert calls == [(number, 20) for number in range(1, 21)]


async def test_the_callback_counts_failures_too():
    calls = []

    def broken(x):
        raise ValueError(x)

    result = await optimize(
        broken,
        {"parameters": {"x": [1, 2, 3]}},
        lambda completed, total: calls.append((completed, total)),
    )
    assert result.failed_count == 3
    assert calls == [(1, 3), (2, 3), (3, 3)]


async def test_a_callback_that_raises_ends_the_optimization_with_its_error():
    def callback(completed, total):
        if completed == 2:
            raise RuntimeError("the caller's own")

    pool = InlinePool(score)
    with pytest.raises(RuntimeError, match="the caller's own"):
        await GridSearchOptimizer(pool=pool).optimize(config(), callback)


def fails_at_two_and_four(x):
    if x == 2:
        raise ValueError("division of the account by zero")
    if x == 4:
        raise WorkerEndedError(FailureKind.CRASHED, "killed by SIGKILL")
    return {"score": x}


async def test_failures_are_reported_with_their_cause_and_not_ranked():
    result = await optimize(fails_at_two_and_four, {"parameters": {"x": [5, 4, 3, 2, 1]}})
    assert result.state is OptimizationState.SUCCEEDED
    assert (result.succeeded_count, result.failed_count) == (3, 2)
    assert [row.parameters["x"] for row in result.ranked_results] == [5, 3, 1]
    assert [row.rank for row in result.ranked_results] == [1, 2, 3]
    assert [
        (failure.combination_index, failure.kind, failure.message) for failure in result.failures
    ] == [
        (1, FailureKind.CRASHED, "killed by SIGKILL"),
        (3, FailureKind.ERROR, "division of the account by zero"),
    ]


async def test_failures_are_logged_with_combination_kind_and_cause(caplog):
    await optimize(fails_at_two_and_four, {"parameters": {"x": [1, 2, 3, 4]}})
    warnings = [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]
    prefix = "optimization: combination"
    assert warnings == [
        f"{prefix} 1 ERROR after 0.25 s with {{'x': 2}}: division of the account by zero",
        f"{prefix} 3 CRASHED after 0.25 s with {{'x': 4}}: killed by SIGKILL",
    ]


async def test_a_flood_of_failures_is_reported_in_full_and_logged_in_part(caplog):
    def broken(x):
        raise ValueError(f"no {x}")

    result = await optimize(
        broken,
        {"parameters": {"x": IntegerRange(1, 250)}},
        batches=lambda indices: [indices[:90], indices[90:]],
    )
    assert [failure.message for failure in result.failures] == [f"no {x}" for x in range(1, 251)]
    messages = [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]
    assert len(messages) == 101
    assert "further failures are reported, not logged" in messages[-1]


async def test_the_tracebacks_of_a_thousand_failures_are_kept():
    def broken(x):
        raise ValueError(x)

    result = await optimize(broken, {"parameters": {"x": IntegerRange(0, 1_499)}})
    kept = [failure.combination_index for failure in result.failures if failure.traceback]
    assert kept == list(range(1_000))


async def test_when_all_fail_the_optimization_has_failed_and_says_why():
    def broken(x, y):
        raise OSError(f"no data for {x}, {y}")

    result = await optimize(broken)
    assert result.state is OptimizationState.FAILED
    assert result.message == "all 20 backtests failed; the first: no data for 1, 0"
    assert len(result.ranked_results) == 0
    assert result.best is None
    assert result.failed_count == 20


async def test_a_target_that_no_result_has_names_what_results_have():
    def two_metrics(x, y):
        return {"profit": x, "drawdown": y, "win_rate": math.nan}

    result = await optimize(two_metrics, {"optimization_target": "win_rate"})
    assert result.state is OptimizationState.FAILED
    assert result.message == (
        "no result has a value for the optimization target 'win_rate'; "
        "the metrics that results have: drawdown, profit"
    )
    assert result.best is None
    assert result.succeeded_count == 20


async def test_results_without_any_metric_cannot_be_ranked():
    result = await optimize(lambda x, y: {})
    assert result.state is OptimizationState.FAILED
    assert result.message == "no result has any metric"


def figures(x):
    """A score of x, trades of 10 x; of each fourth the score has no value."""
    return {"trades": 10.0 * x} | ({} if x % 4 == 0 else {"score": x})


async def test_what_does_not_meet_the_requirements_is_counted_and_not_ranked():
    grid = {"parameters": {"x": IntegerRange(1, 10)}}
    result = await optimize(figures, grid | {"requirements": ["trades >= 30", "trades < 90"]})
    assert result.state is OptimizationState.SUCCEEDED
    assert [row.parameters["x"] for row in result.ranked_results] == [7, 6, 5, 3, 4, 8]
    assert (result.succeeded_count, result.unqualified_count) == (10, 4)
    assert result.without_target_count == 2
    assert result.best == result.ranked_results[0]


async def test_what_does_not_meet_the_requirements_takes_no_place_of_the_best_few():
    grid = {"parameters": {"x": IntegerRange(1, 10)}, "max_ranked_results": 2}
    result = await optimize(figures, grid | {"requirements": "trades < 75"})
    assert [row.parameters["x"] for row in result.ranked_results] == [7, 6]
    assert (result.unqualified_count, result.without_target_count) == (3, 1)


async def test_without_requirements_only_what_lacks_the_target_is_counted():
    result = await optimize(figures, {"parameters": {"x": IntegerRange(1, 10)}})
    assert (result.unqualified_count, result.without_target_count) == (0, 2)


async def test_a_failure_is_neither_unqualified_nor_without_target():
    result = await optimize(some_metrics, {"parameters": {"x": [1, 3]}, "requirements": "only_1>0"})
    assert (result.failed_count, result.unqualified_count, result.without_target_count) == (1, 0, 0)


async def test_when_nothing_meets_the_requirements_the_message_says_which_rejected_how_many():
    grid = {"parameters": {"x": IntegerRange(1, 10)}}
    requirements = {"requirements": ["trades > 70", "trades < 30", "trades > 0"]}
    result = await optimize(figures, grid | requirements)
    assert result.state is OptimizationState.FAILED
    assert result.best is None
    assert list(result.ranked_results) == []
    assert result.unqualified_count == 10
    assert result.message == (
        "none of the 10 results meets the requirements: 'trades > 70' rejects 7, "
        "'trades < 30' rejects 8; loosen one of them"
    )


async def test_the_only_result_may_not_meet_the_requirements():
    result = await optimize(figures, {"parameters": {"x": [1]}, "requirements": ["trades > 70"]})
    assert result.message == (
        "the only result does not meet the requirements: 'trades > 70' rejects 1; loosen one of "
        "them"
    )


async def test_what_meets_the_requirements_may_all_lack_the_target():
    grid = {"parameters": {"x": IntegerRange(1, 4)}, "requirements": ["trades > 30"]}
    result = await optimize(figures, grid)
    assert result.state is OptimizationState.FAILED
    assert (result.unqualified_count, result.without_target_count) == (3, 1)
    assert result.message.startswith(
        "no result that meets the requirements has a value for the optimization target 'score'; "
    )


async def test_results_without_the_target_are_last_in_the_order_of_combinations():
    def sometimes(x):
        return {"score": x} if x % 2 else {"other": 1.0}

    result = await optimize(sometimes, {"parameters": {"x": [4, 1, 2, 3]}})
    assert result.state is OptimizationState.SUCCEEDED
    assert [row.parameters["x"] for row in result.ranked_results] == [3, 1, 4, 2]
    assert result.ranked_results[-1].metrics == {"other": 1.0}


async def test_the_ranking_is_cut_but_the_counts_are_not():
    result = await optimize(score, {"max_ranked_results": 3})
    assert [row.rank for row in result.ranked_results] == [1, 2, 3]
    assert result.succeeded_count == 20


async def test_constraints_decide_what_runs():
    pool = InlinePool(score)
    result = await GridSearchOptimizer(pool=pool).optimize(config(constraints=["x < y"]))
    assert result.total_count == 3
    assert sorted(tuple(row.parameters.values()) for row in result.ranked_results) == [
        (1, 2),
        (1, 3),
        (2, 3),
    ]
    assert pool.workloads[0].indices == [2, 3, 7]


async def test_the_pool_is_given_the_plan_and_the_timeout():
    pool = InlinePool(score)
    await GridSearchOptimizer(pool=pool).optimize(
        config(backtest_timeout=1.5, starting_cash=500.0, commission=0.001, slippage=0.002)
    )
    [workload] = pool.workloads
    assert workload.backtest_timeout == 1.5
    assert workload.plan.symbols == ("SPY",)
    assert (workload.plan.bar_headers, workload.bars) == (None, None)
    costs = (workload.plan.starting_cash, workload.plan.commission, workload.plan.slippage)
    assert costs == (500.0, 0.001, 0.002)


async def test_an_invalid_config_runs_nothing():
    pool = InlinePool(score)
    with pytest.raises(InvalidConfigError) as caught:
        await GridSearchOptimizer(pool=pool).optimize(config(strategy="", starting_cash=0))
    assert [violation.field for violation in caught.value.violations] == [
        "strategy",
        "starting_cash",
    ]
    assert pool.workloads == []


async def test_the_largest_grid_is_a_setting():
    grid_search = GridSearchOptimizer(pool=InlinePool(score), max_combinations=19)
    with pytest.raises(InvalidConfigError, match="20 combinations before constraints"):
        await grid_search.optimize(config())


async def test_cancelling_the_call_cancels_the_workload():
    pool = InlinePool(score, stall_after=5)
    heard = asyncio.Event()
    call = asyncio.create_task(
        GridSearchOptimizer(pool=pool).optimize(
            config(), lambda completed, total: heard.set() if completed == 5 else None
        )
    )
    await heard.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert pool.workloads[0].is_cancelled


async def test_a_cancelled_optimization_keeps_the_ranking_of_what_completed():
    pool = InlinePool(score, stall_after=5)
    grid_search = GridSearchOptimizer(pool=pool)
    prepared = await grid_search.prepare(config())
    async with grid_search.start(prepared) as optimization:
        assert await optimization.log.wait_beyond(4)
        optimization.cancel()
        result = await optimization.result()
        assert optimization.log.is_closed
    assert result.state is OptimizationState.CANCELLED
    assert (result.succeeded_count, result.total_count) == (5, 20)
    assert result.best.parameters == {"x": 1, "y": 2}
    assert [row.rank for row in result.ranked_results] == [1, 2, 3, 4, 5]


async def test_a_clock_that_is_set_back_changes_no_time(monkeypatch):
    grid_search = GridSearchOptimizer(pool=InlinePool(score))
    optimization = grid_search.start(await grid_search.prepare(config()))
    start = optimization.log.runs[0].time_at(0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    monkeypatch.setattr("time.time", lambda: 0.0)
    async with optimization:
        result = await optimization.result()
    times = [optimization.log.event_time(row) for row in range(20)]
    ends = [start, *times, result.end_time / 1e9]
    assert ends == sorted(ends)
    assert start > 1e9


async def test_leaving_an_optimization_early_cancels_it_and_wakes_its_readers():
    pool = InlinePool(score, stall_after=0)
    grid_search = GridSearchOptimizer(pool=pool)
    async with grid_search.start(await grid_search.prepare(config())) as optimization:
        reader = asyncio.create_task(optimization.log.wait_beyond(0))
        await asyncio.sleep(0)
    assert await reader
    assert pool.workloads[0].is_cancelled


async def test_when_workers_stop_starting_what_completed_is_ranked():
    result = await optimize(score, unavailable_after=4)
    assert result.state is OptimizationState.FAILED
    assert result.message == "no worker starts: out of memory"
    assert len(result.ranked_results) == 4


async def test_a_result_needs_a_started_optimization():
    grid_search = GridSearchOptimizer(pool=InlinePool(score))
    optimization = grid_search.start(await grid_search.prepare(config()))
    with pytest.raises(RuntimeError, match="was not started"):
        await optimization.result()


async def test_preparing_needs_workers():
    with pytest.raises(RuntimeError, match="use it with `async with`"):
        await GridSearchOptimizer().prepare(config())


def test_the_number_of_workers_is_positive():
    with pytest.raises(ValueError, match="max_workers must be at least 1, not 0"):
        GridSearchOptimizer(max_workers=0)


async def test_closing_the_optimizer_leaves_an_injected_pool_alone():
    pool = InlinePool(score)
    async with GridSearchOptimizer(pool=pool) as grid_search:
        await grid_search.optimize(config())
    assert (await grid_search.optimize(config())).state is OptimizationState.SUCCEEDED


class ClosingPool(InlinePool):
    """Stands in for `WorkerPool`: what runs when it closes ends without workers."""

    opened = 0
    max_workers = None

    def __init__(self, engine, *, max_workers):
        super().__init__(score)
        ClosingPool.max_workers = max_workers
        self.unavailable_after = None

    async def __aenter__(self):
        ClosingPool.opened += 1
        return self

    async def __aexit__(self, *error):
        self.unavailable_after = 0


@pytest.fixture
def worker_pool(monkeypatch):
    monkeypatch.setattr(ClosingPool, "opened", 0)
    monkeypatch.setattr(optimizer, "WorkerPool", ClosingPool)
    return ClosingPool


async def test_optimizations_at_the_same_time_do_not_end_each_other(worker_pool):
    grid_search = GridSearchOptimizer(max_workers=3)
    short, long = await asyncio.gather(
        grid_search.optimize(config(parameters={"x": [1]})),
        grid_search.optimize(config(parameters={"x": IntegerRange(1, 100)})),
    )
    assert short.state is long.state is OptimizationState.SUCCEEDED
    assert worker_pool.opened == 2
    assert worker_pool.max_workers == 3


async def test_as_a_context_manager_the_optimizer_keeps_its_workers(worker_pool):
    async with GridSearchOptimizer() as grid_search:
        await grid_search.optimize(config())
        await grid_search.optimize(config())
        assert worker_pool.opened == 1
    with pytest.raises(RuntimeError, match="no workers"):
        await grid_search.prepare(config())


async def test_workers_that_never_start_are_an_error():
    class Hopeless(InlinePool):
        async def describe_engine(self):
            raise WorkersUnavailableError("no worker starts")

    with pytest.raises(WorkersUnavailableError, match="no worker starts"):
        await GridSearchOptimizer(pool=Hopeless(score)).optimize(config())


def some_metrics(x):
    """Scores with ties, gaps and failures, and metrics that differ between backtests."""
    if x % 7 == 3:
        raise ValueError(f"no {x}")
    metrics = {"score": (x * x) % 5, f"only_{x % 3}": x}
    return metrics if x % 4 else {"only_0": 1.0}


@st.composite
def completions(draw, total):
    """Any order of completion, in any batches."""
    order = draw(st.permutations(range(total)))
    cuts = sorted(draw(st.sets(st.integers(1, total - 1))))
    return [list(order[start:end]) for start, end in zip([0, *cuts], [*cuts, total], strict=True)]


@given(completions(30), st.sampled_from([MAXIMIZE, MINIMIZE]))
def test_the_result_is_the_same_for_any_order_of_completion_and_any_batches(batches, direction):
    def run(**pool_options):
        changes = {"parameters": {"x": IntegerRange(0, 29)}, "direction": direction}
        return asyncio.run(optimize(some_metrics, changes, **pool_options))

    expected, result = run(), run(batches=lambda indices: batches)
    assert table(result) == table(expected)
    assert result.failures == expected.failures
    assert result.state is expected.state


async def test_ranked_results_are_a_sequence():
    result = await optimize(score, {"parameters": {"x": IntegerRange(1, 2_500)}})
    rows = result.ranked_results
    everything = list(rows)
    assert len(rows) == len(everything) == 2_500
    assert rows[0] == everything[0]
    assert rows[-1] == everything[-1] == rows[2_499]
    assert rows[10:13] == everything[10:13]
    assert rows[::-1] == everything[::-1]
    assert rows[2:2] == []
    assert rows[5:1_000_000][-1] == everything[-1]
    assert [row.rank for row in rows[-2:]] == [2_499, 2_500]
    assert list(reversed(rows)) == everything[::-1]
    assert everything[7] in rows
    assert rows.index(everything[7]) == 7
    assert repr(rows) == "<RankedResults of 2500>"
    for outside in (2_500, -2_501):
        with pytest.raises(IndexError):
            rows[outside]


def test_two_strategies_of_one_name_are_refused():
    def twin(bars): ...

    first = twin

    def twin(bars): ...

    with pytest.raises(ValueError, match="two of them have one name"):
        GridSearchOptimizer(strategies=[first, twin])


async def run_within(limit_bytes, function):
    """Run on a budget that an account of the optimization's own is taken from."""
    pool = InlinePool(function, description=EngineDescription(metrics=(Metric("score"),)))
    budget = MemoryBudget(limit_bytes)
    optimizer = GridSearchOptimizer(pool=pool)
    with budget.account() as memory:
        prepared = await optimizer.prepare(config(), memory=memory)
        assert memory.byte_count == prepared.memory_bytes
        async with optimizer.start(prepared, memory=memory) as optimization:
            result = await optimization.result()
        return result, memory.byte_count - prepared.memory_bytes


async def test_memory_that_was_foreseen_is_all_that_is_held():
    result, more = await run_within(10_000_000, score)
    assert (result.state, more) == (OptimizationState.SUCCEEDED, 0)


async def test_metrics_that_nobody_declared_and_failures_are_counted_as_they_come():
    def function(x, y):
        if x == 1:
            raise ValueError("no luck" * 1_000)
        return {"score": x, "other": y}

    result, more = await run_within(10_000_000, function)
    assert result.failed_count == 4
    assert more > 20 * 8 + 4 * 7_000


async def test_an_optimization_that_outgrows_the_memory_fails_with_what_has_completed():
    def function(x, y):
        if x > 2:
            raise ValueError("no luck" * 10_000)
        return {"score": x}

    result, _ = await run_within(2_050_000, function)
    assert result.state is OptimizationState.FAILED
    assert "memory" in result.message
    assert result.succeeded_count == 8
    assert 0 < result.failed_count < 12
