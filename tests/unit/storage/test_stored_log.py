"""A log is read from its files as it was written, up to what is not whole, never garbage."""

from __future__ import annotations

import gc
import random
import weakref
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.arrow.schema import ColumnType
from stratsweep_server.optimization.store import LogView, Run, StoreUnavailableError
from stratsweep_server.storage import outcome_batches
from stratsweep_server.storage.file_layer import SystemFiles
from stratsweep_server.storage.outcome_files import OutcomeWriter
from stratsweep_server.storage.stored_log import StoredLog

from tests.outcome_batches import Timed, described, kept, succeeded, with_failures

BATCHES: list[Timed] = [
    (succeeded([4, 2, 11]), 0.5),
    (succeeded([0, 10], missing="trades"), 0.75),
    (succeeded([9, 8], ["sharpe", "calmar"]), 1.0),
    (with_failures([3, 5, 1], [5, 1]), 1.5),
    (succeeded([7]), 2.0),
]
EXPECTED = described(BATCHES)


def write(folder: Path, batches: list[Timed] = BATCHES) -> Path:
    writer = OutcomeWriter(SystemFiles(), folder, Run(0, 0, 0.0))
    for batch in batches:
        writer.append([batch])
    writer.close()
    return folder


def read(folder: Path) -> StoredLog:
    return StoredLog(SystemFiles(), folder, total_count=12)


@pytest.fixture
def folder(tmp_path) -> Path:
    return write(tmp_path / "log")


def test_it_is_a_view_of_a_log(folder):
    log: LogView = read(folder)
    assert kept(log) == EXPECTED
    assert (log.total_count, log.count) == (12, len(EXPECTED))


def test_a_log_without_a_folder_is_empty(tmp_path):
    log = read(tmp_path / "none")
    assert kept(log) == []
    assert (log.count, log.metric_names(), log.runs, dict(log.failures)) == (0, (), [], {})


@pytest.mark.parametrize("start", range(len(EXPECTED) + 1))
def test_a_range_of_outcomes_is_that_of_the_whole(folder, start):
    log = read(folder)
    for stop in (start, *range(start, len(EXPECTED) + 1), None):
        rows = slice(start, stop)
        for part, whole in [
            (log.indices(start, stop), log.indices()[rows]),
            (log.durations(start, stop), log.durations()[rows]),
            (log.is_failure(start, stop), log.is_failure()[rows]),
            (log.metric("calmar", start, stop), log.metric("calmar")[rows]),
            (log.metric("unknown", start, stop), log.metric("unknown")[rows]),
        ]:
            np.testing.assert_array_equal(part, whole)
            assert part.dtype == whole.dtype


def test_metrics_are_named_that_some_outcome_has_a_value_of(folder):
    log = read(folder)
    assert log.metric_names() == ("calmar", "sharpe", "trades")
    assert log.metric_names(slice(0, 3)) == ("sharpe", "trades")
    assert log.metric_names(slice(3, 5)) == ("sharpe",)
    assert log.metric_names(slice(3, 3)) == ()
    assert log.metric_names(np.array([6, 0, 3])) == ("calmar", "sharpe", "trades")
    assert log.metric_names(np.array([4, 3])) == ("sharpe",)
    assert log.metric_names(np.array([], dtype=np.intp)) == ()


def test_failures_are_found_by_their_combination(folder):
    failures = read(folder).failures
    expected = {row[0]: row[4] for row in EXPECTED if row[4] is not None}
    assert dict(failures) == expected
    assert list(failures) == [5, 1], "in order of completion"
    assert 3 not in failures
    assert failures.get(99) is None


def test_nothing_keeps_files_mapped_that_nobody_reads_any_more(folder):
    log = read(folder)
    assert len(log.failures) == 2
    is_there = weakref.ref(log)
    gc.disable()  # it may come after many such logs
    try:
        del log
        assert is_there() is None
    finally:
        gc.enable()


def test_columns_of_a_batch_are_views_of_the_mapped_file(folder):
    metric = read(folder).metric("sharpe", 0, 3)
    assert not metric.flags.owndata
    assert not metric.flags.writeable


def test_what_was_opened_stays_readable_when_the_files_are_removed(folder):
    log = read(folder)
    for path in folder.iterdir():
        path.unlink()
    assert kept(log) == EXPECTED


def test_a_newer_format_is_refused(folder, monkeypatch):
    monkeypatch.setattr(outcome_batches, "FORMAT_VERSION", 0)
    with pytest.raises(StoreUnavailableError, match="format 1, and this version"):
        read(folder)


def test_columns_of_a_newer_version_are_refused(folder, monkeypatch):
    monkeypatch.delitem(ColumnType._member_map_, "INT8")
    with pytest.raises(StoreUnavailableError, match="cannot read: the column 'failure_kind' has"):
        read(folder)


def test_a_folder_that_cannot_be_read_is_said_to_be(tmp_path):
    (tmp_path / "log").write_text("no folder")
    with pytest.raises(StoreUnavailableError, match="cannot be read: Not a directory"):
        read(tmp_path / "log")


TORN: list[Timed] = [(with_failures([3, 5, 1], [5, 1]), 1.5), (succeeded([7, 6]), 2.0)]
TORN_EXPECTED = described(TORN)


@pytest.fixture
def torn(tmp_path) -> Path:
    """A file with two messages of outcomes, to be damaged."""
    return write(tmp_path / "torn", TORN) / "outcomes-1.arrow"


@pytest.fixture
def start(tmp_path) -> int:
    """Where its last message begins."""
    return (write(tmp_path / "before", TORN[:1]) / "outcomes-1.arrow").stat().st_size


def count_with(torn: Path, content: bytes) -> int:
    """How many outcomes there are with this content; checks each of them."""
    torn.write_bytes(content)
    found = kept(read(torn.parent))
    assert found == TORN_EXPECTED[: len(found)], "garbage"
    return len(found)


def test_a_log_cut_at_any_byte_of_its_last_message_has_all_before_it(torn, start):
    whole = torn.read_bytes()
    assert count_with(torn, whole) == 5
    for cut in range(start, len(whole)):
        content = whole[:cut] + bytes(cut % 2 * 5_000)
        assert count_with(torn, content) == (5 if content.startswith(whole) else 3)


def test_a_log_cut_anywhere_has_what_was_whole_before(torn, start):
    whole = torn.read_bytes()
    chance = random.Random(0)
    for _ in range(200):
        cut = chance.randrange(len(whole))
        content = whole[:cut] + bytes(chance.choice([0, 0, 7, len(whole) - cut]))
        assert count_with(torn, content) in ((3, 5) if cut >= start else (0, 3))


def test_a_log_with_a_wrong_bit_has_what_was_whole_before(torn, start):
    whole = torn.read_bytes()
    chance = random.Random(1)
    for _ in range(200):
        content = bytearray(whole)
        place = chance.randrange(len(whole))
        content[place] ^= 1 << chance.randrange(8)
        assert count_with(torn, bytes(content)) == (3 if place >= start else 0)
