"""The RPCs of a running server: whatever its reflection names, so that none is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2  # noqa: F401 - known to the descriptor pool by being imported
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
)

from tests.fuzz.grids import SYMBOL, full_request, seconds


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Attributes:
        path: `/package.Service/Method`.
        request_type: What it takes.
    """

    path: str
    request_type: Descriptor

    def example(self) -> Message:
        """A request that the server answers."""
        if self.request_type is optimization_service_pb2.OptimizeRequest.DESCRIPTOR:
            return full_request()
        return full_reading_request(message_factory.GetMessageClass(self.request_type)())


def full_reading_request(request: Message, optimization_id: str = "fuzzed") -> Message:
    """Set every field of a request that reads optimizations, but for `page_token`, to a good value.

    Others are left as they are.
    """
    names = set(request.DESCRIPTOR.fields_by_name)
    values = {name: value for name, value in _READING_FIELDS.items() if name in names}
    if "optimization_id" in names:
        values["optimization_id"] = optimization_id
    return type(request)(**values)


_READING_FIELDS = {
    "after_sequence_number": 2,
    "progress_interval": seconds(0.01),
    "result_format": outcome_pb2.RESULT_FORMAT_ARROW,
    "page_size": 3,
    "states": [optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED],
    "strategy": "quick",
    "symbol": SYMBOL,
    "labels": {"desk": "rates"},
    "created_after": Timestamp(seconds=1),
    "created_before": Timestamp(seconds=4_000_000_000),
    "id_prefix": "fuzz",
    "metric": "score",
    "direction": optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE,
    "requirements": ["score > 0"],
    "has_requirements": True,
    "reason": "enough",
}


async def methods_of(channel: grpc.aio.Channel) -> list[Method]:
    """Every RPC of every service that the server lists."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([question]))
    answer = await call.read()
    call.cancel()
    pool = descriptor_pool.Default()
    return [
        Method(f"/{service.name}/{method.name}", method.input_type)
        for service in answer.list_services_response.service
        for method in pool.FindServiceByName(service.name).methods
    ]
