"""One hostile call, sent as bytes, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc

from tests.fuzz.attacks import Attack

KEPT_MESSAGES = 20
_LINGER_SECONDS = 0.2
# gRPC's server takes a call without its message for a cancelled one, and never answers it.
_SILENT_SECONDS = 0.5

# So that the verdict sees trailers which a client with gRPC's default of 8 KB would reject.
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_metadata_size", 2**20),
    ("grpc.absolute_max_metadata_size", 2**20),
    ("grpc.max_receive_message_length", -1),
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    Attributes:
        code: The status; None when the client left a stream that went on.
        details: The status's message.
        trailers: The trailing metadata.
        messages: The first that came.
        seconds: Until the first message, or until the end without one.
    """

    code: grpc.StatusCode | None
    details: str
    trailers: tuple[tuple[str, str | bytes], ...]
    messages: list[bytes]
    seconds: float


async def send(channel: grpc.aio.Channel, attack: Attack, deadline: float) -> Ending:
    """Send a call; a stream is left after some messages, or when it is silent for a moment.

    Any RPC can be called as one that streams: on the wire they are the same.

    Args:
        channel: To the server.
        attack: What to send.
        deadline: Seconds after which a call without an answer ends with DEADLINE_EXCEEDED.
    """
    messages: list[bytes] = []
    begin = answered = time.monotonic()
    call = _begin(channel, attack, deadline)
    # A status CANCELLED arrives as CancelledError, too.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError, TimeoutError):
        async with asyncio.timeout(None) as patience:
            async for message in call:
                if not messages:
                    answered = time.monotonic()
                    patience.reschedule(asyncio.get_running_loop().time() + _LINGER_SECONDS)
                messages.append(message)
                if len(messages) == KEPT_MESSAGES:
                    break
    if patience.expired() or len(messages) == KEPT_MESSAGES:
        call.cancel()
        return Ending(None, "", (), messages, answered - begin)
    code, details = await call.code(), await call.details()
    trailers = tuple(await call.trailing_metadata() or ())
    ended = answered if messages else time.monotonic()
    return Ending(code, details or "", trailers, messages, ended - begin)


def _begin(
    channel: grpc.aio.Channel, attack: Attack, deadline: float
) -> grpc.aio.UnaryStreamCall | grpc.aio.StreamStreamCall:
    if len(attack.messages) == 1:
        return channel.unary_stream(attack.path)(attack.messages[0], timeout=deadline)
    if not attack.messages:
        deadline = _SILENT_SECONDS
    return channel.stream_stream(attack.path)(_sent(attack.messages), timeout=deadline)


async def _sent(messages: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message
