"""Outcomes of all optimizations share syncs, and are reported once they are kept, never before."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stratsweep_server.optimization.store import OutcomeJournal, Run, StoreUnavailableError
from stratsweep_server.storage.file_layer import AppendedFile, SystemFiles
from stratsweep_server.storage.journals import ENOUGH_ROWS, DiskJournal, OutcomeJournals
from stratsweep_server.storage.stored_log import StoredLog

from tests.outcome_batches import described, kept, succeeded
from tests.waiting import until

RUN = Run(0, 0, 0.0)


class WatchedFile:
    """A file whose writes and syncs are counted, and can be held back or made to fail."""

    def __init__(self, file: AppendedFile, disk: WatchedDisk, name: str) -> None:
        self._file, self._disk, self._name = file, disk, name

    def append(self, pieces) -> None:
        self._disk.note("append", self._name)
        self._file.append(pieces)

    def sync(self) -> None:
        self._disk.note("sync", self._name)
        self._disk.may_sync.wait()
        self._file.sync()

    def close(self) -> None:
        self._disk.note("close", self._name)
        self._file.close()


class WatchedDisk(SystemFiles):
    """The system's files, watched; a log's operations are noted under the name of its folder."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        self.errors: dict[tuple[str, str], Exception] = {}
        self.may_sync = threading.Event()
        self.may_sync.set()

    def note(self, what: str, name: str) -> None:
        self.notes.append((what, name))
        if error := self.errors.get((what, name)):
            raise error

    def create(self, path: Path) -> AppendedFile:
        return WatchedFile(super().create(path), self, path.parent.name)

    def count(self, what: str, name: str) -> int:
        return self.notes.count((what, name))

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Within the block no sync ends."""
        self.may_sync.clear()
        try:
            yield
        finally:
            self.may_sync.set()


class Log:
    """An optimization whose outcomes are kept, and what it is told."""

    def __init__(self, journals: OutcomeJournals, folder: Path, run: Run = RUN) -> None:
        self.folder = folder
        self.reports: list[int] = []
        self.failures: list[StoreUnavailableError] = []
        self.threads: set[int] = set()
        self.journal: DiskJournal = journals.begin(folder, run, self._on_durable, self._on_failure)

    def append(self, start: int, count: int = 1) -> None:
        self.journal.append(succeeded(range(start, start + count)), 1.0)

    def read(self) -> StoredLog:
        return StoredLog(SystemFiles(), self.folder, 0)

    def _on_durable(self, row_count: int) -> None:
        self.threads.add(threading.get_ident())
        self.reports.append(row_count)

    def _on_failure(self, failure: StoreUnavailableError) -> None:
        self.threads.add(threading.get_ident())
        self.failures.append(failure)


def open_file_count() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


@pytest.fixture
def journals(disk) -> Iterator[OutcomeJournals]:
    journals = OutcomeJournals(disk)
    yield journals
    disk.may_sync.set()
    journals.close()


@pytest.fixture
def begin(journals, tmp_path) -> Callable[..., Log]:
    return lambda name="a", run=RUN: Log(journals, tmp_path / name, run)


async def test_outcomes_are_reported_when_they_are_synced_and_not_before(begin, disk):
    log = begin()
    with disk.slow():
        log.append(0, 3)
        await until(lambda: disk.count("sync", "a") == 1, "a sync began")
        await asyncio.sleep(0)
        assert log.reports == []
    await until(lambda: log.reports == [3], "outcomes are reported")
    assert kept(log.read()) == described([(succeeded(range(3)), 1.0)])


async def test_it_is_a_journal_and_tells_on_the_event_loop(begin, disk):
    log, failing = begin("a"), begin("b")
    journal: OutcomeJournal = log.journal
    disk.errors["sync", "b"] = OSError(errno.EIO, "Input/output error")
    journal.append(succeeded([0]), 1.0)
    failing.append(0)
    await journal.flush()
    await until(lambda: bool(failing.failures), "a failure is reported")
    assert log.threads == failing.threads == {threading.get_ident()}


async def test_what_comes_during_a_sync_shares_the_next_one(begin, disk):
    log, other = begin("a"), begin("b")
    with disk.slow():
        log.append(0)
        await until(lambda: disk.count("sync", "a") == 1, "a sync began")
        for index in range(1, 50):
            log.append(index)
            other.append(index)
    await log.journal.flush()
    await other.journal.flush()
    assert (disk.count("sync", "a"), disk.count("sync", "b")) == (2, 1)
    assert log.reports == [1, 50]
    assert log.read().indices().tolist() == list(range(50))
    assert len(log.read().batches) == 2


async def test_many_outcomes_are_written_without_being_waited_for(begin):
    log = begin()
    log.append(0, ENOUGH_ROWS)
    log.append(ENOUGH_ROWS, ENOUGH_ROWS)
    await until(lambda: log.reports[-1:] == [2 * ENOUGH_ROWS], "outcomes are reported")


async def test_rows_of_an_earlier_run_count(begin):
    log = begin(run=Run(100, 0, 5.0))
    log.append(0, 2)
    await log.journal.flush()
    assert log.reports == [102]


async def test_a_flush_returns_when_all_is_kept_and_at_once_when_there_is_nothing(begin, disk):
    log = begin()
    with disk.slow():
        await log.journal.flush()
        log.append(0)
        log.journal.append(succeeded([]), 1.0)
        flushes = [asyncio.create_task(log.journal.flush()) for _ in range(3)]
        await until(lambda: disk.count("sync", "a") == 1, "a sync began")
        assert not any(flush.done() for flush in flushes)
        flushes[0].cancel()
    await asyncio.wait(flushes)
    assert [flush.cancelled() for flush in flushes] == [True, False, False]
    assert log.reports == [1]


@pytest.mark.parametrize("what", ["append", "sync"])
async def test_a_failure_ends_exactly_the_log_whose_file_it_is_and_nothing_is_tried_again(
    begin, disk, what
):
    log, other = begin("a"), begin("b")
    log.append(0)
    await log.journal.flush()
    disk.errors[what, "a"] = OSError(errno.ENOSPC, "No space left on device")
    before = disk.count(what, "a")
    log.append(1)
    other.append(1)
    with pytest.raises(StoreUnavailableError, match="cannot be kept: No space left on device"):
        await log.journal.flush()
    del disk.errors[what, "a"]
    log.append(2)
    other.append(2)
    with pytest.raises(StoreUnavailableError):
        await log.journal.flush()
    await other.journal.flush()
    assert (log.reports, len(log.failures)) == ([1], 1)
    assert other.read().indices().tolist() == [1, 2]
    assert disk.count(what, "a") == before + 1
    assert log.read().indices().tolist()[:1] == [0]


async def test_whatever_goes_wrong_ends_one_log_and_not_the_thread(begin, disk, caplog):
    log, other = begin("a"), begin("b")
    disk.errors["append", "a"] = RuntimeError("a mistake")
    log.append(0)
    other.append(0)
    with pytest.raises(StoreUnavailableError, match="cannot be kept: RuntimeError"):
        await log.journal.flush()
    await other.journal.flush()
    assert other.reports == [1]
    assert "a mistake" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_folder_that_cannot_be_made_is_a_failure(begin, tmp_path):
    (tmp_path / "file").write_text("")
    log = begin("file/a")
    log.append(0)
    with pytest.raises(StoreUnavailableError, match="cannot be kept: Not a directory"):
        await log.journal.flush()


async def test_a_journal_that_is_closed_writes_what_waits_and_lets_go_of_its_file(begin, disk):
    log, unused = begin("a"), begin("b")
    log.append(0)
    log.journal.close()
    unused.journal.close()
    await until(lambda: disk.count("close", "a") == 1, "the file is closed")
    assert log.read().indices().tolist() == [0]


async def test_closing_writes_what_waits_and_lets_go_of_all_files(disk, tmp_path):
    before = open_file_count()
    journals = OutcomeJournals(disk)
    logs = [Log(journals, tmp_path / name) for name in "abc"]
    for log in logs:
        log.append(0, 2)
    journals.close()
    await asyncio.sleep(0)
    assert [log.reports for log in logs] == [[2]] * 3
    assert open_file_count() == before
    assert [disk.count("close", name) for name in "abc"] == [1, 1, 1]


async def test_after_the_end_nothing_is_kept_and_a_flush_says_so(disk, tmp_path):
    journals = OutcomeJournals(disk)
    log = Log(journals, tmp_path / "a")
    journals.close()
    log.append(0)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await log.journal.flush()


def test_a_loop_that_has_ended_is_told_nothing(disk, tmp_path):
    journals = OutcomeJournals(disk)

    async def append() -> Log:
        log = Log(journals, tmp_path / "a")
        log.append(0)
        return log

    with disk.slow():
        log = asyncio.run(append())
    journals.close()
    assert log.reports == []
    assert log.read().count == 1
