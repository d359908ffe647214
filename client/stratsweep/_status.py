"""gRPC statuses to this package's errors: one mapper for the sync and the async face."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from stratsweep._compatibility import explained, unknown_call_text
from stratsweep.errors import (
    DeadlineExceededError,
    InputsChangedError,
    InvalidConfigError,
    NotFoundError,
    OptimizationCancelledError,
    OptimizationExistsError,
    OptimizationRunningError,
    ServerBusyError,
    ServerError,
    ServerUnavailableError,
    StratsweepError,
    StreamInterruptedError,
    Violation,
)

_DOMAIN = "stratsweep"

_UNREACHABLE = re.compile(r"failed to connect to all addresses|errors resolving|DNS resolution")


class _Details:
    """The google.rpc details of a status; empty messages where it has none."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.info = error_details_pb2.ErrorInfo()
        self.bad_request = error_details_pb2.BadRequest()
        self.retry_info = error_details_pb2.RetryInfo()
        for detail in _status_details(error):
            for message in (self.info, self.bad_request, self.retry_info):
                detail.Unpack(message)
        self.reason = self.info.reason if self.info.domain == _DOMAIN else ""

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(
            explained(Violation(each.field, each.description))
            for each in self.bad_request.field_violations
        )


def is_unknown_call(error: grpc.RpcError) -> bool:
    """Return whether a call failed because the server does not know it."""
    return error.code() is grpc.StatusCode.UNIMPLEMENTED


def error_from_rpc(error: grpc.RpcError, *, stream_started: bool = False) -> StratsweepError:
    """Return the most specific error for a failed call.

    Args:
        error: What the sync or the async stub raised.
        stream_started: Whether a message had arrived: a lost connection is then an interruption.
    """
    details = _Details(error)
    code = error.code()
    message = error.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE and stream_started:
        what = message if details.reason else f"the connection was lost: {message}"
        return StreamInterruptedError(what, reason=details.reason)
    make = _BY_REASON.get(details.reason) or _BY_CODE.get(code)
    if make is not None:
        return make(message if details.reason else _without_jargon(message), details)
    if is_unknown_call(error):
        return ServerError(f"{unknown_call_text('this call')} ({message})", reason=details.reason)
    error_id = details.info.metadata.get("error_id", "")
    return ServerError(f"{message} ({code.name})", reason=details.reason, error_id=error_id)


def _without_jargon(message: str) -> str:
    """What gRPC says where it could not connect, by its last cause, which is the system's."""
    if not _UNREACHABLE.match(message):
        return message
    return f"no server answers: {message.rpartition(': ')[2].rstrip('])')}"


def is_without_server(error: grpc.RpcError) -> bool:
    """Return whether a call failed because nobody was there: nobody gave a reason."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and not _Details(error).reason


def _plain(error: type[StratsweepError]) -> _Maker:
    return lambda message, details: error(message, reason=details.reason)


def _with_violations(error: type[InvalidConfigError | NotFoundError]) -> _Maker:
    return lambda message, details: error(
        message, reason=details.reason, violations=details.violations
    )


def _running(message: str, details: _Details) -> OptimizationRunningError:
    address = details.info.metadata.get("address", "")
    return OptimizationRunningError(message, reason=details.reason, address=address)


def _busy(message: str, details: _Details) -> StratsweepError:
    if not details.reason:  # gRPC's, of a message too large: asking again does not heal it
        return ServerError(f"{message} (RESOURCE_EXHAUSTED)")
    info = details.retry_info
    retry_after = info.retry_delay.ToTimedelta() if info.HasField("retry_delay") else None
    return ServerBusyError(message, reason=details.reason, retry_after=retry_after)


def _status_details(error: grpc.RpcError) -> list[Any]:
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except (ValueError, DecodeError):
        # Someone on the way changed the code or the text; these still tell the truth.
        return []
    return [] if status is None else list(status.details)


_Maker: TypeAlias = Callable[[str, _Details], StratsweepError]
_BY_REASON: dict[str, _Maker] = {
    "OPTIMIZATION_EXISTS": _plain(OptimizationExistsError),
    "INPUTS_CHANGED": _plain(InputsChangedError),
    "OPTIMIZATION_RUNNING": _running,
    "RUNS_ELSEWHERE": _running,
    "OPTIMIZATION_INTERRUPTED": _plain(StreamInterruptedError),
}
_BY_CODE: dict[grpc.StatusCode, _Maker] = {
    grpc.StatusCode.INVALID_ARGUMENT: _with_violations(InvalidConfigError),
    grpc.StatusCode.NOT_FOUND: _with_violations(NotFoundError),
    grpc.StatusCode.UNAVAILABLE: _plain(ServerUnavailableError),
    grpc.StatusCode.DEADLINE_EXCEEDED: _plain(DeadlineExceededError),
    grpc.StatusCode.RESOURCE_EXHAUSTED: _busy,
    grpc.StatusCode.CANCELLED: _plain(OptimizationCancelledError),
}
