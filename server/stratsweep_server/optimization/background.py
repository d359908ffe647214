"""Run work that can be given up beside the event loop, in daemon threads, a few at a time.

An executor's threads are joined when the loop and the interpreter end, so that one long preparation
would keep a server from stopping. Nobody joins these. Work says now and then that it is at a
checkpoint: there it ends when its caller has gone, and makes room for work that has run less.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_TURN_SECONDS = 0.05


class WorkAbandonedError(BaseException):
    """Stop work that nobody waits for; no Exception, so that no work takes it for its own."""


class _Work:
    """Hold a function that was asked for, and whoever waits for it."""

    def __init__(self, function: Callable[[], Any], turns: _Turns) -> None:
        self.function = function
        self.turns = turns
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Any] = self.loop.create_future()
        self.is_abandoned = False
        self.busy_seconds = 0.0
        self.turn_start = 0.0

    def run(self) -> None:
        """Run the function and tell who waits."""
        try:
            settle = partial(self.outcome.set_result, self.function())
        except BaseException as error:  # whatever it is, it is the caller's
            settle = partial(self.outcome.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self.loop.call_soon_threadsafe(self._settle, settle)

    def _settle(self, settle: Callable[[], None]) -> None:
        if not self.outcome.done():
            settle()


class _Turns:
    """Let a number of threads run at a time; when one makes room, what has run least goes on."""

    def __init__(self, count: int) -> None:
        self._free_count = count
        self._waiting: list[tuple[float, int, threading.Lock]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def begin(self, work: _Work) -> None:
        """Wait for a turn."""
        with self._lock:
            if self._free_count:
                self._free_count -= 1
                gate = None
            else:
                gate = threading.Lock()
                gate.acquire()
                heapq.heappush(self._waiting, (work.busy_seconds, next(self._numbers), gate))
        if gate is not None:
            gate.acquire()  # until another one's end opens it
        work.turn_start = time.monotonic()

    def end(self, work: _Work) -> None:
        """Make room."""
        work.busy_seconds += time.monotonic() - work.turn_start
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].release()
            else:
                self._free_count += 1

    def may_go_on(self, work: _Work) -> bool:
        """Return whether the turn is not over, or nobody waits for it."""
        return not self._waiting or time.monotonic() - work.turn_start < _TURN_SECONDS


_current = threading.local()


def checkpoint() -> None:
    """Mark that a step of the work is done; does nothing where nobody runs it in the background.

    Raises:
        WorkAbandonedError: Whoever wanted it has gone.
    """
    work: _Work | None = getattr(_current, "work", None)
    if work is None:
        return
    if not work.is_abandoned and not work.turns.may_go_on(work):
        work.turns.end(work)
        work.turns.begin(work)
    if work.is_abandoned:
        raise WorkAbandonedError


class BackgroundThreads:
    """Run functions in daemon threads, which are made when they are needed and kept.

    Args:
        max_running: How many run at a time; the others wait for their turn.
        max_threads: How many there are; more work than that waits in a queue.
    """

    def __init__(self, max_running: int = 2, max_threads: int = 64) -> None:
        self._turns = _Turns(max_running)
        self._max_threads = max_threads
        self._thread_count = 0
        self._idle_count = 0
        self._pending: deque[_Work] = deque()
        self._has_pending = threading.Condition()

    async def run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Run a function in a thread and wait for it; cancelled, it ends at its next checkpoint."""
        work = _Work(partial(function, *arguments), self._turns)
        self._give(work)
        try:
            result: _Result = await work.outcome
        finally:
            work.is_abandoned = True
        return result

    def _give(self, work: _Work) -> None:
        with self._has_pending:
            self._pending.append(work)
            self._has_pending.notify()
            if self._idle_count >= len(self._pending) or self._thread_count == self._max_threads:
                return
            self._thread_count += 1
        threading.Thread(target=self._work, name="background", daemon=True).start()

    def _take(self) -> _Work:
        with self._has_pending:
            self._idle_count += 1
            while not self._pending:
                self._has_pending.wait()
            self._idle_count -= 1
            return self._pending.popleft()

    def _work(self) -> None:
        while True:
            self._run(self._take())

    def _run(self, work: _Work) -> None:
        _current.work = work
        self._turns.begin(work)
        try:
            if not work.is_abandoned:
                work.run()
        finally:
            self._turns.end(work)
            _current.work = None


_threads = BackgroundThreads()


async def in_background(function: Callable[..., _Result], *arguments: object) -> _Result:
    """Run a function in the threads that all optimizations share; see `BackgroundThreads.run`."""
    return await _threads.run(function, *arguments)
