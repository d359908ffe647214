"""Start and reap workers, each on a thread of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from stratsweep_server.backtest.sources import CopyPlace
from stratsweep_server.execution.descendants import end_descendants
from stratsweep_server.execution.fork_server import (
    default_start_method,
    fork_server_has_forked,
    fork_server_ids,
    one_thread_each,
    start_fork_server,
    stop_loading_fork_server,
)
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.packed_engine import PackedEngine
from stratsweep_server.execution.process import WorkerProcess


class Launcher:
    """Start workers with one engine on a permanent thread, and reap them on another.

    Args:
        engine: What each worker builds its engine from.
        limits: What each worker may use.
        start_method: `forkserver` or `spawn`; default: see `default_start_method`.
    """

    def __init__(
        self,
        engine: PackedEngine,
        limits: WorkerLimits,
        start_method: str | None = None,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._context = multiprocessing.get_context(start_method or default_start_method())
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker-launcher")
        self._reaper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker-reaper")
        self._is_closing = False

    async def start(self, copies: CopyPlace) -> WorkerProcess:
        """Start a worker process; it sends READY or START_FAILED later.

        Args:
            copies: Where it keeps and finds the sources of the user's modules.

        Raises:
            Exception: It cannot be started, or `stop_starting` was called; EOFError mostly, then.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._start, copies, loop)

    async def reap(self, worker: WorkerProcess) -> str:
        """Wait for a dead worker's executor to end; return in words how the process ended.

        The processes that the worker left behind are killed, too.
        """
        loop = asyncio.get_running_loop()
        words = await loop.run_in_executor(self._reaper, worker.reap)
        self._reaper.submit(end_descendants, worker.pid, fork_server_ids())
        return words

    def stop_starting(self) -> None:
        """Wait no longer for a fork server that still imports or compiles."""
        self._is_closing = True
        stop_loading_fork_server()

    def close(self) -> None:
        """End both threads. Every worker must have been reaped."""
        self._thread.shutdown(wait=True)
        self._reaper.shutdown(wait=True)

    def _start(self, copies: CopyPlace, loop: asyncio.AbstractEventLoop) -> WorkerProcess:
        if self._is_closing:
            raise RuntimeError("no more workers are started")
        setup = (self._engine.data, copies, self._limits)
        if self._context.get_start_method() == "forkserver":
            # Before each start: multiprocessing would replace a fork server that has died without
            # our settings. Workers inherit its environment.
            start_fork_server(is_default_engine=self._engine.is_default)
            worker = WorkerProcess.start(self._context, *setup, loop)
            fork_server_has_forked()
            return worker
        with one_thread_each():
            return WorkerProcess.start(self._context, *setup, loop)
