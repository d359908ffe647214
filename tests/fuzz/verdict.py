"""Whether a hostile call ended as the contract says. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from stratsweep.v1 import error_reason_pb2

from tests.fuzz.attacks import ARITHMETIC, MISSHAPEN, Attack
from tests.fuzz.calls import KEPT_MESSAGES, Ending
from tests.fuzz.streams import refusal_violations, stream_violations

_MAX_TRAILER_BYTES = 8 * 1024
"""Beyond them gRPC's clients reject the trailers, and with them the status."""
_LARGEST_MESSAGE = 4 * 2**20
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_FAILURES = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}
_FROM_THIS_SIDE = "Internal error from Core"
"""What this client says of its own message that came too late for a call that had ended."""
_OWN = "/stratsweep."
_OPTIMIZE = "/stratsweep.v1.OptimizationService/Optimize"
_WATCH = "/stratsweep.v1.OptimizationService/WatchOptimization"


def violations(attack: Attack, ending: Ending) -> Iterator[str]:
    """What is wrong with the way a call ended, in words."""
    size = trailer_bytes(ending)
    if size > _MAX_TRAILER_BYTES:
        yield f"{size:,} bytes of trailers; clients reject more than {_MAX_TRAILER_BYTES:,}"
    if attack.kind == MISSHAPEN:
        yield from _misshapen_violations(ending)
    elif ending.code in (None, grpc.StatusCode.OK):
        yield from _answer_violations(attack, ending)
    elif ending.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        yield f"no answer in {ending.seconds:.1f} s"
    elif ending.code not in _REFUSALS:
        yield f"{ending.code.name}: {ending.details}"
    elif attack.path.startswith(_OWN) and max(map(len, attack.messages)) < _LARGEST_MESSAGE:
        yield from _refusal_violations(ending)
        if attack.kind == ARITHMETIC:
            yield from refusal_violations(attack.message(), ending.details)


def trailer_bytes(ending: Ending) -> int:
    """The size of the trailers as gRPC counts it: names, encoded values, 32 for each."""
    message = quote(ending.details, safe="".join(map(chr, range(0x20, 0x7F))).replace("%", ""))
    entries = [("grpc-status", "0"), ("grpc-message", message), *ending.trailers]
    return sum(len(name) + _encoded_size(name, value) + 32 for name, value in entries)


def _misshapen_violations(ending: Ending) -> Iterator[str]:
    """A call without its message, with two, or of no RPC: any end but the server's failure."""
    if ending.code in _FAILURES and ending.details != _FROM_THIS_SIDE:
        yield f"{ending.code.name}: {ending.details}"


def _encoded_size(name: str, value: str | bytes) -> int:
    return -(-len(value) * 4 // 3) if name.endswith("-bin") else len(value)


def _refusal_violations(ending: Ending) -> Iterator[str]:
    """A refusal says why: to people by its message, to programs by its details."""
    packed = dict(ending.trailers).get("grpc-status-details-bin")
    if not isinstance(packed, bytes):
        yield f"{ending.code.name} without details: {ending.details}"
        return
    try:
        status = status_pb2.Status.FromString(packed)
        infos = _unpacked(status, error_details_pb2.ErrorInfo)
        retries = _unpacked(status, error_details_pb2.RetryInfo)
    except DecodeError as error:
        yield f"{ending.code.name} with details that do not decode: {error}"
        return
    if (status.code, status.message) != (ending.code.value[0], ending.details):
        yield f"{ending.code.name}, {ending.details!r} with other details: {status}"
    reasons = [f"ERROR_REASON_{info.reason}" for info in infos if info.domain == "stratsweep"]
    if len(reasons) != 1 or reasons[0] not in error_reason_pb2.ErrorReason.keys():  # noqa: SIM118 - no mapping
        yield f"{ending.code.name} with the reasons {reasons}"
    if ending.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not retries:
        yield f"RESOURCE_EXHAUSTED without RetryInfo: {ending.details}"
    if not ending.details:
        yield f"{ending.code.name} without a message"


def _unpacked(status: status_pb2.Status, kind: type) -> list:
    return [kind.FromString(each.value) for each in status.details if each.Is(kind.DESCRIPTOR)]


def _answer_violations(attack: Attack, ending: Ending) -> Iterator[str]:
    try:
        answers = [_response_class(attack.path).FromString(data) for data in ending.messages]
    except DecodeError as error:
        yield f"an answer that does not decode: {error}"
        return
    if not answers and attack.path != _WATCH:  # of which nothing may be left
        yield "an end without an answer"
    if attack.path == _OPTIMIZE:
        events = [each.event for each in answers]
        is_whole = ending.code is not None and len(answers) < KEPT_MESSAGES
        yield from stream_violations(attack.message(), events, is_whole=is_whole)


def _response_class(path: str) -> type:
    service, method = path[1:].split("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    return message_factory.GetMessageClass(found.output_type)
