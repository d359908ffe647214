"""Drain a server that stops: refuse new calls, give running ones a grace, then end them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc

from stratsweep_server.rpc.interceptors.wrapping import (
    Call,
    Context,
    Continuation,
    MethodHandler,
    call_of,
    with_call,
)
from stratsweep_server.rpc.status import DrainingError
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

_OWN_SERVICES = "/stratsweep."
_LAST_WORDS_SECONDS = 2.0


class DrainInterceptor(grpc.aio.ServerInterceptor):
    """End calls with a status of our own, before gRPC does with one that tells nothing.

    Health and reflection are answered until the end, and nobody waits for theirs.
    """

    def __init__(self) -> None:
        self._is_draining = False
        self._is_over = False
        self._tasks: dict[asyncio.Task[Any], str] = {}

    def begin(self) -> None:
        """Refuse new calls of our own services from now on."""
        self._is_draining = True

    async def wait(self, seconds: float) -> None:
        """Wait until no call of our own services runs, but no longer than `seconds`."""
        tasks = [task for task, method in self._tasks.items() if _is_own(method)]
        if tasks:
            _, running = await asyncio.wait(tasks, timeout=seconds)
            if running:
                logger.warning(
                    "ending %s, the grace is over", counted(len(running), "running call")
                )

    async def end(self) -> None:
        """End what still runs, and wait for a moment until clients have been told."""
        self._is_over = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> MethodHandler | None:
        """Wrap the handler of a call, whichever service it is of."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        return with_call(handler, self._ending(call_of(handler), handler_call_details.method))

    def _ending(self, inner: Call, method: str) -> Call:
        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
            if self._is_draining and _is_own(method):
                raise DrainingError("the server is shutting down")
            task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
            self._tasks[task] = method
            try:
                return await inner(request, context)
            except asyncio.CancelledError:
                if self._is_over:
                    raise DrainingError("the server was stopped before the end") from None
                raise
            finally:
                del self._tasks[task]

        return call


def _is_own(method: str) -> bool:
    return method.startswith(_OWN_SERVICES)
