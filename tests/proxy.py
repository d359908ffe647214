"""A TCP proxy in the test's own process that cuts, resets and stalls connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_BUFFER_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends RST instead of FIN."""


class Proxy:
    """Passes bytes between clients and a server until it is told to do harm.

    Args:
        target: The server, as `host:port`.

    Attributes:
        address: Where clients connect, as `host:port`.
        connection_count: How many connections there have been.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connection_count = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, as a server does that ends."""
        for pair in self._taken_pairs():
            for end in pair:
                _close(end)

    def reset(self) -> None:
        """Reset every connection, as a firewall does that has forgotten it."""
        for pair in self._taken_pairs():
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                _close(end)

    def refuse(self) -> None:
        """Close every connection, and each new one at once."""
        self._refuses = True
        self.cut()

    def admit(self) -> None:
        """Let connections in again."""
        self._refuses = False

    def stall(self) -> None:
        """Pass no byte on, and keep every connection open."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass bytes on again."""
        self._flows.set()

    def close(self) -> None:
        """End the proxy."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flow()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            self.connection_count += 1
            if self._refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:  # nobody is there now
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BUFFER_BYTES):
                self._flows.wait()
                sink.sendall(data)
        for end in (source, sink):
            _close(end)

    def _taken_pairs(self) -> list[tuple[socket.socket, socket.socket]]:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        return pairs


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it
    end.close()
