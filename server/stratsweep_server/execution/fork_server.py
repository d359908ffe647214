"""The process that workers are forked from: what it imports is there when they start.

The server program starts it before it imports anything heavy itself, so that both get ready side
by side. That is why this module imports next to nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from tempfile import gettempdir

# What each worker imports to come to life; without it, that is most of the time of its start.
_PRELOAD = (
    "__main__",
    "concurrent.futures.process",
    "stratsweep_server.execution.carrier",
    "stratsweep_server.execution.worker",
)
DEFAULT_ENGINE_PRELOAD = "stratsweep_server.backtest.default.preload"
"""The one engine that may be imported once for all workers: ours, since it starts no thread."""

# Two workers with two OpenBLAS threads each took 2.9 times as long as with one.
_ONE_THREAD_EACH = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def default_start_method() -> str:
    """`forkserver` where there is one, else `spawn`; never `fork`, which breaks under threads."""
    methods = multiprocessing.get_all_start_methods()
    return "forkserver" if "forkserver" in methods and sys.platform != "darwin" else "spawn"


def start_fork_server(*, is_default_engine: bool) -> None:
    """Start this process's fork server, and do not wait for it; one that runs already is kept.

    Raises:
        OSError: It cannot be started.
    """
    modules = [*_PRELOAD, DEFAULT_ENGINE_PRELOAD] if is_default_engine else [*_PRELOAD]
    with one_thread_each():
        multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
        try:
            forkserver.ensure_running()
        except OSError as error:
            # Mostly, the name of its socket is too long: 107 characters are possible.
            place = f"its socket goes to the directory for temporary files ({gettempdir()}, TMPDIR)"
            raise OSError(f"the fork server cannot be started: {error}; {place}") from error


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have processes that are started meanwhile use one thread for each numeric library.

    Variables that the user has set win.
    """
    added = {name: value for name, value in _ONE_THREAD_EACH.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
