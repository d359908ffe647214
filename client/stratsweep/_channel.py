"""How both clients open a channel: keepalive, message size, retries."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import TypeAlias

import grpc
from grpc import aio

_SERVICE = "stratsweep.v1.OptimizationService"
_STREAMS = ("Optimize", "WatchOptimization")
_SERVICE_CONFIG = {
    "methodConfig": [
        # Streams are asked for again by us. Where gRPC does, and its last attempt finds no server,
        # it loses the call: who waits for the first message waits for ever.
        {"name": [{"service": _SERVICE, "method": method} for method in _STREAMS]},
        {
            "name": [{"service": _SERVICE}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.2s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
    ]
}

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # Keeps an hour-long stream alive through idle proxies, and notices a frozen server.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Parts of a result have about 1 MB.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A server that is back is noticed within a second.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
)

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_CONNECT_TIMEOUT = 5.0
DEFAULT_RECONNECT_TIMEOUT = 60.0
_SHORTEST_ATTEMPT_SECONDS = 1.0
_LONGEST_ATTEMPT_SECONDS = 20.0  # as gRPC has it
ChannelOptions: TypeAlias = Sequence[tuple[str, str | int]]
"""Options of a gRPC channel, as gRPC itself takes them."""
_LOOPBACK_PREFIXES = ("127.", "localhost:", "[::1]:")


def all_channel_options(
    address: str, connect_timeout: float, given: ChannelOptions
) -> list[tuple[str, str | int]]:
    """Return the options of a channel: ours, and the caller's over them.

    Args:
        address: Where the server listens.
        connect_timeout: How long calls wait for it, in seconds.
        given: Pairs of the caller's.

    Raises:
        TypeError: They are no pairs of a name and a value.
    """
    if not (isinstance(given, Sequence) and all(map(_is_pair, given))):
        raise TypeError(
            "channel_options: expected pairs of a name and a text or whole number, such as "
            f'[("grpc.keepalive_time_ms", 60_000)], not {given!r}'
        )
    return list((dict(_options(address, connect_timeout)) | dict(given)).items())


def _is_pair(option: object) -> bool:
    return (
        isinstance(option, tuple | list)
        and len(option) == 2
        and isinstance(option[0], str)
        and isinstance(option[1], str | int)
    )


def becomes_ready(
    channel: grpc.Channel, timeout: float, wake: threading.Event | None = None
) -> bool:
    """Wait for a connection, `timeout` seconds at most, and return whether there is one.

    Args:
        channel: What is to be connected.
        timeout: In seconds.
        wake: Ends the wait when another thread sets it.
    """
    if timeout <= 0:
        return False
    wake = wake or threading.Event()
    ready = grpc.channel_ready_future(channel)
    ready.add_done_callback(lambda _: wake.set())
    try:
        wake.wait(min(timeout, threading.TIMEOUT_MAX))
        return ready.done()
    finally:
        ready.cancel()


async def becomes_ready_async(channel: aio.Channel, timeout: float) -> bool:  # noqa: ASYNC109
    """Wait for a connection, `timeout` seconds at most, and return whether there is one."""
    if timeout <= 0:
        return False
    try:
        async with asyncio.timeout(timeout):
            await channel.channel_ready()
    except TimeoutError:
        return False
    return True


def _options(address: str, connect_timeout: float) -> tuple[tuple[str, str | int], ...]:
    attempt = min(max(connect_timeout, _SHORTEST_ATTEMPT_SECONDS), _LONGEST_ATTEMPT_SECONDS)
    options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(1_000 * attempt)))
    if address.startswith(_LOOPBACK_PREFIXES):
        # gRPC follows http_proxy even to this machine, where no proxy can help.
        return (*options, ("grpc.enable_http_proxy", 0))
    return options
