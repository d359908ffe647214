"""Serve the calls that read optimizations, running or ended, or forget one; none starts work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Protocol, TypeVar

from stratsweep.v1 import optimization_service_pb2 as service_pb2

from stratsweep_server.optimization.background import BackgroundThreads
from stratsweep_server.optimization.store import (
    LOCAL_CALLER,
    HeldElsewhereError,
    OptimizationRecord,
    Store,
    StoreUnavailableError,
)
from stratsweep_server.rpc.events.followed import Followed
from stratsweep_server.rpc.events.following import following
from stratsweep_server.rpc.optimization_pages import optimization_page
from stratsweep_server.rpc.reading_requests import read_id, read_watch
from stratsweep_server.rpc.records import optimization_message
from stratsweep_server.rpc.result_pages import (
    Results,
    best_directions,
    best_result,
    check_results_request,
    result_page,
)

_Result = TypeVar("_Result")


class FoundOptimization(Followed, Protocol):
    """Give an optimization as this process has it, or as the store does."""

    @property
    def record(self) -> OptimizationRecord:
        """Return where it stands now."""

    @property
    def is_here(self) -> bool:
        """Return whether this process holds it."""

    def read(self) -> AbstractContextManager[None]:
        """Keep what it takes to read it while the context is open."""


class ReadOptimizations(Protocol):
    """Find what is asked for; see `Optimizations` for what the methods do."""

    async def find(self, optimization_id: str, /) -> FoundOptimization:
        """Return an optimization as it is here, or as the store has it."""

    async def find_outcomes(self, optimization_id: str, /) -> FoundOptimization:
        """Return the same with its log; what waits, as the store has it."""

    def as_it_is(self, record: OptimizationRecord, /) -> OptimizationRecord:
        """Return what the store has of one, with how far it has come here by now."""

    async def delete(self, optimization_id: str, /) -> None:
        """Forget one."""


def _ignore(error: StoreUnavailableError) -> None:
    """Do nothing: the default where nobody wants to be told."""


class Reading:
    """Answer what is asked of optimizations that there are.

    Args:
        optimizations: Finds them.
        store: Keeps them.
        on_store_error: Told when the store cannot be read or written.
    """

    def __init__(
        self,
        optimizations: ReadOptimizations,
        store: Store,
        on_store_error: Callable[[StoreUnavailableError], None] = _ignore,
    ) -> None:
        self._optimizations = optimizations
        self._store = store
        self._on_store_error = on_store_error
        self._threads = BackgroundThreads()

    async def watch(
        self, request: service_pb2.WatchOptimizationRequest
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of an optimization, serialized.

        Raises:
            HeldElsewhereError: Another process runs it.
            InvalidRequestError: With every violation.
            OptimizationInterruptedError: At the end of what there is: it stands still.
            StoreUnavailableError: The store cannot be read.
            UnknownOptimizationError: There is none of that id.
        """
        options = read_watch(request)
        found = await self._optimizations.find(request.optimization_id)
        record = found.record
        if not found.is_here and record.state.is_under_way and record.holder_address:
            raise HeldElsewhereError(record.holder_address)
        with found.read():
            stream = following(found, options.stream, options.after_sequence_number)
            async with aclosing(stream) as events:
                async for event in events:
                    yield event

    async def optimization(
        self, request: service_pb2.GetOptimizationRequest
    ) -> service_pb2.GetOptimizationResponse:
        """Return where an optimization stands, with its best result so far.

        Raises:
            InvalidRequestError: The id can be none.
            StoreUnavailableError: The store cannot be read.
            UnknownOptimizationError: There is none of that id.
        """
        found = await self._optimizations.find_outcomes(read_id(request.optimization_id))
        with found.read():
            record = found.record
            if found.is_here:
                record = await self._in_thread(self._store.find, *record.key)
                record = self._optimizations.as_it_is(record)
            count = found.log.count
            return await self._in_thread(_optimization_response, found, record, count)

    async def optimizations(self, request: service_pb2.ListOptimizationsRequest) -> bytes:
        """Return a page of optimizations, as a serialized response.

        Raises:
            InvalidRequestError: With every violation.
            StoreUnavailableError: The store cannot be read.
        """
        as_it_is = self._optimizations.as_it_is
        return await self._in_thread(
            optimization_page, self._store, LOCAL_CALLER, request, as_it_is
        )

    async def results(self, request: service_pb2.ListResultsRequest) -> bytes:
        """Return a page of results, as a serialized response.

        Raises:
            InvalidRequestError: With every violation.
            StoreUnavailableError: The store cannot be read.
            UnknownOptimizationError: There is no optimization of that id.
        """
        check_results_request(request)
        found = await self._optimizations.find_outcomes(request.optimization_id)
        with found.read():
            return await self._in_thread(_result_page, found, found.log.count, request)

    async def delete(
        self, request: service_pb2.DeleteOptimizationRequest
    ) -> service_pb2.DeleteOptimizationResponse:
        """Forget an optimization.

        Raises:
            InvalidRequestError: The id can be none.
            OptimizationRunningError: It is queued or runs, here or elsewhere.
            StoreUnavailableError: The store cannot be written.
            UnknownOptimizationError: There is none of that id.
        """
        await self._optimizations.delete(read_id(request.optimization_id))
        return service_pb2.DeleteOptimizationResponse()

    async def _in_thread(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        try:
            return await self._threads.run(function, *arguments)
        except StoreUnavailableError as error:
            self._on_store_error(error)
            raise


def _optimization_response(
    found: FoundOptimization, record: OptimizationRecord, count: int
) -> service_pb2.GetOptimizationResponse:
    message = optimization_message(record)
    best = best_result(_results(found, count, message))
    if best is not None:
        message.best.CopyFrom(best)
    return service_pb2.GetOptimizationResponse(optimization=message)


def _result_page(
    found: FoundOptimization, count: int, request: service_pb2.ListResultsRequest
) -> bytes:
    message = optimization_message(found.record)
    return result_page(_results(found, count, message), request)


def _results(found: FoundOptimization, count: int, message: service_pb2.Optimization) -> Results:
    return Results(found.config, found.grid, found.log, count, best_directions(message.started))
