"""The fault table: whatever one backtest does, it alone pays, and the pool is whole afterwards."""

from __future__ import annotations

import os

import pytest
from stratsweep_server.execution.limits import resident_bytes
from stratsweep_server.optimization import (
    FailureKind,
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
)

from tests.fault.conftest import at_full_strength, descriptor_count
from tests.waiting import is_alive, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPANY = pytest.mark.parametrize("neighbours", [0, 300], ids=["alone", "in a chunk"])

ERRORS = {
    "raises": "ValueError: plain",
    "raises_unpicklable": "ValueError: holds a lock",
    "raises_keyword_only": "KeywordOnlyError: code 7",
    "raises_system_exit": "SystemExit: 3",
    "raises_keyboard_interrupt": "KeyboardInterrupt",
    "raises_recursion_error": "RecursionError: maximum recursion depth exceeded",
    "raises_memory_error": "MemoryError: no room",
    "raises_hostile_text": "HostileError: <its text could not be made: RuntimeError>",
    "returns_nothing_known": "TypeError: run_sync returned str, not a BacktestResult",
    "returns_unpicklable_metric": "TypeError",
    "returns_huge_metric": "TypeError: metric 'score' of type str is not a number",
    "returns_too_many_metrics": "ValueError: 1000000 metrics; 1000 are allowed",
}
DEATHS = {
    "segfaults": "was killed by SIGSEGV",
    "aborts": "was killed by SIGABRT",
    "exits_with_zero": "exited with code 0",
    "exits_with_three": "exited with code 3",
    "kills_itself": "was killed by SIGKILL",
    "metric_exits": "exited with code 4",
}
HANGS = [
    "loops_for_ever",
    "holds_the_interpreter_lock",
    "ignores_sigterm",
    "swallows_every_exception",
    "stops_itself",
]
HARMLESS = ["returns_hostile_pickle", "floods_its_output", "leaves_a_child"]
DESCRIPTOR_FAULTS = ["closes_every_descriptor", "writes_garbage_everywhere"]


async def run(pool, fault: str, neighbours: int, symbol: str = "ANY", limit: float = 60.0):
    """Run the guilty combination in the middle of its neighbours; check that these are right."""
    half = neighbours // 2
    config = OptimizationConfig(
        fault,
        [symbol],
        {"x": IntegerRange(-half, half)},
        optimization_target="score",
        backtest_timeout=limit,
    )
    result = await GridSearchOptimizer(pool=pool).optimize(config)
    scores = {each.parameters["x"]: each.metrics["score"] for each in result.ranked_results}
    assert {x: score for x, score in scores.items() if x != 0} == {
        x: float(x) for x in range(-half, half + 1) if x != 0
    }
    return result


def the_failure(result, neighbours: int):
    (failure,) = result.failures
    assert failure.combination_index == neighbours // 2
    return failure


@COMPANY
@pytest.mark.parametrize("fault", ERRORS)
async def test_an_exception_is_an_error_and_the_worker_is_kept(pool, fault, neighbours):
    await at_full_strength(pool)
    pids = {slot.worker_pid for slot in pool.slots}
    failure = the_failure(await run(pool, fault, neighbours), neighbours)

    assert failure.kind is FailureKind.ERROR
    assert ERRORS[fault] in failure.message
    assert "Traceback" in failure.traceback or "could not be made" in failure.traceback
    await at_full_strength(pool)
    assert {slot.worker_pid for slot in pool.slots} == pids


async def test_the_servers_memory_does_not_follow_the_size_of_a_result(pool):
    before = resident_bytes(os.getpid())
    await run(pool, "returns_huge_metric", 10)
    assert resident_bytes(os.getpid()) - before < 100_000_000


@COMPANY
@pytest.mark.parametrize("fault", DEATHS)
async def test_a_death_is_a_crash_with_its_signal_or_exit_code(pool, fault, neighbours):
    failure = the_failure(await run(pool, fault, neighbours), neighbours)

    assert failure.kind is FailureKind.CRASHED
    assert DEATHS[fault] in failure.message
    await at_full_strength(pool)


@COMPANY
@pytest.mark.parametrize("fault", HANGS)
async def test_a_hang_times_out_at_its_own_deadline_and_its_process_is_gone(
    pool, fault, neighbours, tmp_path
):
    result = await run(pool, fault, neighbours, str(tmp_path), limit=0.3)
    failure = the_failure(result, neighbours)

    assert failure.kind is FailureKind.TIMED_OUT
    assert failure.duration >= 0.3
    pid = int((tmp_path / "guilty.pid").read_text())
    await until(lambda: not is_alive(pid), "the hung process is gone")
    await at_full_strength(pool)


@COMPANY
async def test_a_metric_that_hangs_when_it_is_read_times_out(pool, neighbours):
    failure = the_failure(await run(pool, "metric_hangs", neighbours, limit=0.3), neighbours)

    assert failure.kind is FailureKind.TIMED_OUT
    await at_full_strength(pool)


@COMPANY
@pytest.mark.parametrize("fault", HARMLESS)
async def test_what_harms_nobody_completes(pool, fault, neighbours, tmp_path):
    result = await run(pool, fault, neighbours, str(tmp_path))

    assert result.failures == ()
    assert result.succeeded_count == neighbours + 1
    await at_full_strength(pool)


@COMPANY
@pytest.mark.parametrize("fault", DESCRIPTOR_FAULTS)
async def test_a_backtest_that_ruins_its_descriptors_hurts_only_itself(pool, fault, neighbours):
    result = await run(pool, fault, neighbours, limit=2.0)

    assert [failure.combination_index for failure in result.failures] in ([], [neighbours // 2])
    await at_full_strength(pool)


async def test_an_innocent_that_is_hit_by_its_neighbours_thread_is_cleared(pool):
    result = await run(pool, "leaves_a_thread_that_kills", 300)

    assert result.failures == ()
    await at_full_strength(pool)


async def test_the_child_that_a_backtest_started_ends_with_its_worker(pool, tmp_path):
    await run(pool, "leaves_a_child", 0, str(tmp_path))
    child = int((tmp_path / "child.pid").read_text())
    assert is_alive(child)
    await run(pool, "exits_with_three", 0)
    await run(pool, "exits_with_three", 0)
    await at_full_strength(pool)

    for slot in pool.slots:
        if is_alive(child):
            slot.cancel()
            await at_full_strength(pool)
    await until(lambda: not is_alive(child), "the child is gone")


async def test_deaths_leak_neither_descriptors_nor_files(pool):
    for _ in range(3):
        await run(pool, "exits_with_three", 20)
    await at_full_strength(pool)
    before = descriptor_count()
    for _ in range(10):
        await run(pool, "exits_with_three", 20)
    await at_full_strength(pool)

    assert descriptor_count() <= before
