"""Wrap a handler for an interceptor: the same RPC, with another call and other codecs."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Call: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""A handler's coroutine: it returns the response, or writes several with `context.write`. An async
generator would not do: cancelled while it is suspended at a `yield`, its cleanup waits for the
garbage collector."""
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["MethodHandler | None"]]
Deserialize: TypeAlias = Callable[[bytes], Any]
Serialize: TypeAlias = Callable[[Any], bytes]


def call_of(handler: MethodHandler) -> Call:
    """Return the coroutine of a handler; one that yields its responses is made to write them."""
    call: Any = getattr(handler, _kind(handler))
    return _writing(call) if inspect.isasyncgenfunction(call) else call


def with_call(
    handler: MethodHandler,
    call: Call,
    deserialize: Deserialize | None = None,
    serialize: Serialize | None = None,
) -> MethodHandler:
    """Return a handler of the same kind that runs `call`; without other codecs, with its own."""
    make: Any = getattr(grpc, f"{_kind(handler)}_rpc_method_handler")
    made: MethodHandler = make(
        call,
        request_deserializer=deserialize or handler.request_deserializer,
        response_serializer=serialize or handler.response_serializer,
    )
    return made


def _kind(handler: MethodHandler) -> str:
    """Return `unary_unary`, `unary_stream`, `stream_unary` or `stream_stream`."""
    names = {False: "unary", True: "stream"}
    return f"{names[handler.request_streaming]}_{names[handler.response_streaming]}"


def _writing(call: Callable[[Any, Context], AsyncGenerator[Any, None]]) -> Call:
    async def write_responses(request: Any, context: Context) -> None:  # noqa: ANN401
        async with aclosing(call(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return write_responses
