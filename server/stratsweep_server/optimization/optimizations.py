"""Keep a server's optimizations: open them by their ids, find them, cancel them, let go of them.

An optimization is an entry here while this process holds it or somebody follows it, and what the
store has of it else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from weakref import WeakValueDictionary

from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.config_differences import differences
from stratsweep_server.optimization.entry import OptimizationEntry
from stratsweep_server.optimization.identifiers import new_optimization_id
from stratsweep_server.optimization.kept import KeptOptimization, read
from stratsweep_server.optimization.life import Means, ReadyOptimization
from stratsweep_server.optimization.memory import MemoryAccount
from stratsweep_server.optimization.places import Place, Places
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.preparer import OptimizationRunningError, Preparer
from stratsweep_server.optimization.request import (
    MAX_ABANDON_GRACE_SECONDS,
    OptimizationRequest,
)
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import (
    LOCAL_CALLER,
    HeldElsewhereError,
    OptimizationExistsError,
    OptimizationRecord,
    UnknownOptimizationError,
)
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.optimization.validation import InvalidConfigError

_LAST_WORDS_SECONDS = 10.0
"""For which a server that stops waits for a store that is silent."""

_Key = tuple[str, str]
FoundOptimization = OptimizationEntry | KeptOptimization


class Optimizations:
    """Open, find and cancel optimizations.

    Args:
        preparer: Prepares them.
        places: Admits them.
        store: Keeps them.
    """

    def __init__(self, preparer: Preparer, places: Places, store: StoreCalls) -> None:
        self.places = places
        self.preparer = preparer
        self._means = Means(preparer, places, store)
        self._store = store
        self._entries: dict[_Key, OptimizationEntry] = {}
        self._kept: WeakValueDictionary[_Key, KeptOptimization] = WeakValueDictionary()
        self._graces: dict[OptimizationEntry, asyncio.TimerHandle] = {}
        self._turns: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def look_at(self, request: OptimizationRequest, caller: str = LOCAL_CALLER) -> bytes:
        """Return the first event of an optimization without beginning it.

        Raises:
            InvalidConfigError: With every violation.
            MemoryExhaustedError: There is no room for it now.
            TooManyOptimizationsError: There is no place.
        """
        place = self.places.take()
        try:
            prepared = await self.preparer.prepare(request, place.memory)
            record, _ = await self._describe(_with_id(request), caller, prepared, is_queued=False)
            return record.started
        finally:
            self.places.close(place)

    @asynccontextmanager
    async def opened(
        self, request: OptimizationRequest, caller: str = LOCAL_CALLER
    ) -> AsyncIterator[FoundOptimization]:
        """Begin an optimization, carry it on or attach to it, by its id; see `Optimize`.

        Raises:
            HeldElsewhereError: Another process runs it.
            InputsChangedError: It cannot go on, since its inputs have changed.
            InvalidConfigError: With every violation.
            MemoryExhaustedError: There is no room for it now.
            OptimizationExistsError: There is one of that id with another config.
            StoreUnavailableError: The store cannot be used.
            TooManyOptimizationsError: It may not even wait.
            UnknownOptimizationError: There is none of that id, and there must be.
        """
        if not request.optimization_id:
            if self.places.is_full:
                raise self.places.refusal()
            request = _with_id(request)
        found = await self._open(request, caller)
        if isinstance(found, KeptOptimization):
            yield found
            return
        async with found.attached(request.abandon_grace):
            await found.kept()
            yield found

    async def find(self, optimization_id: str, caller: str = LOCAL_CALLER) -> FoundOptimization:
        """Return an optimization as it is here, or as the store has it; starts nothing.

        Raises:
            StoreUnavailableError: The store cannot be read.
            UnknownOptimizationError: There is none of that id.
        """
        key = caller, optimization_id
        return self._telling_entry(key) or await self._stored(key)

    async def find_outcomes(
        self, optimization_id: str, caller: str = LOCAL_CALLER
    ) -> FoundOptimization:
        """Return the same with its log; what waits here, as the store has it.

        Raises:
            StoreUnavailableError: The store cannot be read.
            UnknownOptimizationError: There is none of that id.
        """
        key = caller, optimization_id
        entry = self._telling_entry(key)
        return entry if entry is not None and entry.has_log else await self._stored(key)

    def as_it_is(self, record: OptimizationRecord) -> OptimizationRecord:
        """Return what the store has of an optimization, with how far it has come here by now."""
        entry = self._telling_entry(record.key)
        if entry is None or record.state.is_ended:
            return record
        now = entry.record
        return replace(
            record,
            state=now.state,
            completed_count=now.completed_count,
            failed_count=now.failed_count,
            start_time=now.start_time,
            end_time=now.end_time,
            running_seconds=now.running_seconds,
            message=now.message,
            holder_address="" if entry.is_over else record.holder_address,
        )

    async def delete(self, optimization_id: str, caller: str = LOCAL_CALLER) -> None:
        """Forget an optimization; who follows it goes on.

        Raises:
            OptimizationRunningError: It is queued or runs, here or elsewhere.
            StoreUnavailableError: The store cannot be used.
            UnknownOptimizationError: There is none of that id.
        """
        key = caller, optimization_id
        async with self._turn_of(key):
            try:
                await self._store(self._store.store.delete, *key)
            except HeldElsewhereError as error:
                raise OptimizationRunningError(
                    f"optimization {optimization_id} cannot be deleted: {error}; cancel it first"
                ) from error
            self._kept.pop(key, None)
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._end_grace(entry)
                if not entry.is_followed:
                    entry.free()

    async def cancel(
        self, optimization_id: str, reason: str, caller: str = LOCAL_CALLER
    ) -> OptimizationRecord:
        """Stop an optimization, and keep what has completed; one that has ended stays as it is.

        Raises:
            HeldElsewhereError: Another process runs it.
            StoreUnavailableError: The store cannot be used.
            UnknownOptimizationError: There is none of that id.
        """
        key = caller, optimization_id
        async with self._turn_of(key):
            entry = self._running_entry(key)
            if entry is None:
                record = await self._store(self._store.store.find, *key)
                if record.state.is_ended:
                    return record
                request = self.preparer.messages.read_request(record.request)
                entry = self._enter(record, request, None, is_new=False)
            entry.cancel(reason)
        await entry.kept()
        return entry.record

    async def carry_on(self, record: OptimizationRecord) -> None:
        """Go on with an optimization whose process is gone, without anybody attached."""
        key = record.key
        async with self._turn_of(key):
            if self._running_entry(key) is None:
                request = self.preparer.messages.read_request(record.request)
                self._enter(record, request, None, is_new=False)

    async def settle(self) -> None:
        """Write of what stands still that it does, where the store failed when it was to be.

        Raises:
            StoreUnavailableError: It still fails.
        """
        unwritten = [key for key, entry in self._entries.items() if not entry.is_written]
        for key in unwritten:
            async with self._turn_of(key):
                entry = self._entries.get(key)
                if entry is not None and not entry.is_written and entry.is_over:
                    await entry.settle()
                    self._put_away(entry)

    def outlive_calls(self) -> None:
        """Let what runs go on when its calls end, where it can be carried on afterwards."""
        if self._store.store.outlives_process:
            for entry in self._entries.values():
                entry.detach()

    async def close(self) -> None:
        """Stop what runs; what can be carried on is left so that it can be."""
        entries = list(self._entries.values())
        for entry in entries:
            if self._store.store.outlives_process:
                entry.leave()
            else:
                entry.cancel("its server stops")
        await asyncio.gather(*(entry.over(_LAST_WORDS_SECONDS) for entry in entries))
        for entry in entries:
            entry.free()

    async def _open(self, request: OptimizationRequest, caller: str) -> FoundOptimization:
        key = caller, request.optimization_id
        async with self._turn_of(key):
            entry = self._running_entry(key)
            if entry is not None:
                _require_same_config(entry.request, request)
                return entry
            try:
                record = await self._store(self._store.store.find, *key)
            except UnknownOptimizationError:
                if request.must_exist:
                    raise
                return await self._begin(request, caller)
            before = self.preparer.messages.read_request(record.request)
            _require_same_config(before, request)
            if record.state.is_ended:
                return await self._read(record)
            if record.holder_address and key not in self._entries:
                raise HeldElsewhereError(record.holder_address)
            if request.abandon_grace is not None:
                before = replace(before, abandon_grace=request.abandon_grace)
            admitted = await self.places.admit(
                lambda memory: self.preparer.prepare_again(before, memory, record)
            )
            ready = ReadyOptimization(*admitted) if admitted is not None else None
            return self._enter(record, before, ready, is_new=False)

    async def _begin(self, request: OptimizationRequest, caller: str) -> OptimizationEntry:
        def prepare(memory: MemoryAccount) -> Awaitable[PreparedOptimization]:
            return self.preparer.prepare(request, memory)

        admitted = await self.places.admit(prepare)
        if admitted is None:
            with self.places.waiting():
                prepared = await self.places.look(prepare)
                return await self._enter_new(request, caller, prepared, None)
        place, prepared = admitted
        try:
            return await self._enter_new(request, caller, prepared, place)
        except BaseException:
            self.places.close(place)
            raise

    async def _enter_new(
        self,
        request: OptimizationRequest,
        caller: str,
        prepared: PreparedOptimization,
        place: Place | None,
    ) -> OptimizationEntry:
        is_queued = place is None
        record, taken_over = await self._describe(request, caller, prepared, is_queued=is_queued)
        ready = None
        if place is not None:
            ready = ReadyOptimization(place, prepared, taken_over)
        return self._enter(record, request, ready, is_new=True)

    async def _describe(
        self,
        request: OptimizationRequest,
        caller: str,
        prepared: PreparedOptimization,
        *,
        is_queued: bool,
    ) -> tuple[OptimizationRecord, Sequence[OutcomeBatch]]:
        """Return what the store is to have of a new optimization, and what it takes over."""
        taken_over = await self.preparer.taken_over(caller, request, prepared)
        record = await self.preparer.new_record(caller, request, prepared)
        if not is_queued:
            record = replace(record, state=OptimizationState.RUNNING, start_time=record.create_time)
        reused_count = sum(map(len, taken_over))
        started = await self.preparer.started(record, prepared, reused_count)
        return replace(record, started=started), taken_over

    async def _stored(self, key: _Key) -> KeptOptimization:
        return await self._read(await self._store(self._store.store.find, *key))

    async def _read(self, record: OptimizationRecord) -> KeptOptimization:
        """Read what the store has: one object of what has ended, which ranks it once for all."""
        key = record.key
        kept = self._kept.get(key) if record.state.is_ended else None
        if kept is not None and kept.record.create_time == record.create_time:
            return kept
        kept = await read(record, self._store, self.preparer.messages)
        if record.state.is_ended:
            self._kept[key] = kept
        return kept

    def _enter(
        self,
        record: OptimizationRecord,
        request: OptimizationRequest,
        ready: ReadyOptimization | None,
        *,
        is_new: bool,
    ) -> OptimizationEntry:
        entry = OptimizationEntry(
            record,
            request,
            self._means,
            ready=ready,
            is_new=is_new,
            on_unused=self._put_away,
        )
        key = record.key
        before = self._entries.get(key)
        self._entries[key] = entry
        if before is not None:
            self._put_away(before)
        return entry

    def _put_away(self, entry: OptimizationEntry) -> None:
        """Let go of what nobody follows; after its grace where nothing else keeps it."""
        if self._store.store.outlives_process:
            is_replaced = self._entries.get(entry.key) is not entry
            if entry.is_written or is_replaced:
                self._forget(entry)
            return
        self._end_grace(entry)  # somebody may have come since, and left again
        seconds = MAX_ABANDON_GRACE_SECONDS if entry.is_detached else entry.abandon_grace
        if seconds > 0:
            loop = asyncio.get_running_loop()
            self._graces[entry] = loop.call_later(seconds, self._forget, entry)
        else:
            self._forget(entry)

    def _end_grace(self, entry: OptimizationEntry) -> None:
        if (grace := self._graces.pop(entry, None)) is not None:
            grace.cancel()

    def _forget(self, entry: OptimizationEntry) -> None:
        self._graces.pop(entry, None)
        if entry.is_followed:
            return
        entry.free()
        if self._entries.get(entry.key) is not entry:
            return
        del self._entries[entry.key]
        if not self._store.store.outlives_process:
            with contextlib.suppress(UnknownOptimizationError):
                self._store.store.delete(*entry.key)

    def _running_entry(self, key: _Key) -> OptimizationEntry | None:
        entry = self._entries.get(key)
        return None if entry is None or entry.is_interrupted else entry

    def _telling_entry(self, key: _Key) -> OptimizationEntry | None:
        """Return the entry that knows as much as the store, or more, which may have failed."""
        entry = self._entries.get(key)
        return None if entry is None or (entry.is_interrupted and entry.is_written) else entry

    def _turn_of(self, key: _Key) -> asyncio.Lock:
        """Return the lock under which an optimization of an id is opened: one call at a time."""
        return self._turns.setdefault(key, asyncio.Lock())


def _with_id(request: OptimizationRequest) -> OptimizationRequest:
    if request.optimization_id:
        return request
    return replace(request, optimization_id=new_optimization_id())


def _require_same_config(before: OptimizationRequest, request: OptimizationRequest) -> None:
    """Check that a request means the optimization that there is; labels do not count.

    Raises:
        InvalidConfigError: It means none.
        OptimizationExistsError: It means another.
    """
    if request.violations:
        raise InvalidConfigError(request.violations)
    found = differences(before.config, request.config)
    if found:
        raise OptimizationExistsError(
            f"there is an optimization {request.optimization_id} with another config: "
            + "; ".join(found)
        )
