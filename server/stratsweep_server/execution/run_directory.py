"""A directory for what lives as long as the server: shared bars, activity words.

It is locked while its owner lives. What an owner that was killed left behind is swept by the next
one that starts: a directory whose lock can be taken has no owner. The lock is on the directory
itself, which also keeps systemd-tmpfiles from ageing what is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

_PREFIX = "stratsweep-run-"


class RunDirectory:
    """A private directory, removed on exit; sweeps the ones that dead owners left.

    Args:
        parent: Where to make it; default: the system's directory for temporary files. Choose one
            with room for the bars of the running optimizations.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        sweep(parent)
        self.path, self._lock = _make_locked(parent)

    def close(self) -> None:
        """Remove the directory and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def sweep(parent: Path) -> None:
    """Remove the run directories in `parent` whose owner is gone."""
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            lock = _lock(path)
        except OSError:
            continue  # its owner lives or has just removed it, or it is another user's
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _make_locked(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Until it is locked, a sweeper takes it for a dead owner's and removes it.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            return path, _lock(path)


def _lock(path: Path) -> int:
    """Lock a directory: a descriptor to close.

    Raises:
        BlockingIOError: Another process has the lock.
        FileNotFoundError: The directory is gone.
        OSError: It may not be opened, or is none.
    """
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.stat()  # whoever had the lock before may have removed it
    except OSError:
        os.close(lock)
        raise
    return lock
