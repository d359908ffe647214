"""Results of one optimization that are another's, too."""

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization.inputs import InputsChangedError
from stratsweep_server.optimization.preparer import OptimizationRunningError
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import UnknownOptimizationError
from stratsweep_server.optimization.taking_over import GridMatch
from stratsweep_server.optimization.validation import InvalidConfigError

from .floor import Floor, SharedStore, request, stalled

INTEGERS = st.lists(st.integers(-3, 6), min_size=1, max_size=4, unique=True)
AXIS_VALUES = st.one_of(
    INTEGERS.map(lambda values: array("q", values)),
    INTEGERS.map(lambda values: array("d", values)),
    st.builds(range, st.integers(0, 2), st.integers(3, 6)),
    st.lists(st.sampled_from([True, False, 0, 1, 1.0, "1", "x"]), min_size=1, max_size=4).map(
        tuple
    ),
)


def unique(values):
    return isinstance(values, range | array) or len({(type(v), v) for v in values}) == len(values)


@st.composite
def two_grids(draw):
    names = draw(st.permutations(["a", "b", "c"]))
    grids = []
    for order in (names, draw(st.permutations(names))):
        axes = {name: draw(AXIS_VALUES.filter(unique)) for name in order}
        grids.append(tuple(ParameterAxis(name, values) for name, values in axes.items()))
    return grids


@given(two_grids())
def test_combinations_are_found_by_their_values(grids):
    plans = [BacktestPlan("any", axes, ()) for axes in grids]

    def key(plan, index):
        return frozenset((n, type(v), v) for n, v in plan.combination(index).items())

    source, target = plans
    places = {key(target, index): index for index in range(target.grid_size)}
    expected = [places.get(key(source, index), -1) for index in range(source.grid_size)]
    found = GridMatch(*grids).find(np.arange(source.grid_size))
    assert found.tolist() == expected


async def test_a_grid_that_grows_runs_only_what_is_new():
    store = SharedStore()
    floor = Floor(store)
    await floor.run(request("a", values=(1, 2, 3)))
    async with floor.opened(request("b", values=(5, 3, 4, 1), takes_results=True)) as entry:
        result = await entry.result()
        assert b"\x50\x02" in entry.started  # reused_count, 2
    assert floor.pool.workloads[1].indices == [0, 2]
    assert entry.log.indices().tolist() == [3, 1, 0, 2]
    assert [each.parameters["x"] for each in result.ranked_results] == [5, 4, 3, 1]
    assert [each.metrics["score"] for each in result.ranked_results] == [5, 4, 3, 1]


async def test_without_being_asked_nothing_is_reused():
    floor = Floor(SharedStore())
    for name in ("a", "b"):
        await floor.run(request(name))
    assert [workload.indices for workload in floor.pool.workloads] == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("fields", [{"seed": 1}, {"commission": 0.5}, {"symbols": ("QQQ",)}])
async def test_nothing_is_reused_of_other_inputs(fields):
    floor = Floor(SharedStore())
    await floor.run(request("a"))
    await floor.run(request("b", config_fields=fields, takes_results=True))
    assert floor.pool.workloads[1].indices == [0, 1, 2, 3]
    floor.inputs = {"module": "2"}
    await floor.run(request("c", takes_results=True))
    assert floor.pool.workloads[2].indices == [0, 1, 2, 3]


def failing(x):
    if x == 2:
        raise RuntimeError("out of luck")
    return {"score": x}


async def test_a_cancelled_one_is_resumed_as_a_new_one_and_failures_run_again():
    store = SharedStore()
    floor = Floor(store, stall_after=3)
    floor.pool.engine.function = failing
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 3)
        await floor.optimizations.cancel("a", "enough")
        await entry.result()
    again = Floor(store)
    result = await again.run(request("b", resume_from="a"))
    assert again.pool.workloads[0].indices == [1, 3]
    assert (result.state, result.succeeded_count) == (OptimizationState.SUCCEEDED, 4)
    assert store.find("", "a").state is OptimizationState.CANCELLED


async def test_what_cannot_be_resumed_says_why():
    store = SharedStore()
    floor = Floor(store, stall_after=1)
    async with floor.opened(request("a")) as entry:
        await stalled(entry, 1)
        with pytest.raises(OptimizationRunningError, match="a is RUNNING; cancel it first"):
            await floor.run(request("b", resume_from="a"))
    with pytest.raises(UnknownOptimizationError):
        await floor.run(request("b", resume_from="c"))
    with pytest.raises(InvalidConfigError, match="another strategy, symbols, dates"):
        await floor.run(request("b", config_fields={"seed": 1}, resume_from="a"))
    floor.inputs = {"module": "2"}
    with pytest.raises(InputsChangedError, match="module is 2 and was 1"):
        await floor.run(request("b", resume_from="a"))
    floor.inputs = {"module": "1"}
    floor.pool.stall_after = None
    await floor.run(request("d"))
    with pytest.raises(InvalidConfigError, match="has succeeded; nothing of it is missing"):
        await floor.run(request("b", resume_from="d"))
    assert floor.memory.used_bytes == 0


async def test_what_is_deleted_just_before_it_is_reused_is_run_again():
    class Deleting(SharedStore):
        def matching(self, caller, inputs_key):
            records = super().matching(caller, inputs_key)
            for record in records:
                self.delete(caller, record.optimization_id)
            return records

    floor = Floor(Deleting())
    await floor.run(request("a"))
    assert (await floor.run(request("b", takes_results=True))).succeeded_count == 4
    assert floor.pool.workloads[1].indices == [0, 1, 2, 3]


async def test_one_that_resumes_another_goes_on_when_that_is_gone():
    store = SharedStore()
    async with Floor(store, stall_after=2).opened(request("a")) as entry:
        await stalled(entry, 2)
    floor = Floor(store, max_count=1, stall_after=0)
    resuming = request("b", resume_from="a")
    async with floor.opened(request("0")), floor.opened(resuming) as queued:
        assert store.find("", "b").state is OptimizationState.QUEUED
        store.delete("", "a")
        floor.pool.stall_after = None
        await floor.optimizations.cancel("0", "enough")
        assert (await queued.result()).succeeded_count == 4
