"""What streams and rankings read of a log is alike in memory and on the disk, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.optimization.followed_log import ClosedLog, FollowedLog
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.store import Run
from stratsweep_server.storage.file_layer import SystemFiles
from stratsweep_server.storage.outcome_files import OutcomeWriter
from stratsweep_server.storage.rewriting import conclude_log
from stratsweep_server.storage.stored_log import StoredLog

from tests.outcome_batches import Timed, succeeded, with_failures

RUNS = [Run(0, 1_700_000_000_123_456_789, 0.0), Run(5, 1_700_000_900_000_000_001, 0.75)]
FIRST: list[Timed] = [
    (succeeded([4, 2, 11]), 0.5),
    (succeeded([0, 10], missing="trades"), 0.75),
]
SECOND: list[Timed] = [
    (succeeded([9, 8], ["sharpe", "calmar"]), 1.1),
    (with_failures([3, 5, 1], [5, 1]), 1.7),
    (succeeded([7]), 2.3),
]
COUNT = 11


def in_memory(folder: Path) -> FollowedLog:
    log = OutcomeLog(COUNT)
    log.runs = list(RUNS)
    for batch, elapsed in FIRST + SECOND:
        log.append(batch, elapsed)
    log.close()
    return log


def on_disk(folder: Path) -> FollowedLog:
    for run, batches in zip(RUNS, (FIRST, SECOND), strict=True):
        writer = OutcomeWriter(SystemFiles(), folder, run)
        for batch in batches:
            writer.append([batch])
        writer.close()
    return ClosedLog(StoredLog(SystemFiles(), folder, COUNT))


def written_anew(folder: Path) -> FollowedLog:
    on_disk(folder)
    conclude_log(SystemFiles(), folder)
    return ClosedLog(StoredLog(SystemFiles(), folder, COUNT))


@pytest.fixture
def expected(tmp_path) -> FollowedLog:
    return in_memory(tmp_path)


@pytest.fixture(params=[on_disk, written_anew])
def log(request, tmp_path) -> FollowedLog:
    return request.param(tmp_path / "log")


ROWS = [
    slice(0, 11),
    slice(0, 0),
    slice(2, 3),
    slice(4, 9),
    slice(11, 11),
    np.array([10, 0, 5, 5, 2, 9]),
    np.array([], dtype=np.intp),
]


def test_what_is_counted_is_the_same(log, expected):
    assert (log.total_count, log.count, log.is_closed) == (COUNT, COUNT, True)
    assert log.metric_count == expected.metric_count
    assert log.runs == expected.runs
    assert list(log.failures.items()) == list(expected.failures.items())


def test_times_are_the_same_bit_for_bit(log, expected):
    for row in range(COUNT):
        assert log.elapsed(row) == expected.elapsed(row)
        assert log.event_time(row) == expected.event_time(row)


READS: dict[str, Callable[[FollowedLog, int, int | None], np.ndarray]] = {
    "indices": lambda log, start, stop: log.indices(start, stop),
    "is_failure": lambda log, start, stop: log.is_failure(start, stop),
    "metric": lambda log, start, stop: log.metric("sharpe", start, stop),
    "unknown metric": lambda log, start, stop: log.metric("unknown", start, stop),
}


@pytest.mark.parametrize("column", READS)
def test_columns_of_a_range_are_the_same(log, expected, column):
    read = READS[column]
    for start, stop in [(0, None), (3, 8), (4, 4), (10, 11)]:
        part, whole = read(log, start, stop), read(expected, start, stop)
        np.testing.assert_array_equal(part, whole)
        assert part.dtype == whole.dtype


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("names", [None, ("calmar",), ()])
def test_outcomes_by_row_number_are_the_same(log, expected, rows, names):
    part, whole = log.columns(rows, names), expected.columns(rows, names)
    assert list(part.metrics) == list(whole.metrics)
    for ours, theirs in zip(
        (part.indices, part.durations, *part.metrics.values()),
        (whole.indices, whole.durations, *whole.metrics.values()),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("rows", ROWS[:5] + ROWS[5:6], ids=str)
def test_metrics_that_have_values_are_the_same(log, expected, rows):
    assert log.metric_names() == expected.metric_names()
    if len(expected.columns(rows).indices):
        assert log.metric_names(rows) == expected.metric_names(rows)


def test_outcomes_as_objects_are_the_same(log, expected):
    assert log.rows([10, 0, 9, 9, 4]) == expected.rows([10, 0, 9, 9, 4])
    assert log.rows([]) == expected.rows([]) == []


async def test_nobody_waits_for_what_has_ended(log, expected):
    for position in (0, COUNT - 1, COUNT, COUNT + 5):
        assert await log.wait_beyond(position)
        assert await expected.wait_beyond(position)
