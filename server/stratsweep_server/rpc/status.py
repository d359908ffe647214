"""Errors of starting to gRPC statuses: code, message, and google.rpc details for programs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from stratsweep.v1 import error_reason_pb2
from stratsweep.v1.error_reason_pb2 import ErrorReason
from stratsweep.v1.optimization_service_pb2 import OptimizeRequest

from stratsweep_server.execution.pool import WorkersUnavailableError
from stratsweep_server.optimization.validation import (
    InvalidConfigError,
    Violation,
    ViolationKind,
)
from stratsweep_server.rpc.responses import duration

ERROR_DOMAIN = "stratsweep"

_REQUEST_FIELDS = set(OptimizeRequest.DESCRIPTOR.fields_by_name) - {"config"}
_MAX_VIOLATIONS = 20
_MAX_VIOLATION_BYTES = 3_000
_MAX_MESSAGE_CHARACTERS = 700


class DrainingError(Exception):
    """The server is shutting down."""


class TooManyOptimizationsError(Exception):
    """The server runs as many optimizations as it is allowed to."""

    def __init__(self, limit: int, retry_seconds: float) -> None:
        self.limit = limit
        self.retry_seconds = retry_seconds
        super().__init__(f"{limit} optimizations are running, the server's limit; try again later")


class MalformedRequestError(Exception):
    """Bytes that are not the message that the RPC takes."""


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """A status to end a call with.

    Attributes:
        code: A gRPC status code.
        message: For people.
        reason: For programs.
        metadata: For programs; see error_reason.proto.
        details: More google.rpc details.
    """

    code: grpc.StatusCode
    message: str
    reason: ErrorReason.ValueType
    metadata: dict[str, str]
    details: tuple[Message, ...] = ()

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The details as gRPC carries them: under 8 KB, beyond which trailers are rejected."""
        reason = ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")
        info = error_details_pb2.ErrorInfo(
            reason=reason, domain=ERROR_DOMAIN, metadata=self.metadata
        )
        status = status_pb2.Status(
            code=getattr(code_pb2, self.code.name),
            message=self.message,
            details=[_pack(detail) for detail in (info, *self.details)],
        )
        return tuple(rpc_status.to_status(status).trailing_metadata)


def status_of(error: Exception) -> ErrorStatus:
    """The status of an error; an unforeseen one is INTERNAL and does not leak its text."""
    if isinstance(error, InvalidConfigError):
        return _invalid_config(error.violations)
    if isinstance(error, TooManyOptimizationsError):
        retry = error_details_pb2.RetryInfo(retry_delay=duration(error.retry_seconds))
        return ErrorStatus(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            str(error),
            error_reason_pb2.ERROR_REASON_TOO_MANY_OPTIMIZATIONS,
            {"limit": str(error.limit)},
            (retry,),
        )
    simple = {
        MalformedRequestError: (
            grpc.StatusCode.INVALID_ARGUMENT,
            error_reason_pb2.ERROR_REASON_MALFORMED_REQUEST,
        ),
        DrainingError: (grpc.StatusCode.UNAVAILABLE, error_reason_pb2.ERROR_REASON_DRAINING),
        WorkersUnavailableError: (
            grpc.StatusCode.UNAVAILABLE,
            error_reason_pb2.ERROR_REASON_NO_WORKERS,
        ),
    }
    if type(error) in simple:
        code, reason = simple[type(error)]
        first_line = str(error).partition("\n")[0]  # tracebacks are the log's
        return ErrorStatus(code, first_line[:_MAX_MESSAGE_CHARACTERS], reason, {})
    error_id = secrets.token_hex(4)
    return ErrorStatus(
        grpc.StatusCode.INTERNAL,
        f"the server failed; its log has the reason under error id {error_id}",
        error_reason_pb2.ERROR_REASON_INTERNAL,
        {"error_id": error_id},
    )


def _invalid_config(violations: Sequence[Violation]) -> ErrorStatus:
    kinds = {violation.kind for violation in violations}
    code, reason = grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_INVALID_CONFIG
    if kinds == {ViolationKind.UNKNOWN_STRATEGY}:
        code = grpc.StatusCode.NOT_FOUND
        reason = error_reason_pb2.ERROR_REASON_UNKNOWN_STRATEGY
    elif kinds == {ViolationKind.UNKNOWN_SYMBOL}:
        code = grpc.StatusCode.NOT_FOUND
        reason = error_reason_pb2.ERROR_REASON_UNKNOWN_SYMBOL
    message = "; ".join(f"{each.field}: {each.description}" for each in violations)
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = f"{message[:_MAX_MESSAGE_CHARACTERS]}… ({len(violations)} violations)"
    count = {"violation_count": str(len(violations))}
    return ErrorStatus(code, message, reason, count, (_bad_request(violations),))


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    """Every violation that fits; `violation_count` in the metadata tells how many there are."""
    details = error_details_pb2.BadRequest()
    for violation in violations[:_MAX_VIOLATIONS]:
        field = details.field_violations.add()
        in_request = violation.field in _REQUEST_FIELDS
        field.field = violation.field if in_request else f"config.{violation.field}"
        field.description = violation.description[:500]
        if details.ByteSize() > _MAX_VIOLATION_BYTES and len(details.field_violations) > 1:
            del details.field_violations[-1]
            break
    return details


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
