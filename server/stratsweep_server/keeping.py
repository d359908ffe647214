"""Open the store that a server keeps its optimizations in, and clean it up now and then."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from stratsweep_server.config import ServerConfig
from stratsweep_server.market_data.storage import StorageUnavailableError
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.store import Store, StoreUnavailableError
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.storage.disk_store import DiskStore, open_store
from stratsweep_server.storage.state_directory import default_state_directory

logger = logging.getLogger(__name__)

KEEP_NOTHING = "none"
_CLEANING_SECONDS = 3_600.0
_PROBE_BYTES = 1 << 16
_GIGABYTE = 10**9


def open_configured_store(config: ServerConfig, address: str) -> Store:
    """Open the store that a config asks for.

    Where nothing can be kept, a server goes on keeping nothing if that is all right with it, and
    says so in a line on standard output.

    Args:
        config: Of the server.
        address: Where it listens.

    Raises:
        StoreUnavailableError: Nothing can be kept, and that is not all right.
    """
    if config.state == KEEP_NOTHING:
        logger.info("nothing is kept beyond this process")
        return MemoryStore(address)
    try:
        path = Path(config.state) if config.state else default_state_directory()
        store = open_store(path, address)
    except StoreUnavailableError as error:
        if config.state or not config.is_private:
            raise
        print(f"note: nothing is kept: {error}", flush=True)  # noqa: T201 - for the command
        return MemoryStore(address)
    logger.info("optimizations are kept in %s", path)
    return store


async def clean_up(calls: StoreCalls, config: ServerConfig) -> None:
    """Remove what is too old or too much, at once and every hour, until cancelled."""
    store = calls.store
    if not isinstance(store, DiskStore):
        return
    max_age = timedelta(days=config.retain_days)
    max_bytes = config.retain_gigabytes * _GIGABYTE
    while True:
        with suppress(StoreUnavailableError):  # which is told of
            await calls(store.enforce_retention, max_age, max_bytes)
        await asyncio.sleep(_CLEANING_SECONDS)


def as_storage_error(error: StoreUnavailableError, config: ServerConfig) -> StorageUnavailableError:
    """Return what a store says as what a folder says that can be watched."""
    path = Path(config.state) if config.state else default_state_directory()
    return StorageUnavailableError(
        "state directory", path, OSError(0, str(error)), lambda: _write_something(path)
    )


def _write_something(path: Path) -> None:
    with tempfile.TemporaryFile(dir=path, buffering=0) as file:
        file.write(bytes(_PROBE_BYTES))
        os.fsync(file.fileno())
