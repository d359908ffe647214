"""How both clients open a channel: keepalive, message size, retries."""

from __future__ import annotations

import json

import grpc
from grpc import aio

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "stratsweep.v1.OptimizationService"}],
            # gRPC retries only while no message has arrived: never half an optimization twice.
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.2s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
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
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
)

_LOOPBACK_PREFIXES = ("127.", "localhost:", "[::1]:")


def open_channel(address: str) -> grpc.Channel:
    """Return a channel for the sync face; it connects when it is first used."""
    return grpc.insecure_channel(address, options=_options(address))


def open_async_channel(address: str) -> aio.Channel:
    """Return a channel for the async face; to be called inside the loop that uses it."""
    return aio.insecure_channel(address, options=_options(address))


def _options(address: str) -> tuple[tuple[str, str | int], ...]:
    if address.startswith(_LOOPBACK_PREFIXES):
        # gRPC follows http_proxy even to this machine, where no proxy can help.
        return (*_OPTIONS, ("grpc.enable_http_proxy", 0))
    return _OPTIONS
