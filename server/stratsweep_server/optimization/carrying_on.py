"""Look after optimizations whose process is gone: carry on what is detached, interrupt the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace

from stratsweep_server.optimization.optimizations import Optimizations
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationRecord,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.optimization.store_calls import StoreCalls

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""For which a client may come and ask for what its server has left."""


class OrphanCare:
    """Look again and again for optimizations whose process is gone.

    Args:
        optimizations: Carries on what is detached.
        store: Knows what there is.
        adopts: Whether detached ones are carried on here; they are left alone else.
        patience: Seconds between two looks, and until what is not detached is interrupted.
    """

    def __init__(
        self,
        optimizations: Optimizations,
        store: StoreCalls,
        *,
        adopts: bool,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._optimizations = optimizations
        self._store = store
        self._adopts = adopts
        self._patience = patience
        self._first_seen: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            with contextlib.suppress(StoreUnavailableError):  # which is told of by the store
                await self.look()
            await asyncio.sleep(self._patience)

    async def look(self) -> None:
        """Look once, also for what stands still here since the store failed.

        Raises:
            StoreUnavailableError: The store cannot be used.
        """
        await self._optimizations.settle()
        orphans = await self._store(self._store.store.orphans)
        now = time.monotonic()
        seen = {each.key for each in orphans}
        self._first_seen = {key: self._first_seen.get(key, now) for key in seen}
        for orphan in orphans:
            try:
                await self._care_for(orphan, now)
            except (HeldElsewhereError, UnknownOptimizationError):
                continue
            except StoreUnavailableError:
                raise
            except Exception as error:  # whatever it is, the others go on
                name = orphan.optimization_id
                logger.warning("optimization %s, left by its server, stays: %s", name, error)

    async def _care_for(self, orphan: OptimizationRecord, now: float) -> None:
        if orphan.is_detached:
            if self._adopts:
                logger.info(
                    "optimization %s: its server is gone, it goes on here", orphan.optimization_id
                )
                await self._optimizations.carry_on(orphan)
            return
        if now - self._first_seen[orphan.key] >= self._patience:
            await self._store(self._interrupt, orphan)

    def _interrupt(self, orphan: OptimizationRecord) -> None:
        store = self._store.store
        record = store.claim(*orphan.key)
        if record.state.is_ended:
            return
        store.move(
            replace(record, state=OptimizationState.INTERRUPTED, message="its server is gone")
        )
        logger.info("optimization %s is interrupted: its server is gone", record.optimization_id)
