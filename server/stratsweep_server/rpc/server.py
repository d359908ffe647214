"""Serve our service, health and reflection over gRPC on one address."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from stratsweep.v1 import optimization_service_pb2
from stratsweep.v1.optimization_service_pb2_grpc import add_OptimizationServiceServicer_to_server

from stratsweep_server.rpc.interceptors.draining import DrainInterceptor
from stratsweep_server.rpc.interceptors.errors import ErrorInterceptor
from stratsweep_server.rpc.port import require_port, require_socket
from stratsweep_server.rpc.service import OptimizationService
from stratsweep_server.rpc.socket_file import SocketFile

logger = logging.getLogger(__name__)

SERVICE_NAME = optimization_service_pb2.DESCRIPTOR.services_by_name["OptimizationService"].full_name
_HEALTH_NAMES = ("", SERVICE_NAME)
"""What health can be asked about: the server, and our service."""
_UNIX = "unix:"
_CLOSING_SECONDS = 1.0

# Hour-long streams: pings find a frozen client in about 40 s. keepalive_timeout_ms alone is not
# enough: without ping_timeout_ms a frozen client took 62 s longer. A client may ping every second,
# with or without a call; half of that allows for pings that are held up on their way. Of one that
# pings more often the connection is closed, which some clients report as RESOURCE_EXHAUSTED.
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.so_reuseport", 0),
    # Calls wait until the event loop comes to them, so that the service itself answers each one:
    # with gRPC's defaults, those beyond 1,000, or older than 30 s, end as CANCELLED. A waiting call
    # takes 7 KB, and at most 64 KB of its request.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 10_000),
    ("grpc.server_max_unrequested_time_in_server", 300),
)


class _HealthServicer(health.aio.HealthServicer):
    """Add List to gRPC's own servicer, which does not answer it yet, nor has it before 1.85."""

    # The type stubs do not have List yet, either.
    async def List(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401, ARG002, N802
        """Return the state of each name that Check knows."""
        check = health_pb2.HealthCheckRequest
        states = {name: await self.Check(check(service=name), context) for name in _HEALTH_NAMES}
        return health_pb2.HealthListResponse(statuses=states)  # type: ignore[attr-defined]


class RpcServer:
    """Run a gRPC server that is bound on construction.

    Args:
        listen: `host:port` (port 0: a free one) or `unix:PATH`.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(self, listen: str) -> None:
        self._drain = DrainInterceptor()
        # The first is the outermost.
        interceptors = [ErrorInterceptor(), self._drain]
        self._server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
        self._health = _HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._socket_file: SocketFile | None = None
        self.address = self._bind(listen)

    async def start(self, service: OptimizationService) -> None:
        """Serve our service; health says NOT_SERVING until `set_serving`."""
        add_OptimizationServiceServicer_to_server(service, self._server)
        await self.set_serving(is_serving=False)
        await self._server.start()

    async def set_serving(self, *, is_serving: bool) -> None:
        """Tell health checks and watchers whether the server can run optimizations."""
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if is_serving else states.NOT_SERVING
        for name in _HEALTH_NAMES:
            await self._health.set(name, state)

    async def stop(self, grace: float, before_end: Callable[[], None]) -> None:
        """Refuse new calls, give running ones `grace` seconds, then end them.

        Until then health answers NOT_SERVING, new connections, too; so the listener is closed last.

        Args:
            grace: Seconds.
            before_end: Called before they are ended.
        """
        self._drain.begin()
        await self._health.enter_graceful_shutdown()
        try:
            await self._drain.wait(grace)
        finally:  # a second Ctrl-C cancels the wait
            before_end()
            await self._drain.end()
            self._remove_socket_file()
            await self._server.stop(_CLOSING_SECONDS)

    def _bind(self, listen: str) -> str:
        try:
            if listen.startswith(_UNIX):
                self._socket_file = SocketFile(Path(unquote(listen.removeprefix(_UNIX))))
                self._socket_file.take(self._bind_socket)
                return listen
            return f"{listen.rpartition(':')[0]}:{self._bind_port(listen)}"
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"cannot listen on {listen}: {reason}") from error

    def _bind_socket(self, path: Path) -> None:
        require_socket(path)
        # gRPC reads the path as a part of a URI.
        self._server.add_insecure_port(_UNIX + quote(str(path)))

    def _bind_port(self, listen: str) -> int:
        require_port(listen)
        try:
            return self._server.add_insecure_port(listen)
        except RuntimeError:  # somebody was faster, or it knows more
            require_port(listen)
            raise

    def _remove_socket_file(self) -> None:
        if self._socket_file is not None:
            try:
                self._socket_file.remove()
            except OSError as error:
                logger.warning("the socket's file is left where it is: %s", error)
