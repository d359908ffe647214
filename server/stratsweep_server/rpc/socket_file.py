"""Take a Unix socket's file when nobody serves there; remove it while it is still one's own.

gRPC alone takes any socket's place when it binds, and removes whatever socket is there when it
ends. So it binds to a name of its own, and what it has bound is moved to where clients look.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK_SECONDS = 5.0
_LOCK_POLL_SECONDS = 0.01


class SocketFile:
    """Own the file where clients find a Unix socket.

    Servers that start or end at a time take turns, by a lock on the directory: it needs no file,
    and the kernel frees it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._identity: tuple[int, int] | None = None

    def take(self, bind: Callable[[Path], object]) -> None:
        """Put a socket there; replace one that nobody serves any more.

        Args:
            bind: Binds the socket, in the same directory, and listens.

        Raises:
            OSError: Somebody serves there, something else than a socket is there, or it is no place
                for one.
        """
        with _locked(self._path.parent):
            _require_free(self._path)
            temporary = self._path.with_name(f".{secrets.token_hex(4)}")
            bind(temporary)
            status = temporary.stat()
            temporary.rename(self._path)
            self._identity = status.st_dev, status.st_ino

    def remove(self) -> None:
        """Remove the file, unless another server's has taken its place.

        To be called while it is still served: the number of a file that is gone may be given to the
        next one, and then nothing tells the two apart.

        Raises:
            OSError: It cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError), _locked(self._path.parent):
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._path.unlink()


def _require_free(path: Path) -> None:
    if _is_served(path):
        raise OSError("another server is using it; stop that one, or choose another path")
    if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        raise OSError("what is there is no socket; choose another path")


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # more wait to be accepted than there is room for
            return True
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process keeps {directory} locked")
            time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
