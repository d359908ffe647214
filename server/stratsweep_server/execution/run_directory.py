"""Own a directory for what lives as long as the server: shared bars, the fork server's socket.

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
import threading
from pathlib import Path
from types import TracebackType

from stratsweep_server.market_data.storage import StorageUnavailableError

_PREFIX = "stratsweep-run-"
_PROBE_BYTES = 4_096


class RunDirectory:
    """Make a private directory, removed on exit, and sweep the ones that dead owners left.

    Args:
        parent: Where to make it; default: the system's directory for temporary files. Choose one
            with room for the bars of the running optimizations.
        prefix: Of its name, and of those that are swept: nobody else may use it.

    Attributes:
        path: Where it is.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, parent: Path | None = None, prefix: str = _PREFIX) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        self._ensuring = threading.Lock()
        self._prefix = prefix
        sweep(self._parent, prefix)
        self.path, self._lock = _make_locked(self._parent, prefix)

    def ensure(self) -> Path:
        """Make another directory if somebody has removed it; safe to use from several threads.

        Returns:
            Where it is.

        Raises:
            OSError: It cannot be made.
        """
        with self._ensuring:
            if not _is_lock_of(self._lock, self.path):
                lost = self._lock
                # Under a new name: where everybody may write, somebody may have taken the old one.
                self.path, self._lock = _make_locked(self._parent, self._prefix)
                os.close(lost)
            return self.path

    def unavailable(self, error: OSError) -> StorageUnavailableError:
        """Return the error to raise when nothing can be written there."""
        return StorageUnavailableError("scratch directory", self._parent, error, self._probe)

    def close(self) -> None:
        """Remove the directory and everything in it."""
        if _is_lock_of(self._lock, self.path):
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

    def _probe(self) -> None:
        with tempfile.TemporaryFile(dir=self.ensure(), buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))


def sweep(parent: Path, prefix: str = _PREFIX) -> None:
    """Remove the run directories in `parent` whose owner is gone."""
    for path in parent.glob(f"{prefix}*"):
        try:
            lock = _lock(path)
        except OSError:
            continue  # its owner lives or has just removed it, or it is another user's
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Until it is locked, a sweeper takes it for a dead owner's and removes it.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            return path, _lock(path)


def _is_lock_of(lock: int, path: Path) -> bool:
    """Return whether what is locked is still what has that path."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except OSError:
        return False


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
