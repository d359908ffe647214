"""gRPC statuses to errors."""

import pickle
from datetime import timedelta

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2
from stratsweep import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidConfigError,
    NotFoundError,
    OptimizationCancelledError,
    ServerBusyError,
    ServerError,
    ServerUnavailableError,
    StratsweepError,
    StreamInterruptedError,
    Violation,
)
from stratsweep._status import error_from_rpc
from stratsweep.v1 import error_reason_pb2

EXPECTED = {
    grpc.StatusCode.CANCELLED: OptimizationCancelledError,
    grpc.StatusCode.UNKNOWN: ServerError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidConfigError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ServerError,
    grpc.StatusCode.PERMISSION_DENIED: ServerError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ServerError,
    grpc.StatusCode.FAILED_PRECONDITION: ServerError,
    grpc.StatusCode.ABORTED: ServerError,
    grpc.StatusCode.OUT_OF_RANGE: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: ServerError,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNAVAILABLE: ServerUnavailableError,
    grpc.StatusCode.DATA_LOSS: ServerError,
    grpc.StatusCode.UNAUTHENTICATED: ServerError,
}


def rpc_error(code, details="what happened", trailing_metadata=()):
    metadata = grpc.aio.Metadata(*trailing_metadata)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details)


@pytest.mark.parametrize("code", [each for each in grpc.StatusCode if each.name != "OK"])
def test_every_status_code_becomes_an_error(code):
    error = error_from_rpc(rpc_error(code))
    assert type(error) is EXPECTED[code]
    assert "what happened" in str(error)


@pytest.mark.parametrize(
    ("details", "message"),
    [
        (
            (
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
                "Failed to connect to remote host: Connection refused"
            ),
            "no server answers: Connection refused",
        ),
        (
            (
                "failed to connect to all addresses; last error: FAILED_PRECONDITION: unix:/tmp/a: "
                "connect failed: addr: unix:/tmp/a error: No such file or directory"
            ),
            "no server answers: No such file or directory",
        ),
        (
            (
                "errors resolving a.invalid:1: [field:hostname lookup error:address lookup failed "
                "for a.invalid:1: Domain name not found]"
            ),
            "no server answers: Domain name not found",
        ),
        ("a proxy says no", "a proxy says no"),
    ],
)
def test_where_nobody_answers_the_message_is_the_last_cause(details, message):
    assert str(error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, details))) == message


def test_a_connection_lost_in_the_middle_is_an_interruption():
    error = error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE), stream_started=True)
    assert type(error) is StreamInterruptedError


def test_a_server_that_is_stopped_in_the_middle_says_so(server, script, statuses):
    info = statuses["error_info"]("DRAINING")
    stopped = statuses["status"](code_pb2.UNAVAILABLE, "the server was stopped", info)
    server.steps = [script.started(), stopped]
    with Client(server.address) as client, pytest.raises(StreamInterruptedError) as interrupted:
        client.optimize("sma_cross", symbols="SPY", parameters={"fast": [5]}).result()
    assert interrupted.value.reason == "DRAINING"
    assert interrupted.value.message == "the server was stopped"


def lost_connection(script, statuses):
    gone = statuses["status"](code_pb2.UNAVAILABLE, "going away")
    return [*script.whole()[:3], gone], StreamInterruptedError


def missing_part(script, statuses):
    return [*script.whole()[:3], script.part(index=1)], StreamInterruptedError


def early_end(script, statuses):
    return script.whole()[:3], StreamInterruptedError


def unreadable_results(script, statuses):
    broken = script.progress(4)
    broken.event.progress.arrow_results = b"no Arrow"
    return [*script.whole()[:3], broken], ServerError


def defect(script, statuses):
    return [*script.whole()[:3], statuses["status"](code_pb2.INTERNAL, "oh")], ServerError


def cancellation(script, statuses):
    cancelled = statuses["status"](code_pb2.CANCELLED, "by a proxy")
    return [*script.whole()[:3], cancelled], OptimizationCancelledError


def deadline(script, statuses):
    late = statuses["status"](code_pb2.DEADLINE_EXCEEDED, "too late")
    return [*script.whole()[:3], late], DeadlineExceededError


async def result_of(face, address):
    """Run a stream on a client of either face to its end."""
    if face is Client:
        with Client(address) as client:
            return client.optimize("s", symbols="X").result()
    async with AsyncClient(address) as client:
        return await client.optimize("s", symbols="X").result()


@pytest.mark.parametrize("face", [Client, AsyncClient])
@pytest.mark.parametrize(
    "end",
    [
        lost_connection,
        missing_part,
        early_end,
        unreadable_results,
        defect,
        cancellation,
        deadline,
    ],
)
async def test_an_error_of_a_stream_says_how_far_which_optimization_had_come(
    server, script, statuses, end, face
):
    server.steps, expected = end(script, statuses)
    with pytest.raises(expected) as caught:
        await result_of(face, server.address)
    error = caught.value
    assert error.optimization_id == "opt-1"
    assert (error.completed_count, error.total_count) == (3, 4)
    assert str(error) == f"{error.message}, after 3 of 4 backtests (optimization opt-1)"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.completed_count) == (str(error), 3)


@pytest.mark.parametrize("face", [Client, AsyncClient])
async def test_an_error_before_the_start_names_no_optimization(server, statuses, face):
    info = statuses["error_info"]("DRAINING")
    server.steps = [statuses["status"](code_pb2.UNAVAILABLE, "shutting down", info)]
    with pytest.raises(ServerUnavailableError) as caught:
        await result_of(face, server.address)
    error = caught.value
    assert error.optimization_id is error.completed_count is error.total_count is None
    assert str(error) == "shutting down"


async def test_a_stream_that_is_cancelled_here_says_how_far_it_had_come(server, script):
    server.steps = [*script.whole()[:3], server.hang]
    async with AsyncClient(server.address) as client:
        stream = client.optimize("s", symbols="X")
        events = aiter(stream)
        for _ in range(3):
            await anext(events)
        stream.cancel()
        with pytest.raises(OptimizationCancelledError, match="after 3 of 4 backtests"):
            await anext(events)


def test_large_counts_are_written_for_people():
    error = StreamInterruptedError("lost")
    error.optimization_id, error.completed_count, error.total_count = "a", 1_234, 10_000
    assert str(error) == "lost, after 1,234 of 10,000 backtests (optimization a)"


def test_details_that_contradict_the_status_are_ignored(statuses):
    status = statuses["invalid_config"](("strategy", "is required"))
    error = error_from_rpc(
        rpc_error(grpc.StatusCode.UNKNOWN, trailing_metadata=status.trailing_metadata)
    )
    assert type(error) is ServerError


def test_garbage_in_the_details_is_ignored():
    metadata = (("grpc-status-details-bin", b"\xff\xff garbage"),)
    error = error_from_rpc(rpc_error(grpc.StatusCode.INTERNAL, trailing_metadata=metadata))
    assert type(error) is ServerError


def refusal(server, status):
    server.steps = [status]
    with Client(server.address) as client, pytest.raises(StratsweepError) as caught:
        client.optimize("s", symbols="X", parameters={"a": 1}).result()
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    return caught.value


def test_a_refused_config_has_every_violation(server, statuses):
    error = refusal(
        server,
        statuses["invalid_config"](("symbols", "name one"), ("parameters[0].name", "unknown")),
    )
    assert type(error) is InvalidConfigError
    assert error.violations == (
        Violation("symbols", "name one"),
        Violation("parameters[0].name", "unknown"),
    )
    assert error.reason == "INVALID_CONFIG"
    assert str(error).splitlines() == [
        "the server refused the request:",
        "  symbols: name one",
        "  parameters[0].name: unknown",
    ]


def test_an_unknown_symbol_is_not_found(server, statuses):
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field="symbols[0]", description="did you mean SPY?")
    info = statuses["error_info"]("UNKNOWN_SYMBOL")
    error = refusal(
        server, statuses["status"](code_pb2.NOT_FOUND, "no such symbol", info, bad_request)
    )
    assert type(error) is NotFoundError
    assert error.reason == "UNKNOWN_SYMBOL"
    assert error.violations[0].field == "symbols[0]"


def test_a_server_that_does_not_know_better_ends_is_told_of(server, statuses):
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field="config.direction", description="3 is no direction")
    info = statuses["error_info"]("INVALID_CONFIG")
    error = refusal(
        server, statuses["status"](code_pb2.INVALID_ARGUMENT, "invalid", info, bad_request)
    )
    [violation] = error.violations
    assert violation.field == "config.direction"
    assert violation.description.startswith("the server does not know each metric's better end")
    assert violation.description.endswith("upgrade the server, or say maximize or minimize")


def test_a_busy_server_says_when_to_ask_again(server, statuses):
    info = statuses["error_info"]("TOO_MANY_OPTIMIZATIONS", limit="64")
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2))
    error = refusal(server, statuses["status"](code_pb2.RESOURCE_EXHAUSTED, "full", info, retry))
    assert type(error) is ServerBusyError
    assert error.retry_after == timedelta(seconds=2)


def test_a_busy_server_may_not_know_when(server, statuses):
    info = statuses["error_info"]("TOO_MANY_OPTIMIZATIONS")
    error = refusal(server, statuses["status"](code_pb2.RESOURCE_EXHAUSTED, "full", info))
    assert type(error) is ServerBusyError
    assert error.retry_after is None


def test_a_defect_of_the_server_has_its_error_id(server, statuses):
    info = statuses["error_info"]("INTERNAL", error_id="5f0c2d")
    error = refusal(server, statuses["status"](code_pb2.INTERNAL, "internal error", info))
    assert type(error) is ServerError
    assert error.error_id == "5f0c2d"
    assert error.reason == "INTERNAL"


def test_reasons_of_another_domain_are_not_ours(server, statuses):
    info = error_details_pb2.ErrorInfo(domain="proxy.example", reason="QUOTA")
    error = refusal(server, statuses["status"](code_pb2.RESOURCE_EXHAUSTED, "quota", info))
    assert type(error) is ServerError
    assert error.reason == ""


@pytest.mark.parametrize("reason", error_reason_pb2.ErrorReason.keys()[1:])
def test_every_reason_of_the_contract_reaches_the_caller(server, statuses, reason):
    info = statuses["error_info"](reason.removeprefix("ERROR_REASON_"))
    error = refusal(server, statuses["status"](code_pb2.INTERNAL, "text", info))
    assert f"ERROR_REASON_{error.reason}" == reason
