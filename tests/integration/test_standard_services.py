"""Health and reflection, as a client that knows nothing of Stratsweep uses them."""

from __future__ import annotations

import logging

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from tests.waiting import until

SERVICE = "stratsweep.v1.OptimizationService"
States = health_pb2.HealthCheckResponse
needs_list = pytest.mark.skipif(
    not hasattr(health_pb2, "HealthListRequest"), reason="this grpcio-health-checking has no List"
)


async def watched_states(channel, wanted: int) -> list[int]:
    """What a watcher of the server's health sees, up to the wanted state."""
    call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    states = []
    async for answer in call:
        states.append(answer.status)
        if answer.status == wanted:
            break
    call.cancel()
    return states


async def test_health_turns_serving_once_a_worker_is_ready(start_server):
    connected = await start_server()
    states = await watched_states(connected.channel, States.SERVING)

    assert set(states) <= {States.NOT_SERVING, States.SERVING}
    check = health_pb2.HealthCheckRequest(service="")
    answer = await health_pb2_grpc.HealthStub(connected.channel).Check(check)
    assert answer.status == States.SERVING


@needs_list
async def test_health_lists_the_server_and_its_service(start_server):
    connected = await start_server()
    await watched_states(connected.channel, States.SERVING)
    answer = await health_pb2_grpc.HealthStub(connected.channel).List(
        health_pb2.HealthListRequest()
    )
    states = {name: each.status for name, each in answer.statuses.items()}
    assert states == {"": States.SERVING, SERVICE: States.SERVING}


async def test_health_is_not_serving_while_no_engine_can_be_built(start_server):
    connected = await start_server(engine="tests.engines:ConstructorRaises")
    slots = connected.server.pool.slots
    await until(lambda: all(slot.start_failure_count >= 3 for slot in slots), "every slot gave up")

    check = health_pb2.HealthCheckRequest(service=SERVICE)
    answer = await health_pb2_grpc.HealthStub(connected.channel).Check(check)
    assert answer.status == States.NOT_SERVING


async def test_a_client_without_our_code_finds_and_calls_the_service_by_reflection(start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    stub = reflection_pb2_grpc.ServerReflectionStub(connected.channel)

    async def ask(**question) -> reflection_pb2.ServerReflectionResponse:
        request = reflection_pb2.ServerReflectionRequest(**question)
        async for answer in stub.ServerReflectionInfo(iter([request])):
            return answer
        raise AssertionError("no answer")

    listed = (await ask(list_services="")).list_services_response
    assert SERVICE in [service.name for service in listed.service]

    pool = descriptor_pool.DescriptorPool()
    answer = await ask(file_containing_symbol=SERVICE)
    for serialized in answer.file_descriptor_response.file_descriptor_proto:
        await add_with_dependencies(pool, FileDescriptorProto.FromString(serialized), ask)
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ListStrategies")
    response_type = message_factory.GetMessageClass(method.output_type)
    call = connected.channel.unary_unary(f"/{SERVICE}/ListStrategies")
    response = response_type.FromString(await call(b""))
    assert response.strategies[0].name == "parabola"


METHODS = [
    "/grpc.health.v1.Health/Check",
    pytest.param("/grpc.health.v1.Health/List", marks=needs_list),
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    f"/{SERVICE}/GetServerInfo",
    f"/{SERVICE}/ListStrategies",
    f"/{SERVICE}/Optimize",
]


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_message_are_an_invalid_argument_and_a_short_line_in_the_log(
    start_server, caplog, method
):
    caplog.set_level(logging.INFO)
    connected = await start_server()
    call = connected.channel.stream_stream(method)(iter([b"\xff\xff\xff"]))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (detail,) = rpc_status.from_call(refused.value).details
    info = error_details_pb2.ErrorInfo.FromString(detail.value)
    assert (info.domain, info.reason) == ("stratsweep", "MALFORMED_REQUEST")
    (record,) = [each for each in caplog.records if method in each.getMessage()]
    assert len(record.getMessage()) < 200
    assert record.exc_info is None


async def test_reflection_answers_what_came_before_the_bytes_that_are_no_message(start_server):
    connected = await start_server()
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    call = connected.channel.stream_stream(method)(iter([question, b"\xff\xff\xff"]))

    answer = reflection_pb2.ServerReflectionResponse.FromString(await call.read())
    assert SERVICE in [service.name for service in answer.list_services_response.service]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def add_with_dependencies(pool, file: FileDescriptorProto, ask) -> None:
    """Add a file to a pool after what it imports."""
    for name in file.dependency:
        try:
            pool.FindFileByName(name)
        except KeyError:
            answer = await ask(file_by_filename=name)
            for serialized in answer.file_descriptor_response.file_descriptor_proto:
                await add_with_dependencies(pool, FileDescriptorProto.FromString(serialized), ask)
    pool.AddSerializedFile(file.SerializeToString())
