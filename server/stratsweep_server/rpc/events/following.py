"""Follow an optimization that may still wait for its turn, from its start or any later event."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from stratsweep_server.rpc.events.followed import Awaited
from stratsweep_server.rpc.events.stream import (
    HEARTBEAT_SECONDS,
    STARTED_NUMBER,
    EventStream,
    StreamOptions,
    heartbeat_response,
    started_response,
)


async def following(
    optimization: Awaited,
    options: StreamOptions,
    after_sequence_number: int = 0,
) -> AsyncGenerator[bytes, None]:
    """Yield the serialized responses of an optimization; see `EventStream`."""
    if after_sequence_number < STARTED_NUMBER:
        yield started_response(optimization.started, optimization.started_time)
    while not await optimization.begun(HEARTBEAT_SECONDS):
        yield heartbeat_response()
    after = max(after_sequence_number, STARTED_NUMBER)
    stream = EventStream(optimization, options, HEARTBEAT_SECONDS, after)
    async with aclosing(stream.responses()) as responses:
        async for response in responses:
            yield response
