"""Starts and reaps workers: the start method, the fork server, its environment, its thread."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.process import WorkerProcess

# What each worker imports to come to life; without it, that is most of the time of its start.
_PRELOAD = (
    "__main__",
    "concurrent.futures.process",
    "stratsweep_server.execution.carrier",
    "stratsweep_server.execution.worker",
)

# Two workers with two OpenBLAS threads each took 2.9 times as long as with one.
_ONE_THREAD_EACH = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def default_start_method() -> str:
    """`forkserver` where there is one, else `spawn`; never `fork`, which breaks under threads."""
    methods = multiprocessing.get_all_start_methods()
    return "forkserver" if "forkserver" in methods and sys.platform != "darwin" else "spawn"


class Launcher:
    """Starts workers with one engine on a permanent thread, and reaps them on another.

    Args:
        engine: What each worker builds its engine from.
        directory: Where the workers' shared words go.
        limits: What each worker may use.
        start_method: `forkserver` or `spawn`; default: see `default_start_method`.
    """

    def __init__(
        self,
        engine: EngineSpec,
        directory: Path,
        limits: WorkerLimits,
        start_method: str | None = None,
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._limits = limits
        self._context = multiprocessing.get_context(start_method or default_start_method())
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker-launcher")
        self._reaper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker-reaper")
        self._numbers = itertools.count()

    async def start(self) -> WorkerProcess:
        """Start a worker; it says READY or START_FAILED later."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._start, loop)

    async def reap(self, worker: WorkerProcess) -> str:
        """Wait for a dead worker's executor to end; returns how the process ended, in words."""
        return await asyncio.get_running_loop().run_in_executor(self._reaper, worker.reap)

    def close(self) -> None:
        """End the threads. Every worker must have been reaped."""
        self._thread.shutdown(wait=True)
        self._reaper.shutdown(wait=True)

    def _start(self, loop: asyncio.AbstractEventLoop) -> WorkerProcess:
        path = self._directory / f"worker-{next(self._numbers)}"
        with _environment(_ONE_THREAD_EACH):
            # Read by the fork server when it starts; one that runs already keeps its modules.
            self._context.set_forkserver_preload([*_PRELOAD, *self._engine.preload_modules])
            return WorkerProcess.start(self._context, path, self._engine, self._limits, loop)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    # Variables that the user has set win.
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
