"""The synchronous client against a real gRPC server that plays scripts."""

import socket

import grpc
import grpc_testing
import pytest
from stratsweep import (
    Client,
    DeadlineExceededError,
    OptimizationCancelledError,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    ParameterType,
    Progress,
    ServerUnavailableError,
    StreamInterruptedError,
)
from stratsweep.v1 import optimization_service_pb2

CONFIG = {"symbols": "SPY", "parameters": {"slow": [50, 100], "fast": range(5, 11, 5)}}


def consume(stream, action):
    for _ in stream:
        action()


@pytest.fixture
def client(server):
    with Client(server.address) as client:
        yield client


def test_a_stream_is_started_progress_and_result(client, server, script):
    server.steps = [script.heartbeat(), *script.whole()]
    events = list(client.optimize("sma_cross", **CONFIG))
    assert [type(event) for event in events] == [
        OptimizationStarted,
        Progress,
        Progress,
        Progress,
        OptimizationResult,
    ]
    assert [event.completed_count for event in events[1:4]] == [1, 3, 4]
    assert events[-1].best.metrics["sharpe_ratio"] == 1.5


def test_the_result_can_be_had_without_looking_at_progress(client, server, script):
    server.steps = script.whole()
    result = client.optimize("sma_cross", **CONFIG).result()
    assert result.state is OptimizationState.SUCCEEDED
    assert (result.total_count, result.succeeded_count, result.failed_count) == (4, 3, 1)
    assert result.optimization_id == "opt-1"
    assert len(result.failures) == 1


def test_the_result_is_kept_after_the_loop(client, server, script):
    server.steps = script.whole()
    with client.optimize("sma_cross", **CONFIG) as stream:
        *_, last = stream
    assert stream.result() is last
    assert stream.result() is last
    assert len(server.requests) == 1


def test_an_optimization_that_failed_is_a_result(client, server, script):
    server.steps = script.failed()
    result = client.optimize("sma_cross", **CONFIG).result()
    assert result.state is OptimizationState.FAILED
    assert result.best is None


def test_leaving_the_loop_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    stream = client.optimize("sma_cross", **CONFIG)
    for _ in stream:
        break
    server.wait_until_ended()
    with pytest.raises(OptimizationCancelledError):
        stream.result()


def test_leaving_the_with_block_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    with client.optimize("sma_cross", **CONFIG) as stream:
        events = iter(stream)
        next(events)
    server.wait_until_ended()


def test_an_error_in_the_loop_cancels_the_call(client, server, script):
    server.steps = [script.started(), server.hang]
    with pytest.raises(ZeroDivisionError):
        consume(client.optimize("sma_cross", **CONFIG), lambda: 1 / 0)
    server.wait_until_ended()


def test_closing_the_client_cancels_its_streams(server, script):
    server.steps = [script.started(), server.hang]
    with Client(server.address) as client:
        events = iter(client.optimize("sma_cross", **CONFIG))
        next(events)
    server.wait_until_ended()
    with pytest.raises(OptimizationCancelledError):
        next(events)


def test_cancelling_raises_in_the_loop(client, server, script):
    server.steps = [script.started(), server.hang]
    stream = client.optimize("sma_cross", **CONFIG)
    events = iter(stream)
    next(events)
    stream.cancel()
    with pytest.raises(OptimizationCancelledError):
        next(events)


def test_a_passed_deadline_is_its_own_error(client, server):
    server.steps = [server.hang]
    with pytest.raises(DeadlineExceededError):
        client.optimize("sma_cross", timeout=0.2, **CONFIG).result()
    server.wait_until_ended()
    assert server.deadline_seconds < 1


def test_a_stream_that_ends_early_is_interrupted(client, server, script):
    server.steps = script.whole()[:-1]
    with pytest.raises(StreamInterruptedError):
        client.optimize("sma_cross", **CONFIG).result()


def test_a_server_that_is_not_there_is_unavailable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        client = Client(f"127.0.0.1:{port}", connect_timeout=0)
        with client, pytest.raises(ServerUnavailableError):
            client.list_strategies()


def test_an_unavailable_server_is_asked_again_before_the_first_message(client, server, script):
    attempts = []

    def refuse_once(context):
        attempts.append(context)
        if len(attempts) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")

    server.steps = [refuse_once, *script.whole()]
    assert client.optimize("sma_cross", **CONFIG).result().state is OptimizationState.SUCCEEDED
    assert len(attempts) == 2


def test_a_connection_lost_in_the_middle_is_not_asked_again(client, server, script):
    server.steps = [
        script.started(),
        lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "going away"),
    ]
    with pytest.raises(StreamInterruptedError, match="going away"):
        client.optimize("sma_cross", **CONFIG).result()
    assert len(server.requests) == 1


def test_a_proxy_is_not_asked_for_this_machine(server, script, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.steps = script.whole()
    with Client(server.address) as client:
        assert client.optimize("sma_cross", **CONFIG).result().best is not None


def test_validating_runs_nothing(client, server, script):
    server.steps = [script.started(rejected_count=3)]
    started = client.validate("sma_cross", **CONFIG)
    assert started.rejected_count == 3
    assert server.requests[0].validate_only


def test_wrong_values_are_refused_before_anything_is_sent(client, server):
    with pytest.raises(TypeError, match="parameter 'fast'"):
        client.optimize("sma_cross", symbols="SPY", parameters={"fast": [1, "a"]})
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        client.optimize("sma_cross", symbols="SPY", parameters={}, speed=3)
    assert server.requests == []


def test_strategies_are_listed_with_their_parameters(client, server, script):
    server.catalogue = script.catalogue()
    catalogue = client.list_strategies()
    (fast,) = catalogue.strategies[0].parameters
    assert (fast.name, fast.type, fast.default) == ("fast", ParameterType.INTEGER, 10)
    assert (fast.minimum, fast.maximum) == (1, None)
    assert [symbol.name for symbol in catalogue.symbols] == ["SPY", "BROKEN"]
    assert catalogue.symbols[0].first_bar_time.isoformat() == "2020-01-02T00:00:00+00:00"
    assert catalogue.symbols[1].first_bar_time is None
    assert [symbol.notes for symbol in catalogue.symbols] == [("were turned round",), ()]
    assert not catalogue.accepts_any_strategy
    assert [each.takes_columns for each in catalogue.strategies] == [None, False]


def test_the_stream_runs_on_a_fake_channel(script, monkeypatch):
    service = optimization_service_pb2.DESCRIPTOR.services_by_name["OptimizationService"]
    channel = grpc_testing.channel([service], grpc_testing.strict_real_time())
    monkeypatch.setattr(grpc, "insecure_channel", lambda *_: channel)
    stream = Client().optimize("sma_cross", **CONFIG)
    _, _, rpc = channel.take_unary_stream(service.methods_by_name["Optimize"])
    rpc.send_initial_metadata(())
    for message in script.whole():
        rpc.send_response(message)
    rpc.terminate((), grpc.StatusCode.OK, "")
    assert stream.result().best.combination_index == 2
