"""At its end a log is written anew where its batches are small, and nothing else changes."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.store import Run, StoreUnavailableError
from stratsweep_server.storage.file_layer import SystemFiles
from stratsweep_server.storage.outcome_files import MOST_ROWS, SMALL_BATCH, OutcomeWriter
from stratsweep_server.storage.rewriting import conclude_log, settle_log
from stratsweep_server.storage.stored_log import StoredLog

from tests.outcome_batches import Timed, kept, succeeded, with_failures

FILES = SystemFiles()
SIXTEEN = tuple(f"metric_{number}" for number in range(16))


def write(folder: Path, batches: list[Timed], run: Run) -> None:
    writer = OutcomeWriter(FILES, folder, run)
    for batch in batches:
        writer.append([batch])
    writer.close()


def read(folder: Path) -> StoredLog:
    return StoredLog(FILES, folder, 0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path) -> Path:
    """A log of two runs, in three files with five batches."""
    folder = tmp_path / "log"
    first = [(succeeded([4, 2]), 0.5), (succeeded([0], ["calmar"]), 0.75)]
    second = [
        (with_failures([3, 5, 1], [5, 1]), 1.5),
        (succeeded([7], missing="trades"), 2.0),
        (succeeded([2**33]), 2.5),
    ]
    write(folder, first, Run(0, 1_000, 0.0))
    write(folder, second, Run(3, 2_000, 0.75))
    return folder


def test_one_file_takes_the_place_of_many(folder):
    before = read(folder)
    expected = kept(before)
    assert len(before.batches) == 5
    conclude_log(FILES, folder)
    after = read(folder)
    assert kept(after) == expected
    assert after.runs == before.runs == [Run(0, 1_000, 0.0), Run(3, 2_000, 0.75)]
    assert len(after.batches) == 1
    assert names(folder) == ["outcomes-1-to-4.arrow"]


def test_what_was_written_anew_is_a_whole_stream(folder):
    conclude_log(FILES, folder)
    with pa.ipc.open_stream(folder / "outcomes-1-to-4.arrow") as stream:
        assert stream.read_all().num_rows == 8


def test_who_reads_the_old_files_is_not_disturbed(folder):
    reader = read(folder)
    conclude_log(FILES, folder)
    assert kept(reader) == kept(read(folder))


def test_numbers_are_the_same_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    table = np.asfortranarray(random.normal(size=(300, 16)))
    table[random.random(size=table.shape) < 0.1] = np.nan
    table[0, :4] = [np.inf, -np.inf, -0.0, 5e-324]
    batch = OutcomeBatch(random.permutation(300), random.random(300), SIXTEEN, table)
    parts = [
        (OutcomeBatch(batch.indices[a : a + 7], batch.durations[a : a + 7], SIXTEEN, part), 1.0)
        for a in range(0, 300, 7)
        for part in [np.asfortranarray(table[a : a + 7])]
    ]
    write(tmp_path / "log", parts, Run(0, 0, 0.0))
    conclude_log(FILES, tmp_path / "log")
    log = read(tmp_path / "log")
    for position, name in enumerate(SIXTEEN):
        assert log.metric(name).tobytes() == np.ascontiguousarray(table[:, position]).tobytes()
    assert log.durations().tobytes() == batch.durations.tobytes()
    assert len(log.batches) == 1


@pytest.mark.parametrize("failed", [(), (1,)])
def test_an_outcome_of_sixteen_metrics_takes_160_bytes_at_most_even_among_failures(
    tmp_path, failed
):
    row_count = 5_000
    batch = succeeded(range(row_count), SIXTEEN)
    batch.metrics[::9] = np.nan
    failures = with_failures([1], failed).failures
    parts = [
        (
            OutcomeBatch(
                batch.indices[start : start + 100],
                batch.durations[start : start + 100],
                SIXTEEN,
                batch.metrics[start : start + 100],
                failures if start == 0 else (),
            ),
            1.0,
        )
        for start in range(0, row_count, 100)
    ]
    write(tmp_path / "log", parts, Run(0, 0, 0.0))
    conclude_log(FILES, tmp_path / "log")
    assert read(tmp_path / "log").stored_bytes <= 160 * row_count + 4_096


def test_batches_that_are_large_enough_stay_as_they_are(tmp_path):
    folder = tmp_path / "log"
    batches = [(succeeded(range(start, start + SMALL_BATCH)), 1.0) for start in (0, SMALL_BATCH)]
    write(folder, batches, Run(0, 0, 0.0))
    before = (folder / "outcomes-1.arrow").stat()
    conclude_log(FILES, folder)
    after = (folder / "outcomes-1.arrow").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_single_file_of_small_batches_is_replaced(tmp_path):
    folder = tmp_path / "log"
    write(folder, [(succeeded([index]), 1.0) for index in range(9)], Run(0, 0, 0.0))
    expected = kept(read(folder))
    conclude_log(FILES, folder)
    assert names(folder) == ["outcomes-1.arrow"]
    assert kept(read(folder)) == expected
    assert len(read(folder).batches) == 1


def test_many_outcomes_are_divided_into_batches_of_bounded_size(tmp_path):
    folder = tmp_path / "log"
    count = MOST_ROWS + 500
    step = SMALL_BATCH - 1
    batches = [
        (succeeded(range(start, min(start + step, count)), ["a"]), 1.0)
        for start in range(0, count, step)
    ]
    write(folder, batches, Run(0, 0, 0.0))
    conclude_log(FILES, folder)
    log = read(folder)
    assert len(log.batches) == 2
    assert np.array_equal(log.indices(), np.arange(count))


def test_rubbish_of_a_process_that_was_killed_is_removed(folder):
    expected = kept(read(folder))
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "outcomes-1-to-4.arrow.new").write_bytes(b"a part")
    conclude_log(FILES, folder)
    for name, content in old.items():
        (folder / name).write_bytes(content)
    conclude_log(FILES, folder)
    assert names(folder) == ["outcomes-1-to-4.arrow"]
    assert kept(read(folder)) == expected


class FullFiles(SystemFiles):
    """A disk on which nothing more fits."""

    def create(self, path):
        file = super().create(path)

        def append(pieces):
            raise OSError(errno.ENOSPC, "No space left on device")

        file.append = append
        return file


def test_on_a_full_disk_the_log_stays_as_it_is(folder, caplog):
    before, expected = names(folder), kept(read(folder))
    conclude_log(FullFiles(), folder)
    assert names(folder) == before
    assert kept(read(folder)) == expected
    assert "are not written anew: [Errno 28] No space left on device" in caplog.text


def test_a_log_without_outcomes_is_concluded_and_settled(tmp_path):
    conclude_log(FILES, tmp_path / "none")
    settle_log(FILES, tmp_path / "none")
    assert names(tmp_path) == []


def test_a_log_that_cannot_be_synced_is_said_to_be(tmp_path):
    (tmp_path / "log").write_text("no folder")
    with pytest.raises(StoreUnavailableError, match="cannot be synced: Not a directory"):
        settle_log(FILES, tmp_path / "log")
