"""Do what the store needs of a file system: append, sync, rename, map, and nothing else.

All of the log's access to the disk goes through `FileLayer`, so that tests can put one in its place
that forgets at a crash whatever was not synced.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Buffer = bytes | bytearray | memoryview

_LEAST_MAPPED = 1 << 16
"""Bytes: what has fewer is read, since each mapping keeps a file open."""
_MOST_PIECES = 1_024  # of a call of writev, on Linux and macOS


class AppendedFile(Protocol):
    """Take what is appended to a file."""

    def append(self, pieces: Sequence[Buffer]) -> None:
        """Write all of some pieces at the end."""

    def sync(self) -> None:
        """Return once all that was written survives a loss of power."""

    def close(self) -> None:
        """Let go of it; syncs nothing."""


class FileLayer(Protocol):
    """Use the files of a store. Every method raises OSError where the system refuses."""

    def create(self, path: Path) -> AppendedFile:
        """Create an empty file; one of that name must not be there."""

    def map(self, path: Path) -> memoryview:
        """Return what a file has now; it stays readable after the file is removed."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, in any order."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder where there is none."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file in its folder, in place of one that has the new name."""

    def remove(self, path: Path) -> None:
        """Remove a file."""

    def sync(self, path: Path) -> None:
        """Return once what a file has survives a loss of power, whoever wrote it."""

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in a folder survive a loss of power as they are now."""


class SystemFiles:
    """Implement `FileLayer` by the system's files."""

    def create(self, path: Path) -> AppendedFile:
        """Create an empty file."""
        return _SystemFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600))

    def map(self, path: Path) -> memoryview:
        """Return what a file has now."""
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < _LEAST_MAPPED:
                return memoryview(file.read())
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, in any order."""
        return [path.name for path in folder.iterdir()]

    def make_folder(self, folder: Path) -> None:
        """Make a folder where there is none."""
        folder.mkdir(mode=0o700, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file in its folder."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync(self, path: Path) -> None:
        """Return once what a file has survives a loss of power."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _sync(descriptor)
            if hasattr(os, "posix_fadvise"):
                # After a sync that failed, Linux has pages in memory that are not on the disk and
                # takes them for written: read what is there instead.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in a folder survive a loss of power."""
        self.sync(folder)  # folders are opened as files are


def unload(content: memoryview) -> None:
    """Let the system take back the memory of what was mapped; reading loads it again."""
    if isinstance(content.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        content.obj.madvise(mmap.MADV_DONTNEED)


class _SystemFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, pieces: Sequence[Buffer]) -> None:
        for start in range(0, len(pieces), _MOST_PIECES):
            some = pieces[start : start + _MOST_PIECES]
            written = os.writev(self._descriptor, some)
            # Not their length: that of a view of numbers is how many there are.
            if written < sum(memoryview(piece).nbytes for piece in some):
                self._append_rest(memoryview(b"".join(some))[written:])

    def sync(self) -> None:
        _sync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _append_rest(self, rest: memoryview) -> None:
        # A disk that fills up takes a part; the next call says why.
        while len(rest):
            rest = rest[os.write(self._descriptor, rest) :]


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        # There fsync leaves it in the disk's own memory.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)
