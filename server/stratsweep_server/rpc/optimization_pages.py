"""Make pages of optimizations from the catalogue: newest first, in messages of bounded size."""

from __future__ import annotations

from collections.abc import Callable

from stratsweep.v1.optimization_service_pb2 import (
    ListOptimizationsRequest,
    ListOptimizationsResponse,
)

from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.store import OptimizationRecord, Store
from stratsweep_server.rpc.events.formats import fits
from stratsweep_server.rpc.page_tokens import foreign_token, page_token, read_position
from stratsweep_server.rpc.reading_requests import DEFAULT_PAGE_SIZE, read_filter
from stratsweep_server.rpc.records import listed_message

_READ_AT_ONCE = 10
"""Records, of each of which the first event may have a million values."""


def optimization_page(
    store: Store,
    caller: str,
    request: ListOptimizationsRequest,
    as_it_is: Callable[[OptimizationRecord], OptimizationRecord],
) -> bytes:
    """Return a page of a caller's optimizations, as a serialized response.

    A page ends early when it has about 1 MB.

    Args:
        store: Has them.
        caller: Whose they are.
        request: What is asked for.
        as_it_is: Adds to what the store has how far an optimization has come by now.

    Raises:
        InvalidRequestError: With every violation.
        StoreUnavailableError: The store cannot be read.
    """
    wanted = read_filter(request)
    token = read_position(request)
    missing = request.page_size or DEFAULT_PAGE_SIZE
    response, size = ListOptimizationsResponse(), 0
    while missing and fits(size):
        checkpoint()
        try:
            records, token = store.page(caller, wanted, min(missing, _READ_AT_ONCE), token)
        except ValueError as error:
            raise foreign_token() from error
        for record in records:
            message = listed_message(as_it_is(record))
            size += message.ByteSize()
            response.optimizations.append(message)
        missing -= len(records)
        if not token:
            break
    response.next_page_token = page_token(request, token)
    return response.SerializeToString()
