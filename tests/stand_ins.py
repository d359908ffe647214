"""What stands where a server will be."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def dropped_connections(path: Path) -> Iterator[list[object]]:
    """A Unix socket that drops every connection; what it gives grows by one for each."""
    dropped: list[object] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def drop_all() -> None:
            with contextlib.suppress(OSError):  # it was shut down
                while True:
                    connection, _ = listener.accept()
                    connection.close()
                    dropped.append(connection)

        thread = threading.Thread(target=drop_all)
        thread.start()
        try:
            yield dropped
        finally:
            path.unlink()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
