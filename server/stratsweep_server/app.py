"""Run a server from start to end: wire, serve until asked to stop, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.config import ServerConfig
from stratsweep_server.execution.machine_memory import memory_bytes, return_large_arrays
from stratsweep_server.execution.no_pool import NoPool
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.execution.signals import release_signals
from stratsweep_server.keeping import as_storage_error, clean_up, open_configured_store
from stratsweep_server.market_data.bars import digest_of
from stratsweep_server.market_data.data_directory import DataDirectory
from stratsweep_server.optimization import GridSearchOptimizer
from stratsweep_server.optimization.carrying_on import OrphanCare
from stratsweep_server.optimization.fingerprint import fingerprint_of
from stratsweep_server.optimization.memory import MEGABYTE, MemoryBudget
from stratsweep_server.optimization.optimizations import Optimizations
from stratsweep_server.optimization.places import Places
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.preparer import Preparer
from stratsweep_server.optimization.storage_watch import StorageWatch
from stratsweep_server.optimization.store import Store, StoreUnavailableError
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.rpc.kept_messages import KeptMessages
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.rpc.server import RpcServer
from stratsweep_server.rpc.service import OptimizationService
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

_COLUMN_BYTES = 2 * 1024 * 1024
"""Of an outcome log; messages are smaller."""


class Server:
    """Wire a whole server and serve while its async context is open.

    Attributes:
        address: Where it listens, with the real port; set when entered.
        pool: Its workers.
        memory: What running optimizations hold.

    Raises:
        OSError: On entering, when the address cannot be bound.
        StoreUnavailableError: On entering, when optimizations cannot be kept as they are to be.
    """

    address: str

    def __init__(self, config: ServerConfig) -> None:
        self.memory = _memory_budget(config)
        self._config = config
        self.pool = NoPool() if config.is_read_only else self._worker_pool(config)
        self._has_workers = config.is_read_only  # it lacks none
        self._storage = StorageWatch(self._update_health)
        self._resources = AsyncExitStack()
        self._health_updates: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Server:
        config = self._config
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.pool)
            stack.push_async_callback(self._storage.close)
            data = None
            if config.data is not None:
                data = DataDirectory(config.data, timezone=config.timezone)
            optimizer = GridSearchOptimizer(
                data=data, max_combinations=config.max_combinations, pool=self.pool
            )
            self._rpc = RpcServer(config.listen)
            store = await self._open_store()
            stack.callback(store.close)
            calls = StoreCalls(store, self._note_store_error)
            messages = KeptMessages(lambda: self.pool.worker_count)
            preparer = Preparer(optimizer, calls, messages, _fingerprint)
            places = Places(config.max_optimizations, config.max_queued, self.memory)
            optimizations = Optimizations(preparer, places, calls)
            stack.push_async_callback(optimizations.close)
            service = OptimizationService(
                optimizations,
                self.pool,
                data,
                engine=config.engine,
                on_storage_error=self._storage.note,
                reading=Reading(optimizations, store, self._note_store_error),
            )
            stack.push_async_callback(self._rpc.stop, config.grace, optimizations.outlive_calls)
            await self._rpc.start(service)
            if not config.is_read_only:
                care = OrphanCare(optimizations, calls, adopts=not config.is_private)
                for task in (care.run(), clean_up(calls, config)):
                    stack.callback(asyncio.create_task(task).cancel)
            self.address = self._rpc.address
            self._resources = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._resources.aclose()

    async def _open_store(self) -> Store:
        try:
            return open_configured_store(self._config, self._rpc.address)
        except StoreUnavailableError:
            await self._rpc.stop(0, lambda: None)
            raise

    def _worker_pool(self, config: ServerConfig) -> WorkerPool:
        return WorkerPool(
            EngineSpec(config.engine, config.strategies),
            max_workers=config.workers,
            directory=config.scratch,
            start_timeout=config.start_timeout,
            limits=config.worker_limits,
            on_availability=self._note_workers,
        )

    def _note_workers(self, has_workers: bool) -> None:
        self._has_workers = has_workers
        self._update_health()

    def _note_store_error(self, error: StoreUnavailableError) -> None:
        self._storage.note(as_storage_error(error, self._config))

    def _update_health(self) -> None:
        is_serving = self._has_workers and self._storage.is_usable
        update = asyncio.ensure_future(self._rpc.set_serving(is_serving=is_serving))
        self._health_updates.add(update)
        update.add_done_callback(self._health_updates.discard)


def _fingerprint(prepared: PreparedOptimization) -> Mapping[str, str]:
    if prepared.generation is None:
        raise RuntimeError("nobody knows on which code the optimization runs")
    digests = {bars.symbol: digest_of(bars) for bars in prepared.bars}
    return fingerprint_of(prepared.generation, digests)


def _memory_budget(config: ServerConfig) -> MemoryBudget:
    if config.max_memory is not None:
        return MemoryBudget(config.max_memory * MEGABYTE)
    return MemoryBudget(memory_bytes() // 2)


async def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM, SIGINT, or the end of standard input where configured.

    The line `listening on ADDRESS` on standard output says that calls are accepted; only notes come
    before it. A second signal ends running optimizations without grace. On SIGHUP it stops, too,
    where standard input is a terminal; elsewhere it loads engine and strategies anew.

    Raises:
        OSError: The address cannot be bound.
        StoreUnavailableError: Optimizations cannot be kept as they are to be.
    """
    return_large_arrays(_COLUMN_BYTES)
    stop = asyncio.Event()
    server = Server(config)
    _look_after_signals(stop, server.pool.reload)
    if config.exit_on_stdin_eof:
        _stop_on_stdin_eof(stop)
    try:
        async with server:
            workers = counted(server.pool.worker_count, "worker")
            logger.info("%s, listening on %s", workers, server.address)
            print(f"listening on {server.address}", flush=True)  # noqa: T201 - the ready line
            # What is imported stays for good: when the garbage collector walked through it, it held
            # up every stream for 20 ms.
            gc.freeze()
            await stop.wait()
            _ignore_hang_up()
            logger.info("stopping; running optimizations get %g s", config.grace)
    except asyncio.CancelledError:  # by a second Ctrl-C
        raise KeyboardInterrupt from None
    logger.info("stopped")


def _look_after_signals(stop: asyncio.Event, reload: Callable[[], None]) -> None:
    """Stop on SIGTERM and SIGINT; on SIGHUP, too, in a terminal, whose window was closed then."""
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task(loop)

    def handle() -> None:
        stop.set()
        # A second SIGTERM has its default action: it ends the process at once. A second Ctrl-C ends
        # the grace; asyncio's own handler would cancel gRPC's tasks, too, and wait for them.
        loop.remove_signal_handler(signal.SIGTERM)
        if serving is not None:
            loop.add_signal_handler(signal.SIGINT, end, serving)

    def end(serving: asyncio.Task[None]) -> None:
        loop.remove_signal_handler(signal.SIGINT)
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)
    # nohup has SIGHUP ignored, and it stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        in_terminal = sys.stdin is not None and sys.stdin.isatty()
        loop.add_signal_handler(signal.SIGHUP, handle if in_terminal else reload)
    release_signals()  # those that came while the server was imported, too


def _ignore_hang_up() -> None:
    """Ignore SIGHUP from now on: a closed window sends it more than once."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _stop_on_stdin_eof(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def wait() -> None:
        # os.read takes no lock that the interpreter would wait for when it exits.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, name="stdin-watch", daemon=True).start()
