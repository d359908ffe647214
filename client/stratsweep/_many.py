"""Several optimizations at a time, each told of as it ends: in threads, or in tasks."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from stratsweep._encoding import each_symbol, optimize_request
from stratsweep.config import ConfigOptions, RunOptions
from stratsweep.errors import (
    ServerUnavailableError,
    StratsweepError,
    StreamInterruptedError,
)
from stratsweep.events import OptimizationEvent, SymbolResult
from stratsweep.v1 import optimization_service_pb2

if TYPE_CHECKING:
    from stratsweep._streams import AsyncOptimizationStream, OptimizationStream

DEFAULT_MAX_CONCURRENT = 4
"""Enough to keep workers busy while one optimization begins and another's result travels."""
DEFAULT_PROGRESS_INTERVAL = 0.1
OnEvent: TypeAlias = Callable[[str, OptimizationEvent], object]
# After these the other symbols would not fare better.
_ENDS_ALL = (ServerUnavailableError, StreamInterruptedError)


def requests_of_many(
    strategy: str,
    config: ConfigOptions,
    max_concurrent: int,
    run: RunOptions,
) -> dict[str, optimization_service_pb2.OptimizeRequest]:
    """Return the request for each symbol alone; all are checked before the first one starts.

    Raises:
        TypeError: As `optimize_request` does.
        ValueError: As that; there is no symbol, or `max_concurrent` is below 1.
    """
    if max_concurrent < 1:
        raise ValueError(f"max_concurrent must be at least 1, not {max_concurrent}")
    return {
        symbol: optimize_request(strategy, {**options, **run})
        for symbol, options in each_symbol(config).items()
    }


def ends_of(
    symbols: Sequence[str],
    start: Callable[[str], OptimizationStream],
    max_concurrent: int,
    on_event: OnEvent | None,
) -> Generator[SymbolResult, None, None]:
    """Run an optimization for each symbol and yield each one's end when it has come.

    Args:
        symbols: What to optimize, each once; they start in this order.
        start: Starts the optimization of a symbol.
        max_concurrent: How many may run at a time.
        on_event: Is called with each event, one at a time, by threads that are not the caller's.

    Raises:
        StratsweepError: The server is gone. What runs is cancelled, as when the caller leaves.
    """
    many = _Many(symbols, start, on_event)
    threads = [
        threading.Thread(target=many.work, name=f"optimize-many-{number}", daemon=True)
        for number in range(min(max_concurrent, len(symbols)))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in symbols:
            end = many.ends.get()
            if isinstance(end, BaseException):
                raise end
            yield end
    finally:
        many.cancel()
        for thread in threads:
            thread.join()


class _Many:
    """What the threads of `ends_of` share."""

    def __init__(
        self,
        symbols: Sequence[str],
        start: Callable[[str], OptimizationStream],
        on_event: OnEvent | None,
    ) -> None:
        self.ends: SimpleQueue[SymbolResult | BaseException] = SimpleQueue()
        self._waiting = deque(symbols)
        self._start = start
        self._on_event = on_event
        self._streams: set[OptimizationStream] = set()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._telling = threading.Lock()

    def work(self) -> None:
        """Run one symbol after another until none is left."""
        while (symbol := self._next()) is not None:
            try:
                end: SymbolResult | BaseException = self._end_of(symbol)
            except BaseException as error:  # the caller's thread raises it
                end = error
            self.ends.put(end)

    def cancel(self) -> None:
        """End what runs, and start no more."""
        with self._lock:
            self._cancelled.set()
            self._waiting.clear()
            streams = list(self._streams)
        for stream in streams:
            stream.cancel()

    def _next(self) -> str | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _end_of(self, symbol: str) -> SymbolResult:
        with self._started(symbol) as stream:
            try:
                for event in stream:
                    if self._on_event is not None:
                        with self._telling:
                            self._on_event(symbol, event)
            except _ENDS_ALL:
                raise
            except StratsweepError as error:
                return SymbolResult(symbol, error=error)
            return SymbolResult(symbol, stream.result())

    @contextmanager
    def _started(self, symbol: str) -> Iterator[OptimizationStream]:
        with self._start(symbol) as stream:
            with self._lock:
                self._streams.add(stream)
                if self._cancelled.is_set():
                    stream.cancel()
            try:
                yield stream
            finally:
                with self._lock:
                    self._streams.discard(stream)


async def ends_of_async(
    symbols: Sequence[str],
    start: Callable[[str], AsyncOptimizationStream],
    max_concurrent: int,
    on_event: OnEvent | None,
) -> AsyncGenerator[SymbolResult, None]:
    """Run an optimization for each symbol and yield each one's end; as `ends_of`, in tasks."""
    ends: asyncio.Queue[SymbolResult | BaseException] = asyncio.Queue()
    waiting = deque(symbols)

    async def work() -> None:
        while waiting:
            symbol = waiting.popleft()
            try:
                ends.put_nowait(await _end_of(symbol, start, on_event))
            except Exception as error:  # the caller's task raises it
                ends.put_nowait(error)

    tasks = [asyncio.create_task(work()) for _ in range(min(max_concurrent, len(symbols)))]
    try:
        for _ in symbols:
            end = await ends.get()
            if isinstance(end, BaseException):
                raise end
            yield end
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end_of(
    symbol: str, start: Callable[[str], AsyncOptimizationStream], on_event: OnEvent | None
) -> SymbolResult:
    try:
        async with start(symbol) as stream:
            async for event in stream:
                if on_event is not None:
                    on_event(symbol, event)
            return SymbolResult(symbol, await stream.result())
    except _ENDS_ALL:
        raise
    except StratsweepError as error:
        return SymbolResult(symbol, error=error)
