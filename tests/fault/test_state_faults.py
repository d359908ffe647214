"""State directories that cannot keep anything, or cease to: a clear error, and no wrong answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationFilter, StoreUnavailableError
from stratsweep_server.storage import catalogue_connection, catalogue_tables, state_directory
from stratsweep_server.storage.disk_store import DiskStore, open_store
from stratsweep_server.storage.state_directory import (
    default_state_directory,
    network_file_system,
)

from tests.fault.mounting import filled, mounted
from tests.records import ended, record

ADDRESS = "here:1"


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(path) -> Iterator[DiskStore]:
    opened = open_store(path, ADDRESS)
    yield opened
    opened.close()


@contextlib.contextmanager
def reopened(path: Path) -> Iterator[DiskStore]:
    store = open_store(path, ADDRESS)
    try:
        yield store
    finally:
        store.close()


def statement(path: Path, text: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path / "catalogue.sqlite")) as connection:
        rows = connection.execute(text).fetchall()
        connection.commit()
        return rows


def test_it_is_made_for_its_owner_alone(path, store):
    assert path.stat().st_mode & 0o777 == 0o700


def test_it_and_the_names_in_it_are_synced_before_it_is_used(path, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(
        "stratsweep_server.storage.file_layer.SystemFiles.sync_folder",
        lambda self, folder: synced.append(folder),
    )
    open_store(path, ADDRESS).close()
    assert synced == [path, path.parent]


def test_the_default_follows_the_users_choice_of_directories(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_directory() == tmp_path / "stratsweep"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert default_state_directory() == tmp_path / ".local/state/stratsweep"


def test_what_is_kept_is_there_when_it_is_opened_again(path):
    with reopened(path) as store:
        kept = ended(store, "first")
    with reopened(path) as store:
        assert store.find("", "first") == kept


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_directory_that_others_may_write_is_refused(path, mode):
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(StoreUnavailableError, match=f"others may write .*{path}.*chmod go-w"):
        open_store(path, ADDRESS)


def test_a_file_in_its_place_is_refused(path):
    path.write_text("")
    with pytest.raises(StoreUnavailableError, match=f"{path} cannot be used: .*--state"):
        open_store(path, ADDRESS)


def test_a_read_only_file_system_is_refused(path):
    with mounted(path, "size=1m,mode=0700"):
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        with pytest.raises(StoreUnavailableError, match=r"Read-only file system; choose another"):
            open_store(path, ADDRESS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_the_right_to_write_is_refused(path):
    path.mkdir(mode=0o500)
    with pytest.raises(StoreUnavailableError, match=r"Permission denied; choose another"):
        open_store(path, ADDRESS)


def test_a_catalogue_that_may_not_be_written_any_more_is_still_read(store):
    store.create(record())
    store._catalogue._writing._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailableError, match="may not be written"):
        store.move(record(state=OptimizationState.SUCCEEDED))
    assert store.find("", "first").state is OptimizationState.RUNNING


def test_a_full_disk_refuses_what_is_new_and_keeps_what_there_is(path):
    with mounted(path, "size=1m,mode=0700"), reopened(path) as store:
        kept = record("kept", request=b"small")
        store.create(kept)
        ballast = filled(path)
        with pytest.raises(StoreUnavailableError, match=r"room|full"):
            store.create(record("new", request=bytes(500_000)))
        assert store.find("", "kept") == replace(kept, holder_address=ADDRESS)
        assert len(store.page("", OptimizationFilter(), 9)[0]) == 1
        ballast.unlink()
        store.create(record("new"))
        store.move(replace(kept, state=OptimizationState.SUCCEEDED))
        with contextlib.closing(sqlite3.connect(path / "catalogue.sqlite")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_directory_that_is_gone_is_noticed_by_every_method(path, store, how):
    store.create(record())
    if how == "removed":
        shutil.rmtree(path)
    else:
        path.rename(path.with_name("elsewhere"))
    if how == "replaced":
        open_store(path, ADDRESS).close()
    calls = [
        lambda: store.create(record("second")),
        lambda: store.find("", "first"),
        lambda: store.page("", OptimizationFilter(), 9),
        lambda: store.move(record(state=OptimizationState.SUCCEEDED)),
        lambda: store.claim("", "first"),
        lambda: store.delete("", "first"),
        lambda: store.matching("", "inputs"),
        store.orphans,
        store.enforce_retention,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailableError, match="is gone; put it back"):
            call()
    if how == "moved":
        path.with_name("elsewhere").rename(path)
        assert store.find("", "first") == record(holder_address=ADDRESS)


def test_a_catalogue_that_another_process_locks_is_still_read(path, monkeypatch):
    monkeypatch.setattr(catalogue_connection, "BUSY_SECONDS", 0.05)
    with reopened(path) as store:
        store.create(record())
        with contextlib.closing(sqlite3.connect(path / "catalogue.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match="is locked by another process"):
                store.create(record("second"))
            assert store.find("", "first").state is OptimizationState.RUNNING
            other.rollback()
        store.create(record("second"))


def test_a_damaged_catalogue_is_refused_and_left_as_it_is(path):
    with reopened(path) as store:
        store.create(record())
    damaged = b"this is no database" * 1000
    (path / "catalogue.sqlite").write_bytes(damaged)
    with pytest.raises(StoreUnavailableError, match=f"is damaged; move .* away.*{path}"):
        open_store(path, ADDRESS)
    assert (path / "catalogue.sqlite").read_bytes() == damaged


def test_a_catalogue_that_is_damaged_while_it_is_used_gives_an_error(path, store):
    for number in range(50):
        store.create(record(f"o{number}", request=bytes(3000)))
    statement(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    size = (path / "catalogue.sqlite").stat().st_size
    with (path / "catalogue.sqlite").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    with reopened_connection(store), pytest.raises(StoreUnavailableError, match="is damaged"):
        store.page("", OptimizationFilter(), 99)


@contextlib.contextmanager
def reopened_connection(store: DiskStore) -> Iterator[None]:
    """Let SQLite forget the pages that it has read."""
    store._catalogue._reading._connection.execute("PRAGMA shrink_memory")
    yield


def test_optimizations_of_a_new_catalogue_never_take_the_place_of_older_ones(path):
    with reopened(path) as store:
        ended(store, "first")
    for number in (1, 7):
        (path / "optimizations" / f"{number:010}").mkdir()
    for file in path.glob("catalogue.sqlite*"):
        file.unlink()
    with reopened(path) as store:
        assert store._catalogue.add(record(), store._holder_id) == 8
        store.enforce_retention()
    assert len(list((path / "optimizations").iterdir())) == 2


def test_a_newer_format_is_refused_and_left_as_it_is(path):
    open_store(path, ADDRESS).close()
    newer = catalogue_tables.FORMAT_VERSION + 1
    statement(path, f"PRAGMA user_version = {newer}")
    with pytest.raises(StoreUnavailableError, match=rf"format {newer}.* update stratsweep"):
        open_store(path, ADDRESS)
    assert statement(path, "PRAGMA user_version") == [(newer,)]


def test_an_older_format_is_brought_into_the_current_one_with_all_that_is_kept(path, monkeypatch):
    with reopened(path) as store:
        kept = ended(store, "first")
    more = ("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('there')",)
    monkeypatch.setattr(catalogue_tables, "MIGRATIONS", catalogue_tables.MIGRATIONS + more)
    for module in ("catalogue", "catalogue_tables"):
        name = f"stratsweep_server.storage.{module}.FORMAT_VERSION"
        monkeypatch.setattr(name, len(catalogue_tables.MIGRATIONS))
    with reopened(path) as store:
        assert store.find("", "first") == kept
    assert statement(path, "SELECT * FROM notes") == [("there",)]


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    open_store(path, ADDRESS).close()
    more = ("CREATE TABLE notes (text TEXT); NONSENSE",)
    monkeypatch.setattr(catalogue_tables, "MIGRATIONS", catalogue_tables.MIGRATIONS + more)
    monkeypatch.setattr("stratsweep_server.storage.catalogue.FORMAT_VERSION", 2)
    with pytest.raises(StoreUnavailableError):
        open_store(path, ADDRESS)
    assert statement(path, "PRAGMA user_version") == [(1,)]
    assert statement(path, "SELECT * FROM sqlite_master WHERE name = 'notes'") == []


def test_a_store_that_was_closed_says_so(path):
    store = open_store(path, ADDRESS)
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.find("", "first")


MOUNTS = r"""
22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:40 / /home rw,relatime shared:1 - nfs4 server:/home rw
24 23 0:41 / /home/local rw - ext4 /dev/vdb rw
25 22 0:42 / /mnt/two\040words rw - fuse.sshfs there: rw
26 22 0:43 / /data rw - ext4 /dev/vdc rw
27 22 0:44 / /data rw - cifs //server/data rw
""".strip()


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib", None),
        ("/home", "nfs4"),
        ("/home/somebody/.local/state", "nfs4"),
        ("/home/local/state", None),
        ("/homes", None),
        ("/mnt/two words/state", "fuse.sshfs"),
        ("/data/state", "cifs"),
    ],
)
def test_a_network_file_system_is_known_by_what_is_mounted_there(tmp_path, directory, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_file_system(Path(directory), mounts) == kind


def test_where_nothing_says_what_is_mounted_no_network_is_noticed(tmp_path):
    assert network_file_system(Path("/"), tmp_path / "none") is None


def test_a_network_file_system_is_refused(path, monkeypatch):
    monkeypatch.setattr(state_directory, "network_file_system", lambda path: "nfs4")
    with pytest.raises(StoreUnavailableError, match=r"network file system \(nfs4\).*--state"):
        open_store(path, ADDRESS)
