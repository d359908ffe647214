"""Turn errors into statuses in the outermost layer of every call, so that nothing leaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from stratsweep_server.rpc.interceptors.wrapping import (
    Call,
    Context,
    Continuation,
    Deserialize,
    MethodHandler,
    Serialize,
    call_of,
    with_call,
)
from stratsweep_server.rpc.status import (
    DrainingError,
    ErrorStatus,
    MalformedRequestError,
    status_of,
)

logger = logging.getLogger(__name__)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Map what a handler raises to a status."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> MethodHandler | None:
        """Wrap the handler of a call, whichever service it is of."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # gRPC answers UNIMPLEMENTED
        deserialize: Any = handler.request_deserializer
        serialize: Any = handler.response_serializer
        return with_call(
            handler,
            _mapping_errors(call_of(handler), handler_call_details.method),
            _tolerant(deserialize),
            _passing_bytes(serialize),
        )


def _mapping_errors(inner: Call, method: str) -> Call:
    async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
        try:
            return await inner(_checked(request), context)
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError:
            logger.info("%s ended: its client cancelled, left, or let its deadline pass", method)
            # A handler that only ends as cancelled leaves its client waiting for ever: grpc#29248.
            await _abort(context, status_of(DrainingError("the server gave the call up")))
        except Exception as error:
            status = status_of(error)
            if status.code is grpc.StatusCode.INTERNAL:
                logger.exception("%s failed, %s", method, status.metadata)
            else:
                logger.info("%s ended as %s: %s", method, status.code.name, status.message)
            await _abort(context, status)

    return call


def _checked(request: Any) -> Any:  # noqa: ANN401 - any message
    """Return a request, or a stream of them, that raises where bytes did not parse."""
    if isinstance(request, AsyncIterator):
        return _checked_stream(request)
    if isinstance(request, MalformedRequestError):
        raise request
    return request


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


async def _abort(context: Context, status: ErrorStatus) -> None:
    await context.abort(status.code, status.message, status.trailing_metadata())


def _tolerant(deserialize: Deserialize) -> Deserialize:
    """Let bytes that do not parse reach the handler's wrapper instead of failing as UNKNOWN."""

    def parse(data: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserialize(data)
        except DecodeError:
            return MalformedRequestError("the request's bytes are not the message this RPC takes")

    return parse


def _passing_bytes(serialize: Serialize) -> Serialize:
    """Let a handler write messages that it has serialized itself."""

    def write(response: Any) -> bytes:  # noqa: ANN401 - any message
        return response if isinstance(response, bytes) else serialize(response)

    return write
