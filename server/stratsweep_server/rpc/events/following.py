"""Follow an optimization from its start, or any later event; it may still wait for its turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from stratsweep_server.rpc.events.followed import Followed
from stratsweep_server.rpc.events.stream import (
    HEARTBEAT_SECONDS,
    STARTED_NUMBER,
    EventStream,
    StreamOptions,
    heartbeat_response,
    started_response,
)


async def following(
    optimization: Followed,
    options: StreamOptions,
    after_sequence_number: int = 0,
) -> AsyncGenerator[bytes, None]:
    """Yield the serialized responses of an optimization: its start, then those of `EventStream`.

    Args:
        optimization: What waits, runs, or has ended.
        options: What the client chose.
        after_sequence_number: The last event that is not wanted; 0: all are.
    """
    if after_sequence_number < STARTED_NUMBER:
        yield started_response(optimization.started, optimization.started_time)
    while not await optimization.begun(HEARTBEAT_SECONDS):
        yield heartbeat_response()
    after = max(after_sequence_number, STARTED_NUMBER)
    stream = EventStream(optimization, options, HEARTBEAT_SECONDS, after)
    async with aclosing(stream.responses()) as responses:
        async for response in responses:
            yield response
