"""Blame: one suspect, and everybody else in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.execution.activity import Running
from stratsweep_server.execution.blame import assign_blame
from stratsweep_server.execution.scheduler import Chunk, CombinationQueue, RunMode


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    """A chunk that is not done."""
    indices = draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=30, unique=True))
    queue = CombinationQueue(np.array([], dtype=np.int64))
    done_count = draw(st.integers(0, len(indices) - 1))
    return Chunk(draw(st.integers(1, 5)), queue, np.array(indices), done_count=done_count)


runnings = st.none() | st.builds(
    Running,
    chunk_id=st.integers(1, 5),
    offset=st.none() | st.integers(0, 35) | st.integers(0, 2**64 - 2),
    start_time=st.floats(0, 1e9),
)


@given(chunks(), runnings)
def test_suspect_and_innocent_are_the_rest_of_the_chunk_in_order(chunk, running):
    blame = assign_blame(chunk, running)
    rest = chunk.rest()
    assert blame.suspect in {*rest, None}
    assert list(blame.innocent) == [index for index in rest if index != blame.suspect]


@given(chunks(), st.data())
def test_the_combination_that_the_words_name_is_the_suspect(chunk, data):
    offset = data.draw(st.integers(chunk.done_count, len(chunk.indices) - 1))
    blame = assign_blame(chunk, Running(chunk.chunk_id, offset, 1.0))
    assert blame.suspect == chunk.indices[offset]


@given(chunks())
def test_without_a_name_the_first_one_without_an_outcome_is_the_suspect(chunk):
    blame = assign_blame(chunk, None)
    assert blame.suspect == chunk.rest()[0]


@given(chunks())
def test_when_a_whole_batch_ran_nobody_is_the_suspect_and_everybody_innocent(chunk):
    blame = assign_blame(chunk, Running(chunk.chunk_id, None, 1.0))
    if len(chunk.indices) > 1:
        assert (blame.suspect, list(blame.innocent)) == (None, chunk.rest())
    else:
        assert (blame.suspect, blame.innocent) == (chunk.rest()[0], ())


@given(chunks(), st.sampled_from([RunMode.APART, RunMode.ALONE]))
def test_where_one_runs_after_another_there_is_always_a_suspect(chunk, mode):
    chunk.mode = mode
    assert assign_blame(chunk, Running(chunk.chunk_id, None, 1.0)).suspect == chunk.rest()[0]


@pytest.mark.parametrize(
    "running",
    [
        pytest.param(Running(8, 3, 0.0), id="another chunk's"),
        pytest.param(Running(7, 1, 0.0), id="one whose outcome arrived"),
        pytest.param(Running(7, 5, 0.0), id="beyond the chunk"),
        pytest.param(Running(8, None, 0.0), id="another chunk's batch"),
    ],
)
def test_words_that_cannot_be_true_name_nobody(running):
    queue = CombinationQueue(np.array([], dtype=np.int64))
    blame = assign_blame(Chunk(7, queue, np.array([10, 11, 12, 13, 14]), done_count=2), running)
    assert (blame.suspect, blame.innocent) == (12, (13, 14))
