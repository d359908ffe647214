"""Map errors to gRPC statuses: code, message, and google.rpc details for programs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from stratsweep.v1 import error_reason_pb2
from stratsweep.v1.error_reason_pb2 import ErrorReason
from stratsweep.v1.optimization_service_pb2 import OptimizeRequest

from stratsweep_server.execution.pool import WorkersUnavailableError
from stratsweep_server.market_data.storage import StorageUnavailableError
from stratsweep_server.optimization.inputs import InputsChangedError
from stratsweep_server.optimization.kept import OptimizationInterruptedError
from stratsweep_server.optimization.memory import MemoryExhaustedError
from stratsweep_server.optimization.places import TooManyOptimizationsError
from stratsweep_server.optimization.preparer import OptimizationRunningError
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationExistsError,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.optimization.validation import InvalidConfigError, ViolationKind
from stratsweep_server.rpc.requests import InvalidRequestError
from stratsweep_server.rpc.responses import duration
from stratsweep_server.rpc.trailers import (
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    MAX_VIOLATIONS_BYTES,
    percent_encoded_size,
    shortened,
)
from stratsweep_server.texts import counted

ERROR_DOMAIN = "stratsweep"

_REQUEST_FIELDS = set(OptimizeRequest.DESCRIPTOR.fields_by_name) - {"config"}
_MAX_VIOLATIONS = 20
_MAX_FIELD_BYTES = 200
_MAX_DESCRIPTION_BYTES = 600


_NO_RETRIES = ("grpc-retry-pushback-ms", "-1")
"""Tells gRPC's own retries that asking again at once is of no use.

Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback.
"""


class DrainingError(Exception):
    """Report that the server is shutting down."""


class MalformedRequestError(Exception):
    """Report bytes that are not the message that the RPC takes."""


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """Describe a status to end a call with.

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
        """Return the details as gRPC carries them."""
        reason = ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")
        info = error_details_pb2.ErrorInfo(
            reason=reason, domain=ERROR_DOMAIN, metadata=self.metadata
        )
        status = status_pb2.Status(
            code=getattr(code_pb2, self.code.name),
            message=self.message,
            details=[_pack(detail) for detail in (info, *self.details)],
        )
        trailers = tuple(rpc_status.to_status(status).trailing_metadata)
        is_lasting = self.reason == error_reason_pb2.ERROR_REASON_NO_WORKERS
        return (*trailers, _NO_RETRIES) if is_lasting else trailers


def status_of(error: Exception) -> ErrorStatus:
    """Return the status of an error; an unforeseen one is INTERNAL and does not leak its text."""
    row = _STATUSES.get(_key(error))
    if row is not None:
        metadata = {
            name: shortened(value, MAX_METADATA_BYTES)
            for name, value in row.metadata(error).items()
        }
        return ErrorStatus(row.code, row.message(error), row.reason, metadata, row.details(error))
    error_id = secrets.token_hex(4)
    return ErrorStatus(
        grpc.StatusCode.INTERNAL,
        f"the server failed; its log has the reason under error id {error_id}",
        error_reason_pb2.ERROR_REASON_INTERNAL,
        {"error_id": error_id},
    )


def _key(error: Exception) -> type[Exception] | ViolationKind:
    """Return what an error's row stands under: its type, or the kind of all of its violations."""
    if not isinstance(error, InvalidConfigError):
        return type(error)
    kinds = {violation.kind for violation in error.violations}
    return kinds.pop() if len(kinds) == 1 else ViolationKind.INVALID


def _first_line(error: Exception) -> str:
    """Return the text of an error without the traceback that may follow, which is the log's."""
    return _message(str(error).partition("\n")[0])


def _violations_text(error: InvalidConfigError) -> str:
    return _message(str(error), f" ({counted(len(error.violations), 'violation')})")


def _message(text: str, note_if_cut: str = "") -> str:
    message = shortened(text, MAX_MESSAGE_BYTES - len(note_if_cut), percent_encoded_size)
    return message if message == text else message + note_if_cut


def _bad_request(error: InvalidConfigError) -> error_details_pb2.BadRequest:
    """List every violation that fits; the metadata's `violation_count` tells how many there are."""
    details = error_details_pb2.BadRequest()
    for violation in error.violations[:_MAX_VIOLATIONS]:
        is_own = isinstance(error, InvalidRequestError)
        in_request = is_own or violation.field.partition("[")[0] in _REQUEST_FIELDS
        field = violation.field if in_request else f"config.{violation.field}"
        details.field_violations.add(
            field=shortened(field, _MAX_FIELD_BYTES),
            description=shortened(violation.description, _MAX_DESCRIPTION_BYTES),
        )
        if details.ByteSize() > MAX_VIOLATIONS_BYTES:
            del details.field_violations[-1]
            break
    return details


def _retry_info(
    error: TooManyOptimizationsError | MemoryExhaustedError,
) -> tuple[error_details_pb2.RetryInfo]:
    return (error_details_pb2.RetryInfo(retry_delay=duration(error.retry_seconds)),)


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


@dataclass(frozen=True, slots=True)
class _Row:
    """Describe how errors of a type become a status; see `ErrorStatus`."""

    code: grpc.StatusCode
    reason: ErrorReason.ValueType
    message: Callable[[Any], str] = _first_line
    metadata: Callable[[Any], dict[str, str]] = lambda _: {}
    details: Callable[[Any], tuple[Message, ...]] = lambda _: ()


def _violations_row(code: grpc.StatusCode, reason: ErrorReason.ValueType) -> _Row:
    return _Row(
        code,
        reason,
        message=_violations_text,
        metadata=lambda error: {"violation_count": str(len(error.violations))},
        details=lambda error: (_bad_request(error),),
    )


_STATUSES: Mapping[type[Exception] | ViolationKind, _Row] = {
    ViolationKind.INVALID: _violations_row(
        grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_INVALID_CONFIG
    ),
    ViolationKind.UNKNOWN_STRATEGY: _violations_row(
        grpc.StatusCode.NOT_FOUND, error_reason_pb2.ERROR_REASON_UNKNOWN_STRATEGY
    ),
    ViolationKind.UNKNOWN_SYMBOL: _violations_row(
        grpc.StatusCode.NOT_FOUND, error_reason_pb2.ERROR_REASON_UNKNOWN_SYMBOL
    ),
    MalformedRequestError: _Row(
        grpc.StatusCode.INVALID_ARGUMENT, error_reason_pb2.ERROR_REASON_MALFORMED_REQUEST
    ),
    TooManyOptimizationsError: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        error_reason_pb2.ERROR_REASON_TOO_MANY_OPTIMIZATIONS,
        metadata=lambda error: {"limit": str(error.limit)},
        details=_retry_info,
    ),
    MemoryExhaustedError: _Row(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        error_reason_pb2.ERROR_REASON_MEMORY_EXHAUSTED,
        metadata=lambda error: {
            "needed_bytes": str(error.needed_bytes),
            "limit_bytes": str(error.limit_bytes),
        },
        details=_retry_info,
    ),
    StorageUnavailableError: _Row(
        grpc.StatusCode.UNAVAILABLE,
        error_reason_pb2.ERROR_REASON_STORAGE_UNAVAILABLE,
        metadata=lambda error: {"folder": error.purpose},
    ),
    DrainingError: _Row(grpc.StatusCode.UNAVAILABLE, error_reason_pb2.ERROR_REASON_DRAINING),
    WorkersUnavailableError: _Row(
        grpc.StatusCode.UNAVAILABLE, error_reason_pb2.ERROR_REASON_NO_WORKERS
    ),
    OptimizationExistsError: _Row(
        grpc.StatusCode.ALREADY_EXISTS, error_reason_pb2.ERROR_REASON_OPTIMIZATION_EXISTS
    ),
    UnknownOptimizationError: _Row(
        grpc.StatusCode.NOT_FOUND, error_reason_pb2.ERROR_REASON_UNKNOWN_OPTIMIZATION
    ),
    InputsChangedError: _Row(
        grpc.StatusCode.FAILED_PRECONDITION, error_reason_pb2.ERROR_REASON_INPUTS_CHANGED
    ),
    StoreUnavailableError: _Row(
        grpc.StatusCode.UNAVAILABLE, error_reason_pb2.ERROR_REASON_STORE_UNAVAILABLE
    ),
    OptimizationRunningError: _Row(
        grpc.StatusCode.FAILED_PRECONDITION, error_reason_pb2.ERROR_REASON_OPTIMIZATION_RUNNING
    ),
    HeldElsewhereError: _Row(
        grpc.StatusCode.FAILED_PRECONDITION,
        error_reason_pb2.ERROR_REASON_RUNS_ELSEWHERE,
        metadata=lambda error: {"address": error.address},
    ),
    OptimizationInterruptedError: _Row(
        grpc.StatusCode.UNAVAILABLE, error_reason_pb2.ERROR_REASON_OPTIMIZATION_INTERRUPTED
    ),
}
"""An error that clients are to know is a row here, and a reason in error_reason.proto."""
