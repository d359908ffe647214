"""Outcomes stand in few files, whose columns are what has been seen so far."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from stratsweep_server.optimization.store import Run
from stratsweep_server.storage.file_layer import SystemFiles
from stratsweep_server.storage.outcome_files import (
    MOST_ROWS,
    SMALL_BATCH,
    OutcomeFile,
    OutcomeWriter,
    current_files,
    last_number,
)
from stratsweep_server.storage.stored_log import StoredLog

from tests.outcome_batches import Timed, described, kept, succeeded, with_failures

RUN = Run(0, 1_700_000_000_000_000_000, 0.0)


def write(folder: Path, *batches: Timed, run: Run = RUN, at_once: bool = True) -> None:
    writer = OutcomeWriter(SystemFiles(), folder, run)
    for group in [batches] if at_once else [[batch] for batch in batches]:
        writer.append(group)
    writer.sync()
    writer.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "0000000007"


@pytest.mark.parametrize(
    ("present", "current"),
    [
        ([], []),
        (["outcomes-1.arrow"], [(1, 1)]),
        (["outcomes-10.arrow", "outcomes-9.arrow"], [(9, 9), (10, 10)]),
        (["outcomes-1.arrow", "outcomes-2.arrow", "outcomes-1-to-2.arrow"], [(1, 2)]),
        (["outcomes-2.arrow", "outcomes-1-to-2.arrow", "outcomes-3.arrow"], [(1, 2), (3, 3)]),
        (["outcomes-1-to-2.arrow", "outcomes-1-to-4.arrow", "outcomes-3.arrow"], [(1, 4)]),
        (["outcomes-1-to-2.arrow.new", "outcomes-1.arrow", "notes.txt"], [(1, 1)]),
    ],
)
def test_a_file_counts_unless_another_has_its_outcomes(present, current):
    assert current_files(present) == [OutcomeFile(*numbers) for numbers in current]


def test_numbers_go_on_after_the_last_file():
    assert last_number([]) == 0
    assert last_number(["outcomes-1-to-4.arrow", "outcomes-2.arrow"]) == 4


@pytest.mark.parametrize("at_once", [True, False])
def test_outcomes_of_the_same_metrics_share_a_file(folder, at_once):
    batches = [(succeeded([3, 1]), 0.5), (succeeded([2]), 0.75)]
    write(folder, *batches, at_once=at_once)
    assert names(folder) == ["outcomes-1.arrow"]
    log = StoredLog(SystemFiles(), folder, 3)
    assert kept(log) == described(batches)
    assert len(log.batches) == (1 if at_once else 2), "what is written together is one batch"


def test_a_new_metric_begins_a_file_and_fewer_do_not(folder):
    batches = [
        (succeeded([0], ["a", "b"]), 1.0),
        (succeeded([1], ["b"]), 2.0),
        (succeeded([2], ["b", "a"]), 3.0),
        (succeeded([3], ["c", "a"]), 4.0),
        (succeeded([4], ["a", "b"]), 5.0),
    ]
    write(folder, *batches)
    assert names(folder) == ["outcomes-1.arrow", "outcomes-2.arrow"]
    assert kept(StoredLog(SystemFiles(), folder, 5)) == described(batches)
    first, second = (pl.read_ipc_stream(folder / name) for name in names(folder))
    assert first["metrics"].struct.fields == ["a", "b"]
    assert second["metrics"].struct.fields == ["a", "b", "c"]
    assert second["metrics"].to_list() == [
        {"a": 3.125, "b": None, "c": 3.0},
        {"a": 4.0, "b": 4.125, "c": None},
    ]


def test_the_first_failure_begins_a_file_and_later_ones_do_not(folder):
    batches = [
        (succeeded([0]), 1.0),
        (with_failures([1, 2, 3], [1, 3]), 2.0),
        (succeeded([4]), 3.0),
        (with_failures([5], [5]), 4.0),
    ]
    write(folder, *batches)
    assert names(folder) == ["outcomes-1.arrow", "outcomes-2.arrow"]
    log = StoredLog(SystemFiles(), folder, 6)
    assert kept(log) == described(batches)
    assert list(log.failures) == [1, 3, 5]
    table = pl.read_ipc_stream(folder / "outcomes-2.arrow")
    assert table["failure_kind"].to_list() == [2, 0, 1, 0, 3]
    assert table["failure_message"].to_list()[:2] == ["größer als 1", None]


def test_a_failure_without_any_metric_is_kept(folder):
    failed = with_failures([7], [7])
    batches = [(type(failed).of_failure(failed.failures[0]), 1.0), (succeeded([0], []), 2.0)]
    write(folder, *batches)
    assert kept(StoredLog(SystemFiles(), folder, 2)) == described(batches)
    table = pl.read_ipc_stream(folder / "outcomes-1.arrow")
    assert "metrics" not in table.columns


def test_indices_beyond_32_bits_begin_a_file(folder):
    batches = [(succeeded([2**32 - 1]), 1.0), (succeeded([2**32, 5]), 2.0)]
    write(folder, *batches)
    log = StoredLog(SystemFiles(), folder, 3)
    assert log.indices().tolist() == [2**32 - 1, 2**32, 5]
    types = [pl.read_ipc_stream(folder / name)["combination_index"].dtype for name in names(folder)]
    assert types == [pl.UInt32, pl.Int64]


def test_each_run_has_files_of_its_own_and_says_so_in_them(folder):
    second = Run(2, 1_700_000_100_000_000_000, 12.5)
    write(folder, (succeeded([3, 1]), 12.5))
    write(folder, (succeeded([2]), 13.0), run=second)
    assert names(folder) == ["outcomes-1.arrow", "outcomes-2.arrow"]
    assert StoredLog(SystemFiles(), folder, 3).runs == [RUN, second]
    metadata = pa.ipc.open_stream(folder / "outcomes-2.arrow").schema.metadata
    assert metadata[b"stratsweep.format_version"] == b"1"
    assert json.loads(metadata[b"stratsweep.runs"]) == [[2, 1_700_000_100_000_000_000, 12.5]]


def test_nothing_is_made_before_there_are_outcomes(folder):
    write(folder)
    assert not folder.exists()


def test_what_gathers_is_divided_into_batches_of_bounded_size(folder):
    size = MOST_ROWS // 3
    batches = [(succeeded(range(start, start + size)), 1.0) for start in range(0, 4 * size, size)]
    write(folder, *batches)
    log = StoredLog(SystemFiles(), folder, 4 * size)
    assert len(log.batches) == 2
    assert np.array_equal(log.indices(), np.arange(4 * size))


@pytest.mark.parametrize(
    ("counts", "first_row", "is_final"),
    [
        ([3], 0, True),
        ([SMALL_BATCH, SMALL_BATCH], 0, True),
        ([SMALL_BATCH, SMALL_BATCH - 1], 0, False),
        ([SMALL_BATCH, SMALL_BATCH], 7, False),  # what came before may be small
    ],
)
def test_a_run_knows_whether_its_log_is_in_its_final_form(folder, counts, first_row, is_final):
    writer = OutcomeWriter(SystemFiles(), folder, Run(first_row, 0, 0.0))
    for count in counts:
        writer.append([(succeeded(range(count)), 1.0)])
    writer.close()
    assert writer.leaves_large_batches == is_final
