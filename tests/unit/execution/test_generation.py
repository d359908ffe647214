"""Whose code a slot serves, and what makes a worker one of a generation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.backtest import EngineDescription, Strategy
from stratsweep_server.backtest.sources import CopyPlace, ModuleSource
from stratsweep_server.execution.generation import (
    Generation,
    Generations,
    choose_generation,
    log_changes,
)
from stratsweep_server.execution.messages import Loaded

PLACE = CopyPlace(-1, Path("copies"), "1")
DESCRIPTION = EngineDescription((Strategy("idea"),))


def source(module: str, digest: str = "a" * 64) -> ModuleSource:
    return ModuleSource(module, f"/desk/{module}.py", digest, 10**18)


def loaded(*sources: ModuleSource, **inputs: str) -> Loaded:
    return Loaded(DESCRIPTION, sources, inputs)


def settled(slots: list[int], weights: dict[int, float], current: int) -> list[int]:
    """The slots' generations after each has been asked, again and again."""
    for _ in range(len(slots) + 1):
        for place, own in enumerate(slots):
            others = [*slots[:place], *slots[place + 1 :]]
            slots[place] = choose_generation(own, others, weights, current)
    return slots


@pytest.mark.parametrize(
    ("slots", "weights", "expected"),
    [
        ([1, 1, 1, 1], {}, [2, 2, 2, 2]),
        ([1, 1, 1, 1], {1: 1.0}, [1, 1, 1, 1]),
        ([2, 2, 2, 2], {1: 1.0}, [1, 1, 1, 1]),
        ([1, 1, 1, 1], {1: 1.0, 2: 1.0}, [1, 1, 2, 2]),
        ([1, 1, 1, 1], {1: 3.0, 2: 1.0}, [1, 1, 1, 2]),
        ([1, 1, 1, 1], {1: 1.0, 2: 100.0}, [1, 2, 2, 2]),
        ([1], {1: 1.0, 2: 1.0}, [1]),
        ([2], {1: 1.0, 2: 1.0}, [1]),
        ([1], {2: 1.0}, [2]),
    ],
    ids=str,
)
def test_generations_with_work_share_the_slots_by_weight_the_older_first(slots, weights, expected):
    assert sorted(settled(slots, weights, current=2)) == expected


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=9),
    st.dictionaries(st.integers(1, 4), st.floats(0.1, 10), max_size=4),
)
def test_slots_come_to_rest_and_no_generation_waits_while_another_has_two(slots, weights):
    rest = settled(slots, weights, current=4)
    assert settled([*rest], weights, current=4) == rest
    counts = [rest.count(number) for number in weights]
    assert sum(counts) == (len(slots) if weights else 0)
    assert all(counts) or max(counts) == 1


def test_the_first_worker_says_what_a_generation_is_and_the_others_must_have_the_same():
    generation = Generation(1, PLACE)
    assert generation.admit(loaded(source("idea")), generation.copies) == ""
    assert generation.description == DESCRIPTION
    assert generation.sources == (source("idea"),)
    assert generation.admit(loaded(source("idea")), PLACE) == ""
    rare = [source("idea"), source("rare")]
    assert generation.admit(loaded(*rare), PLACE) == "", "imported by one alone"
    obstacle = generation.admit(loaded(source("idea", "b" * 64)), PLACE)
    assert obstacle.startswith(
        "/desk/idea.py has changed since it was loaded, and there is no copy"
    )
    assert "SIGHUP or a restart" in obstacle


def test_inputs_are_those_of_the_first_worker_and_what_was_known_before():
    generation = Generation(1, PLACE, inputs={"engine": "mine"})
    generation.admit(loaded(numpy="2.2.1", engine="a worker's lie"), PLACE)
    generation.admit(loaded(numpy="2.3.0"), PLACE)
    assert generation.inputs == {"engine": "mine", "numpy": "2.2.1"}


def test_files_are_read_anew_after_a_failure_until_a_worker_has_loaded_them():
    generation = Generation(1, PLACE)
    generation.start_over()
    second = generation.copies
    generation.start_over()
    assert len({PLACE, second, generation.copies}) == 3
    # The one that was started before the second failure is the first that is ready.
    generation.admit(loaded(source("idea")), second)
    generation.start_over()
    assert generation.copies == second


@pytest.fixture
def generations(tmp_path) -> Iterator[Generations]:
    made = Generations(tmp_path)
    yield made
    made.close()


def test_generations_are_kept_while_they_are_current_or_used(generations, tmp_path):
    first, second = generations.current, generations.new(tmp_path)
    assert first.copies != second.copies
    assert not generations.retire(used=[])
    generations.adopt(second)
    assert not generations.is_single
    assert not generations.retire(used=[first.number])
    assert generations.choose(first.number, [], {first.number: 1.0}) is first
    assert generations.retire(used=[])
    assert generations.is_single
    assert generations.choose(first.number, [], {}) is second


def test_a_directory_of_copies_that_was_removed_is_made_again_for_the_next_generation(
    generations, tmp_path
):
    first = generations.current.copies
    first.path.rmdir()
    first.path.mkdir()  # by somebody else
    second = generations.new(tmp_path).copies
    assert second.path != first.path
    assert second.path.is_dir()
    assert generations.new(tmp_path).copies.path == second.path


def test_the_log_says_what_was_loaded_with_path_digest_and_time(caplog):
    caplog.set_level(logging.INFO)
    assert log_changes([], [source("idea")])
    assert caplog.messages == [
        "loaded idea from /desk/idea.py (sha256 aaaaaaaaaaaa, modified 2001-09-09 01:46:40 UTC)"
    ]
    caplog.clear()
    before = [source("idea"), source("same"), source("old")]
    assert log_changes(before, [source("idea", "b" * 64), source("same"), source("new")])
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        "changed: idea from /desk/idea.py",
        "loaded new from /desk/new.py",
        "not imported any more: old",
    ]
    caplog.clear()
    assert not log_changes(before, before)
    assert log_changes([], [source(f"idea_{number:03}") for number in range(100)])
    assert len(caplog.messages) == 21
    assert caplog.messages[-1] == "and 80 more modules"
