"""Watch folders that cannot be used until they can; while all is well, look at none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stratsweep_server.market_data.storage import StorageUnavailableError
from stratsweep_server.optimization.background import BackgroundThreads

logger = logging.getLogger(__name__)

PROBE_SECONDS = 2.0


class StorageWatch:
    """Remember which folders cannot be used, from the errors that it is told.

    Args:
        on_change: Called when a first folder cannot be used, and when the last one can again.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._unusable: set[str] = set()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._threads = BackgroundThreads()  # of its own: a disk may be silent for ever

    @property
    def is_usable(self) -> bool:
        """Return whether every folder can be used, as far as is known."""
        return not self._unusable

    def note(self, error: StorageUnavailableError) -> None:
        """Take an error of a folder: probe until the folder can be used again."""
        if error.purpose in self._watches:
            return
        logger.error("the %s, %s, cannot be used: %s", error.purpose, error.path, error.cause)
        watch = asyncio.create_task(self._watch(error))
        self._watches[error.purpose] = watch
        watch.add_done_callback(lambda _: self._watches.pop(error.purpose))

    async def close(self) -> None:
        """Stop watching."""
        watches = list(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def _watch(self, error: StorageUnavailableError) -> None:
        is_usable = await self._threads.run(_is_usable, error)
        if is_usable:
            return  # there was no room for something large, or it is mended already
        self._set_unusable(self._unusable | {error.purpose})
        while not is_usable:
            await asyncio.sleep(PROBE_SECONDS)
            is_usable = await self._threads.run(_is_usable, error)
        logger.info("the %s, %s, can be used again", error.purpose, error.path)
        self._set_unusable(self._unusable - {error.purpose})

    def _set_unusable(self, purposes: set[str]) -> None:
        was_usable = self.is_usable
        self._unusable = purposes
        if self.is_usable != was_usable:
            self._on_change()


def _is_usable(error: StorageUnavailableError) -> bool:
    try:
        error.probe()
    except (OSError, StorageUnavailableError):
        return False
    return True
