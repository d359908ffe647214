"""The fault table of batches: one combination spoils its whole batch, and alone pays for it."""

from __future__ import annotations

import pytest
from stratsweep_server.optimization import (
    FailureKind,
    GridSearchOptimizer,
    IntegerRange,
    OptimizationConfig,
)

from tests.fault.conftest import at_full_strength
from tests.waiting import is_alive, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPANY = pytest.mark.parametrize("neighbours", [0, 1_000], ids=["alone", "in a batch"])
NAMING = pytest.mark.parametrize("naming", ["named", "unnamed"])

ERRORS = {
    "raises": "ValueError: plain",
    "raises_system_exit": "SystemExit: 3",
    "raises_hostile_text": "HostileError: <its text could not be made: RuntimeError>",
    "returns_nothing_known": "TypeError: run_batch returned str, not a BatchResult",
    "returns_unpicklable_metric": "TypeError: metric 'score' is no column of numbers",
    "returns_too_many_metrics": "ValueError: 1000000 metrics; 1000 are allowed",
    "returns_too_short_a_column": "ValueError: metric 'score' has shape (0,) in a batch of 1",
    "returns_text": "TypeError: metric 'score' is no column of numbers",
}
DEATHS = {
    "segfaults": "was killed by SIGSEGV",
    "exits_with_zero": "exited with code 0",
    "kills_itself": "was killed by SIGKILL",
}
HANGS = ["loops_for_ever", "holds_the_interpreter_lock", "stops_itself"]


async def run(pool, fault: str, neighbours: int, symbol: str = "ANY", limit: float = 60.0):
    """Run the guilty combination amid its neighbours, which must have their own results.

    Returns the only failure, and the size of the largest batch of the others.
    """
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
    assert scores == {x: float(x) for x in range(-half, half + 1) if x != 0}
    (failure,) = result.failures
    assert failure.combination_index == half
    assert result.total_count == neighbours + 1
    return failure, max((each.metrics["count"] for each in result.ranked_results), default=0)


@COMPANY
@NAMING
@pytest.mark.parametrize("fault", ERRORS)
async def test_what_spoils_a_batch_is_one_combinations_error(batch_pool, fault, naming, neighbours):
    await at_full_strength(batch_pool)
    pids = {slot.worker_pid for slot in batch_pool.slots}
    failure, batch_size = await run(batch_pool, f"{fault}/{naming}", neighbours)

    assert failure.kind is FailureKind.ERROR
    assert ERRORS[fault] in failure.message
    assert (batch_size > 1) == bool(neighbours)
    await at_full_strength(batch_pool)
    assert {slot.worker_pid for slot in batch_pool.slots} == pids


@COMPANY
@NAMING
@pytest.mark.parametrize("fault", DEATHS)
async def test_a_death_in_a_batch_is_one_combinations_crash(batch_pool, fault, naming, neighbours):
    failure, _ = await run(batch_pool, f"{fault}/{naming}", neighbours)

    assert failure.kind is FailureKind.CRASHED
    assert DEATHS[fault] in failure.message
    await at_full_strength(batch_pool)


@COMPANY
@NAMING
@pytest.mark.parametrize("fault", HANGS)
async def test_a_hang_in_a_batch_is_one_combinations_timeout(
    batch_pool, fault, naming, neighbours, tmp_path
):
    failure, _ = await run(batch_pool, f"{fault}/{naming}", neighbours, str(tmp_path), limit=0.3)

    assert failure.kind is FailureKind.TIMED_OUT
    assert failure.duration >= 0.3
    pid = int((tmp_path / "guilty.pid").read_text())
    await until(lambda: not is_alive(pid), "the hung process is gone")
    await at_full_strength(batch_pool)


@NAMING
async def test_a_batch_that_ruins_its_descriptors_hurts_only_its_guilty_combination(
    batch_pool, naming
):
    failure, _ = await run(batch_pool, f"writes_garbage_everywhere/{naming}", 300, limit=2.0)

    assert failure.kind in (FailureKind.CRASHED, FailureKind.TIMED_OUT)
    await at_full_strength(batch_pool)
