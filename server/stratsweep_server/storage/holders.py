"""Know which processes hold optimizations: each keeps a file locked for as long as it lives.

The kernel frees the lock when the process dies, however it dies. The descriptor is closed in
programs that it starts, so that no worker keeps the lock of a server that is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Holder:
    """Keep a file of one's own locked until it is closed or the process ends.

    Args:
        directory: Where the files of all holders are.

    Attributes:
        holder_id: Its name, which no other holder ever has.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        while True:
            self.holder_id = secrets.token_hex(16)
            self._path = _path(directory, self.holder_id)
            self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Until it is locked, a sweeper takes it for a dead one's and removes it.
            if os.fstat(self._lock).st_nlink:
                return
            os.close(self._lock)

    def close(self) -> None:
        """Let go of the lock, and remove the file."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._lock)


def is_alive(directory: Path, holder_id: str) -> bool:
    """Return whether a holder's process lives; one that does not never will again.

    Raises:
        OSError: That cannot be found out.
    """
    with _free(_path(directory, holder_id)) as is_free:
        return not is_free


def sweep(directory: Path) -> None:
    """Remove the files that dead holders have left."""
    for path in directory.glob("*.lock"):
        with contextlib.suppress(OSError), _free(path) as is_free:
            if is_free:
                path.unlink()


@contextmanager
def _free(path: Path) -> Iterator[bool]:
    """Hold a file's lock as far as nobody else does, and give whether nobody else does."""
    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        is_free = True
    except BlockingIOError:
        is_free = False
    try:
        yield is_free
    finally:
        os.close(lock)


def _path(directory: Path, holder_id: str) -> Path:
    return directory / f"{holder_id}.lock"
