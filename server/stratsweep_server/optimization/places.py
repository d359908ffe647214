"""Give optimizations places to run on and memory, at once or in the order in which they asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from stratsweep_server.optimization.memory import (
    MemoryAccount,
    MemoryBudget,
    MemoryExhaustedError,
)
from stratsweep_server.texts import counted

DEFAULT_MAX_OPTIMIZATIONS = 64
DEFAULT_MAX_QUEUED = 1_000
_RETRY_SECONDS = 5.0

_Prepared = TypeVar("_Prepared")


class TooManyOptimizationsError(Exception):
    """Report that the server runs as many optimizations as it is allowed to, and none can wait."""

    def __init__(self, limit: int, retry_seconds: float) -> None:
        self.limit = limit
        self.retry_seconds = retry_seconds
        running = counted(limit, "optimization")
        super().__init__(f"the server runs {running}, its limit; try again later")


class Place:
    """Hold a place and memory for an optimization.

    Attributes:
        memory: What the optimization holds.
    """

    def __init__(self, memory: MemoryAccount, on_left: Callable[[], None]) -> None:
        self.memory = memory
        self._on_left: Callable[[], None] | None = on_left

    def leave(self) -> None:
        """Let another one run; the memory stays held."""
        if self._on_left is not None:
            on_left, self._on_left = self._on_left, None
            on_left()


class Places:
    """Admit optimizations by number and by memory.

    Args:
        max_count: How many run at a time.
        max_queued: How many wait until others have ended; beyond that they are refused.
        memory: What those share that run, or whose log is read; default: nobody counts.
    """

    def __init__(
        self,
        max_count: int = DEFAULT_MAX_OPTIMIZATIONS,
        max_queued: int = DEFAULT_MAX_QUEUED,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.max_count = max_count
        self.max_queued = max_queued
        self._memory = memory or MemoryBudget()
        self._running_count = 0
        self._queued_count = 0
        self._turn = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._changes = 0
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Return whether one more would be refused."""
        return not self._is_free and not self._may_wait

    def refusal(self) -> TooManyOptimizationsError:
        """Return what to raise where one more is refused."""
        return TooManyOptimizationsError(self.max_count, _RETRY_SECONDS)

    def take(self) -> Place:
        """Take a place that is free, with nobody waiting for it.

        Raises:
            TooManyOptimizationsError: There is none.
        """
        if not self._is_free:
            raise self.refusal()
        return self._place()

    def close(self, place: Place) -> None:
        """Give back a place and its memory."""
        place.leave()
        place.memory.close()
        self._note_change()

    async def admit(
        self, prepare: Callable[[MemoryAccount], Awaitable[_Prepared]]
    ) -> tuple[Place, _Prepared] | None:
        """Prepare on a free place; None: there is none or too little memory, and it may wait.

        Raises:
            MemoryExhaustedError: There is too little memory, and it may not wait, or never fits.
            TooManyOptimizationsError: There is no place, and it may not wait.
        """
        if not self._is_free and self._may_wait:
            return None
        place = self.take()
        try:
            return place, await prepare(place.memory)
        except MemoryExhaustedError as error:
            self.close(place)
            if not (error.can_fit and self._may_wait):
                raise
            return None
        except BaseException:
            self.close(place)
            raise

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count as one of those that wait, while the context is open."""
        self._queued_count += 1
        try:
            yield
        finally:
            self._queued_count -= 1

    async def look(self, prepare: Callable[[MemoryAccount], Awaitable[_Prepared]]) -> _Prepared:
        """Prepare what is to wait, to see what it is; one at a time, and nothing is held.

        Raises:
            MemoryExhaustedError: It could never run here.
        """
        async with self._looking:
            with MemoryBudget(self._memory.limit_bytes).account() as account:
                return await prepare(account)

    async def turn(
        self, prepare: Callable[[MemoryAccount], Awaitable[_Prepared]]
    ) -> tuple[Place, _Prepared]:
        """Wait for a place, and for memory to prepare on it; who asks first goes first.

        Raises:
            MemoryExhaustedError: There can never be as much.
        """
        async with self._turn:
            while True:
                seen = self._changes
                if self._running_count < self.max_count:
                    place = self._place()
                    try:
                        return place, await prepare(place.memory)
                    except MemoryExhaustedError as error:
                        self._abandon(place)
                        if not error.can_fit:
                            raise
                    except BaseException:
                        self.close(place)
                        raise
                while self._changes == seen:
                    await self._changed.wait()

    @property
    def _may_wait(self) -> bool:
        return self._queued_count < self.max_queued

    @property
    def _is_free(self) -> bool:
        return self._running_count < self.max_count and not self._queued_count

    def _place(self) -> Place:
        self._running_count += 1
        return Place(MemoryAccount(self._memory), self._leave)

    def _abandon(self, place: Place) -> None:
        """Give back a place on which there was no room, which is no news to anybody."""
        changes = self._changes
        self.close(place)
        self._changes = changes

    def _leave(self) -> None:
        self._running_count -= 1
        self._note_change()

    def _note_change(self) -> None:
        self._changes += 1
        self._changed.set()
        self._changed.clear()
