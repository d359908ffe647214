"""The run directory: gone when its owner ends, swept when its owner was killed, never before."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from stratsweep_server.execution import run_directory as run_directory_module
from stratsweep_server.execution.run_directory import RunDirectory, sweep

OWNER = """
import pathlib, sys
from stratsweep_server.execution.run_directory import RunDirectory
directory = RunDirectory(pathlib.Path(sys.argv[1]))
(directory.path / "bars.npy").write_bytes(b"prices")
print(directory.path, flush=True)
sys.stdin.read()
"""


@contextmanager
def owner_process(parent: Path):
    """Another process that owns a run directory, and that directory."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_it_is_private_and_gone_with_everything_in_it_when_closed(tmp_path):
    with RunDirectory(tmp_path) as directory:
        (directory.path / "bars-1").mkdir()
        (directory.path / "bars-1" / "SPY.npy").write_bytes(b"prices")
        assert directory.path.parent == tmp_path
        assert directory.path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_without_a_parent_it_is_in_the_temporary_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with RunDirectory() as directory:
        assert directory.path.parent == tmp_path


def test_what_a_killed_owner_left_is_swept_at_the_next_start(tmp_path):
    with owner_process(tmp_path) as (process, left):
        process.kill()
        process.wait()
        assert (left / "bars.npy").exists()
        with RunDirectory(tmp_path) as directory:
            assert list(tmp_path.iterdir()) == [directory.path]


def test_what_a_living_owner_has_is_not_swept(tmp_path):
    with owner_process(tmp_path) as (_, theirs):
        with RunDirectory(tmp_path) as ours:
            assert (theirs / "bars.npy").read_bytes() == b"prices"
            assert ours.path.is_dir()
        assert (theirs / "bars.npy").exists()


def test_our_own_are_not_swept_either(tmp_path):
    with RunDirectory(tmp_path) as first, RunDirectory(tmp_path) as second:
        sweep(tmp_path)
        assert first.path.is_dir()
        assert second.path.is_dir()


def test_other_directories_and_files_are_left_alone(tmp_path):
    (tmp_path / "prices").mkdir()
    (tmp_path / "stratsweep-run-notes.txt").write_text("mine")
    with RunDirectory(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"prices", "stratsweep-run-notes.txt"}


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "home"
    target.mkdir()
    (target / "thesis.txt").write_text("precious")
    link = tmp_path / "stratsweep-run-link"
    link.symlink_to(target)
    sweep(tmp_path)
    assert (target / "thesis.txt").exists()
    assert link.is_symlink()


def test_another_users_unreadable_directory_is_ignored(tmp_path, monkeypatch):
    foreign = tmp_path / "stratsweep-run-foreign"
    foreign.mkdir()
    real_open = os.open

    def refuse(path, *arguments, **options):
        # As root, which these tests may run as, permissions refuse nothing.
        if Path(path) == foreign:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with RunDirectory(tmp_path) as directory:
        assert directory.path.is_dir()
    assert foreign.is_dir()


def test_one_that_was_swept_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    made = []

    def swept_at_once(**options):
        path = Path(tempfile_mkdtemp(**options))
        made.append(path)
        if len(made) == 1:
            sweep(tmp_path)
            assert not path.exists()
        return str(path)

    tempfile_mkdtemp = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", swept_at_once)
    with RunDirectory(tmp_path) as directory:
        assert directory.path == made[1]
        sweep(tmp_path)
        assert directory.path.is_dir()


@pytest.mark.parametrize("is_gone_before", [True, False], ids=["just swept", "being swept"])
def test_one_that_is_swept_between_opening_and_locking_is_made_again(
    tmp_path, monkeypatch, is_gone_before
):
    sweepers: list[int] = []
    real_flock = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if not sweepers:  # a sweeper comes first
            path = next(tmp_path.glob("stratsweep-run-*"))
            sweepers.append(os.open(path, os.O_RDONLY))
            real_flock(sweepers[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
            if is_gone_before:
                os.close(sweepers[0])
        real_flock(descriptor, operation)

    monkeypatch.setattr(run_directory_module.fcntl, "flock", flock)
    with RunDirectory(tmp_path) as directory:
        assert list(tmp_path.iterdir()) == [directory.path]
    if not is_gone_before:
        os.close(sweepers[0])


def test_one_that_was_removed_is_made_again_and_locked(tmp_path):
    with RunDirectory(tmp_path) as directory:
        assert directory.ensure() == directory.path
        shutil.rmtree(directory.path)
        again = directory.ensure()
        assert again == directory.path == directory.ensure()
        assert again.stat().st_mode & 0o077 == 0
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [again]
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_put_in_its_place_is_left_alone(tmp_path):
    with RunDirectory(tmp_path) as directory:
        shutil.rmtree(directory.path)
        directory.path.mkdir()
        (directory.path / "thesis.txt").write_text("precious")
    assert (directory.path / "thesis.txt").exists()


@pytest.mark.parametrize("replacement", [None, "a file"])
def test_where_it_cannot_be_made_again_the_error_tells_when_it_can(tmp_path, replacement):
    parent = tmp_path / "scratch"
    parent.mkdir()
    with RunDirectory(parent) as directory:
        shutil.rmtree(parent)
        if replacement is not None:
            parent.write_text(replacement)
        with pytest.raises(OSError, match="directory") as caught:
            directory.ensure()
        error = directory.unavailable(caught.value)
        with pytest.raises(OSError, match="directory"):
            error.probe()
        if replacement is not None:
            parent.unlink()
        parent.mkdir()
        error.probe()
        assert directory.ensure().parent == parent
        assert str(tmp_path) not in str(error)


def test_a_file_system_that_cannot_lock_is_an_error_and_no_endless_loop(tmp_path, monkeypatch):
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_directory_module.fcntl, "flock", unsupported)
    with pytest.raises(OSError, match="No locks available"):
        RunDirectory(tmp_path)


def test_closing_and_sweeping_leave_no_descriptor_open(tmp_path):
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        (tmp_path / "stratsweep-run-dead").mkdir()
        with RunDirectory(tmp_path) as directory:
            sweep(tmp_path)
            assert list(tmp_path.iterdir()) == [directory.path]
    assert len(list(Path("/dev/fd").iterdir())) == before
