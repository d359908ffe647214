"""A directory for what lives as long as the server: shared bars, activity words.

Its lock file is held while the owner lives. What an owner that was killed left behind is swept by
the next one that starts: a directory whose lock can be taken has no owner.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

_PREFIX = "stratsweep-run-"
_LOCK = "lock"


class RunDirectory:
    """A private directory, removed on exit; sweeps the ones that dead owners left.

    Args:
        parent: Where to make it; default: the system's directory for temporary files. Choose one
            with room for the bars of the running optimizations.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

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
    for lock_path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            lock = os.open(lock_path, os.O_RDWR)
        except OSError:
            continue  # another user's, or just removed by its owner
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_path.parent, ignore_errors=True)
        except BlockingIOError:
            pass  # its owner lives
        finally:
            os.close(lock)
