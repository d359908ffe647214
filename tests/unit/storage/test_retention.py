"""What is removed when it is old or too much, and what never is."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationFilter
from stratsweep_server.storage.disk_store import DiskStore, open_store

from tests.records import record

SIZE = 1000
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(path) -> Iterator[DiskStore]:
    opened = open_store(path, "here:1")
    yield opened
    opened.close()


def kept(store: DiskStore, path: Path, names: str, state=OptimizationState.SUCCEEDED) -> None:
    """Keep optimizations of a thousand bytes each."""
    for name in names.split():
        store.create(record(name))
        directory = store._directories.path(store._held["", name])
        directory.mkdir()
        (directory / "outcomes-1.arrow").write_bytes(bytes(SIZE))
        store.move(record(name, state=state))


def age(path: Path, name: str, days: float) -> None:
    with contextlib.closing(sqlite3.connect(path / "catalogue.sqlite")) as connection:
        connection.execute(
            "UPDATE optimizations SET change_time = change_time - ? WHERE optimization_id = ?",
            (int(days * 86_400e9), name),
        )
        connection.commit()


def names(store: DiskStore) -> list[str]:
    return [each.optimization_id for each in store.page("", OptimizationFilter(), 99)[0]]


def directories(path: Path) -> int:
    return len(list((path / "optimizations").iterdir()))


def test_by_default_nothing_young_and_small_is_removed(store, path):
    kept(store, path, "a b")
    age(path, "a", 89)
    assert store.enforce_retention() == 0
    assert names(store) == ["b", "a"]


def test_what_has_not_changed_for_too_long_is_removed_with_its_outcomes(store, path):
    kept(store, path, "a b c")
    age(path, "b", 91)
    assert store.enforce_retention() == 1
    assert names(store) == ["c", "a"]
    assert directories(path) == 2


def test_the_longest_unchanged_go_until_the_rest_fits(store, path):
    kept(store, path, "a b c d")
    age(path, "c", 2)
    age(path, "b", 1)
    assert store.enforce_retention(max_bytes=2 * SIZE) == 2
    assert names(store) == ["d", "a"]
    assert store.enforce_retention(max_bytes=2 * SIZE) == 0


def test_each_removal_is_logged_with_its_reason(store, path, caplog):
    kept(store, path, "a b")
    age(path, "a", 31)
    with caplog.at_level(logging.INFO):
        store.enforce_retention(30 * DAY, max_bytes=0)
    assert caplog.messages == [
        "removed optimization a (0.0 MB): it has not changed for 30 days",
        "removed optimization b (0.0 MB): all outcomes took more than 0 GB",
    ]


def test_what_waits_or_runs_is_never_removed_even_orphaned(store, path):
    store.create(record("queued", state=OptimizationState.QUEUED))
    store.create(record("running"))
    store.close()
    reopened = open_store(path, "here:2")
    reopened.create(record("here"))
    for name in ("queued", "running", "here"):
        age(path, name, 1000)
    assert reopened.enforce_retention(max_bytes=0) == 0
    assert names(reopened) == ["here", "running", "queued"]
    reopened.close()


def test_what_is_interrupted_is_removed_unless_somebody_is_about_to_go_on_with_it(store, path):
    kept(store, path, "a b", state=OptimizationState.INTERRUPTED)
    store.claim("", "a")
    assert store.enforce_retention(max_bytes=0) == 1
    assert names(store) == ["a"]


def test_what_is_being_read_is_removed_when_its_reader_has_gone(store, path):
    kept(store, path, "a")
    log = store.log("", "a")
    assert store.enforce_retention(max_bytes=0) == 0
    assert log.count == 0, "what is there is no log, and that does not matter"
    del log
    assert store.enforce_retention(max_bytes=0) == 1


def test_only_one_process_removes_at_a_time(store, path):
    kept(store, path, "a")
    with store._directories.alone() as is_alone:
        assert is_alone
        assert store.enforce_retention(max_bytes=0) == 0
    assert store.enforce_retention(max_bytes=0) == 1


def test_outcomes_of_a_deletion_that_was_cut_short_are_removed(store, path):
    kept(store, path, "a b")
    store._catalogue.remove(1)
    assert directories(path) == 2
    store.enforce_retention()
    assert directories(path) == 1


def test_a_deleted_optimization_leaves_a_line(store, path):
    kept(store, path, "a")
    store.delete("", "a")
    with contextlib.closing(sqlite3.connect(path / "catalogue.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        (line,) = map(dict, connection.execute("SELECT * FROM deleted"))
    assert line.pop("delete_time") > line["create_time"]
    running = record()
    assert line == {
        "row_number": 1,
        "caller": "",
        "optimization_id": "a",
        "state": "SUCCEEDED",
        "strategy": running.strategy,
        "symbols": '["SPY", "QQQ"]',
        "dates": running.dates,
        "grid_digest": running.grid_digest,
        "completed_count": 0,
        "total_count": running.total_count,
        "create_time": running.create_time,
    }


def test_what_an_optimization_takes_on_disk_is_found_out(store, path):
    kept(store, path, "a")
    assert store.find("", "a").stored_bytes == SIZE
    store.create(replace(record("b"), stored_bytes=5))
    assert store.find("", "b").stored_bytes == 0


def test_where_outcomes_were_moved_to_another_place_their_link_alone_is_removed(
    store, path, tmp_path
):
    kept(store, path, "a b c")
    directory = min((path / "optimizations").iterdir())
    moved = directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(moved)
    age(path, "a", 91)
    age(path, "b", 91)
    assert store.enforce_retention() == 2
    assert names(store) == ["c"]
    assert directories(path) == 1
    assert (moved / "outcomes-1.arrow").exists()
