"""Name, keep and remove the directories in which outcome logs are: one for each optimization.

Whoever reads one keeps it locked, so that retention passes it over.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from stratsweep_server.optimization.store import StoreUnavailableError


class OptimizationDirectories:
    """Own the directories of all optimizations of a store.

    Args:
        parent: Where they are; made where it is missing.

    Raises:
        StoreUnavailableError: It cannot be made. All methods raise it where the disk fails.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        with explained():
            parent.mkdir(mode=0o700, exist_ok=True)

    def path(self, row_number: int) -> Path:
        """Return where the outcome log of an optimization is."""
        return self._parent / f"{row_number:010}"

    def numbers(self) -> list[int]:
        """Return the row numbers that there are directories for."""
        with explained():
            names = [path.name for path in self._parent.iterdir()]
        return [int(name) for name in names if name.isascii() and name.isdigit()]

    def size(self, row_number: int) -> int:
        """Return how many bytes an outcome log takes; 0 where there is none."""
        with explained(), suppress(FileNotFoundError), os.scandir(self.path(row_number)) as files:
            return sum(file.stat().st_size for file in files)
        return 0

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other processes from doing likewise meanwhile, and give whether none does."""
        lock = self._lock(self._parent, fcntl.LOCK_EX)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)

    def keep(self, row_number: int) -> int | None:
        """Keep retention from removing a directory.

        Returns:
            A descriptor to close when it may be removed again; None where there is none, or it is
            being removed.
        """
        return self._lock(self.path(row_number), fcntl.LOCK_SH)

    @contextmanager
    def unread(self, row_number: int) -> Iterator[bool]:
        """Keep others from beginning to read a directory, and give whether nobody reads it."""
        path = self.path(row_number)
        lock = self._lock(path, fcntl.LOCK_EX)
        try:
            yield lock is not None or not path.exists()
        finally:
            if lock is not None:
                os.close(lock)

    def remove(self, row_number: int) -> None:
        """Remove a directory, if it is there; what others have opened in it stays readable.

        Of a link to another place only the link is removed.
        """
        path = self.path(row_number)
        with explained(), suppress(FileNotFoundError):
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)

    @staticmethod
    def _lock(path: Path, operation: int) -> int | None:
        with explained(), suppress(BlockingIOError, FileNotFoundError), ExitStack() as stack:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, lock)
            fcntl.flock(lock, operation | fcntl.LOCK_NB)
            path.stat()  # whoever had the lock before may have removed it
            stack.pop_all()
            return lock
        return None


@contextmanager
def explained() -> Iterator[None]:
    """Raise what the disk says as an error of the store.

    Raises:
        StoreUnavailableError: The disk failed, or something is gone.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreUnavailableError(
            f"the server's state directory cannot be used: {reason}; see that it is there, that it"
            " may be written, and that its disk has room"
        ) from error
