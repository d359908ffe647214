"""Call a store, whose methods block, from the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from stratsweep_server.optimization.background import BackgroundThreads
from stratsweep_server.optimization.store import Store, StoreUnavailableError

_Result = TypeVar("_Result")


def _ignore(error: StoreUnavailableError) -> None:
    """Do nothing: the default where nobody wants to be told."""


class StoreCalls:
    """Call a store in threads of its own; one that keeps nothing beyond the process, as it is.

    Args:
        store: The store.
        on_error: Told when it cannot be read or written.
    """

    def __init__(
        self, store: Store, on_error: Callable[[StoreUnavailableError], None] = _ignore
    ) -> None:
        self.store = store
        self.note = on_error
        self._threads = BackgroundThreads()

    async def __call__(self, method: Callable[..., _Result], *arguments: object) -> _Result:
        """Call a method of the store.

        Raises:
            StoreUnavailableError: The store cannot be read or written.
        """
        try:
            if not self.store.outlives_process:
                return method(*arguments)
            return await self._threads.run(method, *arguments)
        except StoreUnavailableError as error:
            self.note(error)
            raise
