"""The outermost layer of every call: errors become statuses, and nothing leaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from stratsweep_server.rpc.status import (
    DrainingError,
    ErrorStatus,
    MalformedRequestError,
    status_of,
)

logger = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Handler: TypeAlias = Callable[[Any, Context], Awaitable[Any]]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Maps what a handler raises to a status.

    Args:
        is_stopping: Whether the server stops; else it is the client's doing when a call is
            cancelled: gRPC cancels the handler for both, and its context says neither.

    Handlers are coroutines: unary ones return the response, streaming ones write with
    `context.write`. An async generator would not do: cancelled while it is suspended at a `yield`,
    its cleanup waits for the garbage collector.
    """

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MethodHandler | None:
        """Wrap the handler of a call of our own services."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/stratsweep."):
            return handler
        streams = handler.response_streaming
        make: Any = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )
        inner: Any = handler.unary_stream if streams else handler.unary_unary
        deserialize: Any = handler.request_deserializer
        serialize: Any = handler.response_serializer
        wrapped: MethodHandler = make(
            self._mapping_errors(inner, handler_call_details.method),
            request_deserializer=_tolerant(deserialize),
            response_serializer=_passing_bytes(serialize),
        )
        return wrapped

    def _mapping_errors(self, inner: Handler, method: str) -> Handler:
        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
            try:
                if isinstance(request, MalformedRequestError):
                    raise request
                return await inner(request, context)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError:
                status = status_of(DrainingError("the server stopped before the end"))
                cause = status.message
                if not self._is_stopping():
                    cause = "its client cancelled, left, or let its deadline pass"
                logger.info("%s ended: %s", method, cause)
                # A handler that just ends cancelled leaves its client waiting for ever: grpc#29248.
                await _abort(context, status)
            except Exception as error:
                status = status_of(error)
                if status.code is grpc.StatusCode.INTERNAL:
                    logger.exception("%s failed, %s", method, status.metadata)
                else:
                    logger.info("%s refused: %s", method, status.message)
                await _abort(context, status)

        return call


async def _abort(context: Context, status: ErrorStatus) -> None:
    await context.abort(status.code, status.message, status.trailing_metadata())


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Let bytes that do not parse reach the handler's wrapper instead of failing as UNKNOWN."""

    def parse(data: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(data)
        except DecodeError:
            return MalformedRequestError("the request's bytes are not the message this RPC takes")

    return parse


def _passing_bytes(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Let a handler write messages that it has serialized itself."""

    def write(response: Any) -> bytes:  # noqa: ANN401 - any message
        return response if isinstance(response, bytes) else serialize(response)

    return write
