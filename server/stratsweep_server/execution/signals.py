"""Hold back SIGTERM, Ctrl-C and SIGHUP while nobody can look after them.

A handler that raises would not do: where one runs inside a destructor or a weak reference's
callback, such as importlib has for each module, Python prints the exception and goes on.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def hold_signals() -> None:
    """Hold the signals back: in this thread, and in threads and processes that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def release_signals() -> None:
    """Let the signals through, those that came meanwhile first."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold the signals back within the block; afterwards it is as it was before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
