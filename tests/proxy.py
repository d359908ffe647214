"""A TCP proxy in the test's own process that cuts, resets and stalls connections."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

_BUFFER_BYTES = 65_536
_LOOK_SECONDS = 0.005
_STALL_SECONDS = 0.02
_NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends RST instead of FIN."""
_Pair: TypeAlias = tuple[socket.socket, socket.socket]


class Proxy:
    """Passes bytes between clients and a server until it is told to do harm.

    Args:
        target: The server, as `host:port`.
        budget: After how many bytes from the server each connection stalls for a moment, and then
            is cut and reset in turns. None is never.
        harms: How many connections are harmed so; all others are left alone.

    Attributes:
        address: Where clients connect, as `host:port`.
        connection_count: How many connections there have been.
        harm_count: How many of them have used up their budget.
    """

    def __init__(self, target: str, budget: int | None = None, harms: int = 0) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._budget = budget
        self._harm_limit = harms
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connection_count = 0
        self.harm_count = 0
        self._harms = itertools.cycle([_cut, _reset])
        self._wanted: dict[_Pair, Callable[[_Pair], None] | None] = {}
        self._is_stalled = False
        self._refuses = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, as a server does that ends."""
        self._harm_all(_cut)

    def reset(self) -> None:
        """Reset every connection, as a firewall does that has forgotten it."""
        self._harm_all(_reset)

    def refuse(self) -> None:
        """Close every connection, and each new one at once."""
        self._refuses = True
        self.cut()

    def admit(self) -> None:
        """Let connections in again."""
        self._refuses = False

    def stall(self) -> None:
        """Pass no byte on, and keep every connection open."""
        self._is_stalled = True

    def flow(self) -> None:
        """Pass bytes on again."""
        self._is_stalled = False

    def close(self) -> None:
        """End the proxy."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
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
            self._wanted[client, server] = None
            threading.Thread(target=self._serve, args=((client, server),), daemon=True).start()

    def _serve(self, pair: _Pair) -> None:
        """Pass bytes of one connection; only this thread touches it, so that a close is one."""
        harm = _cut
        with contextlib.suppress(OSError):
            harm = self._passed(pair)
        del self._wanted[pair]
        harm(pair)

    def _passed(self, pair: _Pair) -> Callable[[_Pair], None]:
        """Pass bytes until an end closes, or harm is wanted; return the harm."""
        client, server = pair
        left = self._budget if self.harm_count < self._harm_limit else None
        while (wanted := self._wanted[pair]) is None:
            if self._is_stalled:
                time.sleep(_LOOK_SECONDS)
                continue
            for source in select.select(pair, (), (), _LOOK_SECONDS)[0]:
                is_answer = source is server and left is not None
                data = source.recv(left if is_answer else _BUFFER_BYTES)
                if not data:
                    return _cut
                (client if source is server else server).sendall(data)
                if is_answer:
                    left -= len(data)
            if left == 0:
                time.sleep(_STALL_SECONDS)
                self.harm_count += 1
                return next(self._harms)
        return wanted

    def _harm_all(self, harm: Callable[[_Pair], None]) -> None:
        for pair in list(self._wanted):
            self._wanted[pair] = harm


def _cut(pair: _Pair) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _reset(pair: _Pair) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        end.close()
