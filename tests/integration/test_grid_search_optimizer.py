"""The four acceptance scenarios of the optimizer, on real worker processes."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest
from stratsweep_server.optimization import (
    FailureKind,
    GridSearchOptimizer,
    IntegerRange,
    InvalidConfigError,
    OptimizationConfig,
    OptimizationState,
    WorkersUnavailableError,
)

from tests.engines import (
    ConstructorRaises,
    DeclaringEngine,
    DrawingEngine,
    ScriptedBatchEngine,
    ScriptedEngine,
)
from tests.waiting import is_alive, until


def scripted(script: str, count: int, **options) -> OptimizationConfig:
    settings = {"symbols": ["ANY"], "optimization_target": "score", **options}
    return OptimizationConfig(script, parameters={"x": IntegerRange(0, count - 1)}, **settings)


def greatest_overlap(results) -> int:
    """How many backtests ran at the same time at most, by their own clocks."""
    edges = [(result.metrics["start"], 1) for result in results]
    edges += [(result.metrics["end"], -1) for result in results]
    return max(itertools.accumulate(step for _, step in sorted(edges)))


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_every_combination_is_tested_on_all_workers_and_never_more(workers):
    async with GridSearchOptimizer(workers, ScriptedEngine) as optimizer:
        result = await optimizer.optimize(scripted("nap@*", 100))

    assert [each.combination_index for each in result.ranked_results] == list(range(99, -1, -1))
    assert greatest_overlap(result.ranked_results) == workers
    assert len({each.metrics["pid"] for each in result.ranked_results}) == workers


async def test_the_callback_reports_each_backtest_once_and_ends_with_total_of_total():
    calls = []
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        await optimizer.optimize(
            scripted("raise@5,exit@7", 100), lambda *counts: calls.append(counts)
        )

    assert calls == [(completed, 100) for completed in range(1, 101)]


async def test_a_backtest_that_raises_and_one_that_dies_are_reported_and_the_rest_completes(caplog):
    caplog.set_level(logging.WARNING)
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        result = await optimizer.optimize(scripted("raise@13,exit@17,segfault@23", 100))

    raised, exited, crashed = result.failures
    assert (raised.combination_index, raised.kind) == (13, FailureKind.ERROR)
    assert raised.message == "ValueError: no luck with 13"
    assert "in _raise" in raised.traceback
    assert (exited.combination_index, exited.kind) == (17, FailureKind.CRASHED)
    assert "exited with code 3" in exited.message
    assert (crashed.combination_index, crashed.kind) == (23, FailureKind.CRASHED)
    assert "SIGSEGV" in crashed.message
    assert {each.combination_index for each in result.ranked_results} == set(range(100)) - {
        13,
        17,
        23,
    }
    assert result.state is OptimizationState.SUCCEEDED
    for failure in result.failures:
        assert f"combination {failure.combination_index} {failure.kind.value}" in caplog.text


async def test_an_engine_that_takes_batches_gets_whole_chunks():
    async with GridSearchOptimizer(2, ScriptedBatchEngine) as optimizer:
        result = await optimizer.optimize(scripted("ok@*", 20_000))

    assert [each.combination_index for each in result.ranked_results] == list(range(19_999, -1, -1))
    assert [each.metrics["score"] for each in result.ranked_results] == list(range(19_999, -1, -1))
    assert max(each.metrics["count"] for each in result.ranked_results) > 100
    assert result.failures == ()


async def test_in_batches_too_each_guilty_combination_fails_for_itself_and_no_other():
    script = "raise@13,raise@14,exit@700,segfault@701,exit@1500"
    calls = []
    async with GridSearchOptimizer(2, ScriptedBatchEngine) as optimizer:
        result = await optimizer.optimize(
            scripted(script, 3_000), lambda *counts: calls.append(counts)
        )

    assert calls == [(completed, 3_000) for completed in range(1, 3_001)]
    kinds = {failure.combination_index: failure.kind for failure in result.failures}
    assert kinds == {
        13: FailureKind.ERROR,
        14: FailureKind.ERROR,
        700: FailureKind.CRASHED,
        701: FailureKind.CRASHED,
        1_500: FailureKind.CRASHED,
    }
    scores = {each.combination_index: each.metrics["score"] for each in result.ranked_results}
    assert scores == {index: index for index in range(3_000) if index not in kinds}


async def test_batches_that_hang_once_in_a_while_come_to_an_end(tmp_path):
    config = scripted(
        "hang@400,hang@401,hang@900", 1_000, symbols=[str(tmp_path)], backtest_timeout=0.4
    )
    async with GridSearchOptimizer(2, ScriptedBatchEngine) as optimizer:
        result = await optimizer.optimize(config)

    kinds = {failure.combination_index: failure.kind for failure in result.failures}
    assert kinds == dict.fromkeys((400, 401, 900), FailureKind.TIMED_OUT)
    assert result.succeeded_count == 997


async def test_a_backtest_that_hangs_is_killed_at_its_timeout_and_the_rest_completes(
    tmp_path, caplog
):
    caplog.set_level(logging.WARNING)
    config = scripted("hang@40", 100, symbols=[str(tmp_path)], backtest_timeout=0.4)
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        result = await optimizer.optimize(config)

        (failure,) = result.failures
        assert (failure.combination_index, failure.kind) == (40, FailureKind.TIMED_OUT)
        assert "timeout of 0.4 s" in failure.message
        assert failure.duration >= 0.4
        assert len(result.ranked_results) == 99
        assert "combination 40 TIMED_OUT" in caplog.text
        pid = int((tmp_path / "40.pid").read_text())
        assert not is_alive(pid)


async def test_the_ranking_is_the_same_for_any_number_of_workers(real_data):
    config = OptimizationConfig(
        "sma_cross",
        ["SPY"],
        {"fast": IntegerRange(5, 50, 5), "slow": IntegerRange(20, 200, 20)},
        constraints=["fast < slow"],
        commission=0.001,
    )
    rankings = []
    for workers in (1, 2, 4):
        async with GridSearchOptimizer(workers, data=real_data) as optimizer:
            result = await optimizer.optimize(config)
        rankings.append(
            [(each.rank, each.parameters, each.metrics) for each in result.ranked_results]
        )

    assert len(rankings[0]) == 90
    assert rankings[0] == rankings[1] == rankings[2]


async def test_an_optimization_in_parts_has_the_rows_of_the_whole(real_data):
    async def rows_of(fast: range) -> list[tuple]:
        grid = {"fast": list(fast), "slow": IntegerRange(60, 240, 20)}
        config = OptimizationConfig("sma_cross", ["SPY"], grid, commission=0.001)
        result = await optimizer.optimize(config)
        return [(each.parameters, each.metrics) for each in result.ranked_results]

    async with GridSearchOptimizer(2, data=real_data) as optimizer:
        whole = await rows_of(range(5, 55, 5))
        parts = await rows_of(range(5, 20, 5)) + await rows_of(range(20, 55, 5))
    assert len(whole) == 100
    # Python's sort keeps the order of equals, as the ranking keeps that of the grid.
    assert sorted(parts, key=lambda row: -row[1]["sharpe_ratio"]) == whole


async def test_cancelling_frees_the_workers_at_once(tmp_path):
    config = scripted("sleep@*", 50, symbols=[str(tmp_path)])
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        running = asyncio.create_task(optimizer.optimize(config))
        await until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, "two backtests run")
        sleepers = [int(note.read_text()) for note in tmp_path.glob("*.pid")]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        await until(lambda: not any(map(is_alive, sleepers)), "the sleepers are gone")
        after = await optimizer.optimize(scripted("ok@*", 10))
        assert after.succeeded_count == 10


async def test_concurrent_optimizations_share_the_workers_and_do_not_mix():
    async with GridSearchOptimizer(2, ScriptedEngine) as optimizer:
        results = await asyncio.gather(
            *(optimizer.optimize(scripted(f"raise@{number}", 30)) for number in range(5))
        )

    for number, result in enumerate(results):
        assert [failure.combination_index for failure in result.failures] == [number]
        assert result.succeeded_count == 29


async def test_an_engine_that_cannot_be_built_is_an_error_that_says_why():
    async with GridSearchOptimizer(2, ConstructorRaises) as optimizer:
        with pytest.raises(WorkersUnavailableError, match="no licence for this engine"):
            await optimizer.optimize(scripted("ok@*", 10))


async def test_an_engine_named_by_text_is_loaded_in_the_workers():
    async with GridSearchOptimizer(1, "tests.engines:ScriptedEngine") as optimizer:
        result = await optimizer.optimize(scripted("ok@*", 3))
    assert result.best.combination_index == 2


async def test_without_a_context_the_workers_live_as_long_as_one_call():
    optimizer = GridSearchOptimizer(1, ScriptedEngine)
    first = await optimizer.optimize(scripted("ok@*", 3))
    second = await optimizer.optimize(scripted("ok@*", 3))

    (pid,) = {int(each.metrics["pid"]) for each in first.ranked_results}
    assert {int(each.metrics["pid"]) for each in second.ranked_results} != {pid}
    assert not is_alive(pid)


async def test_what_an_engine_declares_is_validated():
    config = OptimizationConfig(
        "parabola", ["ANY"], {"x": [-11.0, 3.0], "y": [1]}, optimization_target="depth"
    )
    async with GridSearchOptimizer(1, DeclaringEngine) as optimizer:
        with pytest.raises(InvalidConfigError) as refused:
            await optimizer.optimize(config)

    fields = {violation.field for violation in refused.value.violations}
    assert fields == {"parameters[0]", "parameters[1].name", "optimization_target"}


async def test_progress_does_not_wait_for_a_slow_neighbour(tmp_path):
    """What completed before a backtest that hangs is reported while that one still runs."""
    calls = []
    config = scripted("sleep@49", 50, symbols=[str(tmp_path)])
    async with GridSearchOptimizer(1, ScriptedEngine) as optimizer:
        running = asyncio.create_task(
            optimizer.optimize(config, lambda *counts: calls.append(counts))
        )
        await until(lambda: len(calls) == 49, "all but the sleeper are reported")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def drawn_scores(workers: int, count: int, script: str = "ok", **options) -> dict:
    """The metrics of an engine that draws, by x."""
    async with GridSearchOptimizer(workers, DrawingEngine) as optimizer:
        result = await optimizer.optimize(scripted(script, count, **options))
    return {each.parameters["x"]: each.metrics for each in result.ranked_results}


async def test_random_backtests_repeat_on_any_number_of_workers_in_larger_grids_and_alone():
    first = await drawn_scores(1, 40)
    larger = await drawn_scores(3, 200)
    assert len({metrics["score"] for metrics in first.values()}) == 40
    assert {x: larger[x] for x in range(40)} == first
    assert await drawn_scores(1, 1) == {0: first[0]}
    other = await drawn_scores(2, 40, seed=1)
    assert all(other[x]["score"] != first[x]["score"] for x in first)


async def test_a_random_backtest_that_is_run_again_after_a_crash_draws_the_same(tmp_path):
    undisturbed = await drawn_scores(2, 20)
    crashed = await drawn_scores(2, 20, "exit_once@7,exit_once@11", symbols=[str(tmp_path)])
    assert {each.name for each in tmp_path.iterdir()} >= {"exited-7", "exited-11"}
    assert crashed == undisturbed
