"""What the store needs of files is alike in the system's, and in those that tests crash."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from stratsweep_server.storage.file_layer import FileLayer, SystemFiles, unload

from tests.forgetful_files import EVERYTHING, NOTHING, ForgetfulFiles


@pytest.fixture(params=["system", "forgetful"])
def files(request, tmp_path, monkeypatch) -> FileLayer:
    monkeypatch.chdir(tmp_path)
    return SystemFiles() if request.param == "system" else ForgetfulFiles()


FOLDER = Path("log")
FILE = FOLDER / "a"


def written(files: FileLayer, path: Path = FILE, content: bytes = b"abc") -> None:
    files.make_folder(path.parent)
    file = files.create(path)
    file.append([content])
    file.close()


def test_what_was_appended_is_read(files):
    files.make_folder(FOLDER)
    file = files.create(FILE)
    file.append([b"ab", memoryview(b"cd"), bytearray(b"e")])
    file.append([b"f"])
    file.sync()
    assert bytes(files.map(FILE)) == b"abcdef"
    file.close()


def test_more_pieces_than_a_call_takes_are_appended(files):
    files.make_folder(FOLDER)
    file = files.create(FILE)
    file.append([bytes([number % 256]) for number in range(5_000)])
    file.close()
    assert bytes(files.map(FILE)) == bytes(number % 256 for number in range(5_000))


def test_an_empty_file_is_read(files):
    written(files, content=b"")
    assert len(files.map(FILE)) == 0


def test_a_file_that_is_there_is_not_created(files):
    written(files)
    with pytest.raises(FileExistsError):
        files.create(FILE)
    assert bytes(files.map(FILE)) == b"abc"


def test_a_folder_may_be_there_already(files):
    written(files)
    files.make_folder(FOLDER)
    assert files.names(FOLDER) == ["a"]


def test_a_renamed_file_takes_the_place_of_another(files):
    written(files, FOLDER / "old", b"old")
    written(files, FOLDER / "new", b"new")
    files.rename(FOLDER / "new", FOLDER / "old")
    files.sync_folder(FOLDER)
    assert files.names(FOLDER) == ["old"]
    assert bytes(files.map(FOLDER / "old")) == b"new"


@pytest.mark.parametrize("content", [b"abc", bytes(range(256)) * 1_000], ids=["small", "large"])
def test_what_is_mapped_stays_when_the_file_is_removed(files, content):
    written(files, content=content)
    mapped = files.map(FILE)
    unload(mapped)
    files.remove(FILE)
    assert bytes(mapped) == content
    assert files.names(FOLDER) == []


def test_what_somebody_else_wrote_can_be_synced(files):
    written(files)
    files.sync(FILE)
    assert bytes(files.map(FILE)) == b"abc"


@pytest.mark.parametrize("method", ["map", "names", "remove", "sync", "sync_folder", "create"])
def test_what_is_not_there_is_said_to_be_missing(files, method):
    with pytest.raises(FileNotFoundError):
        getattr(files, method)(FILE)


def test_a_system_that_takes_a_part_is_given_the_rest(tmp_path, monkeypatch):
    write, write_some = os.write, os.writev
    monkeypatch.setattr(os, "writev", lambda file, some: write_some(file, [some[0][:1]]))
    monkeypatch.setattr(os, "write", lambda file, rest: write(file, rest[:3]))
    file = SystemFiles().create(tmp_path / "a")
    file.append([b"abc", b"defgh", b"i"])
    file.close()
    assert (tmp_path / "a").read_bytes() == b"abcdefghi"


def test_small_files_are_not_kept_open(tmp_path):
    files = SystemFiles()
    written(files, tmp_path / "small")
    written(files, tmp_path / "large", bytes(1 << 20))
    before = len(list(Path("/dev/fd").iterdir()))
    small = [files.map(tmp_path / "small") for _ in range(5)]
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert not isinstance(small[0].obj, mmap.mmap)
    assert isinstance(files.map(tmp_path / "large").obj, mmap.mmap)


def test_others_may_not_look_into_files_or_folders(tmp_path):
    files = SystemFiles()
    written(files, tmp_path / "log" / "a")
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
    assert (tmp_path / "log" / "a").stat().st_mode & 0o077 == 0


def test_a_crash_takes_what_was_not_synced():
    files = ForgetfulFiles()
    files.make_folder(FOLDER)
    files.sync_folder(Path())
    file = files.create(FILE)
    file.append([b"abc"])
    file.sync()
    file.append([b"d"])
    assert files.crash(NOTHING).names(FOLDER) == [], "its name was not synced"
    files.sync_folder(FOLDER)
    assert bytes(files.crash(NOTHING).map(FILE)) == b"abc"
    assert bytes(files.crash(EVERYTHING).map(FILE)) == b"abcd"
    files.rename(FILE, FOLDER / "b")
    assert files.crash(NOTHING).names(FOLDER) == ["a"]
    files.sync_folder(FOLDER)
    files.remove(FOLDER / "b")
    assert files.crash(NOTHING).names(FOLDER) == ["b"]
    assert files.crash(EVERYTHING).names(FOLDER) == []
