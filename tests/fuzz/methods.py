"""The RPCs of a running server: whatever its reflection names, so that none is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2  # noqa: F401 - known to the descriptor pool by being imported
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from stratsweep.v1 import optimization_service_pb2

from tests.fuzz.grids import full_request


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
        return message_factory.GetMessageClass(self.request_type)()


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
