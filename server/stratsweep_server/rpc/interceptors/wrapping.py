"""How an interceptor gets around a handler: the same RPC, with another call and other codecs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Call: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""A handler's coroutine. Unary ones return the response, streaming ones write with
`context.write`. An async generator would not do: cancelled while it is suspended at a `yield`, its
cleanup waits for the garbage collector."""
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["MethodHandler | None"]]
Deserialize: TypeAlias = Callable[[bytes], Any]
Serialize: TypeAlias = Callable[[Any], bytes]


def call_of(handler: MethodHandler) -> Call:
    """The coroutine of a handler whose request is one message."""
    call: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
    return call  # type: ignore[no-any-return]


def with_call(
    handler: MethodHandler, call: Call, deserialize: Deserialize, serialize: Serialize
) -> MethodHandler:
    """A handler of the same kind that runs `call`."""
    make: Any = grpc.unary_unary_rpc_method_handler
    if handler.response_streaming:
        make = grpc.unary_stream_rpc_method_handler
    made: MethodHandler = make(
        call, request_deserializer=deserialize, response_serializer=serialize
    )
    return made
