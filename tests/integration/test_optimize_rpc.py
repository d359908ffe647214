"""The Optimize RPC, called with plain generated stubs on a real server with real workers."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter

import grpc
import pyarrow as pa
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1 import (
    optimization_config_pb2 as config_pb2,
)
from stratsweep.v1 import (
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
    parameter_pb2,
    strategy_pb2,
)
from stratsweep_server.rpc import responses
from stratsweep_server.rpc.events import formats

from tests.requests import optimize_request, seconds
from tests.waiting import is_alive, until

UNSPECIFIED = config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED
MAXIMIZE = config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE
MINIMIZE = config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE
BEST = config_pb2.OPTIMIZATION_DIRECTION_BEST


async def events_of(call) -> list[optimization_event_pb2.OptimizationEvent]:
    return [message.event async for message in call]


async def refusal_of(call) -> tuple[grpc.aio.AioRpcError, dict[str, object]]:
    """The error of a call, and its details by type name."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await events_of(call)
    details = {}
    for detail in rpc_status.from_call(refused.value).details:
        name = detail.TypeName().rpartition(".")[2]
        details[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return refused.value, details


async def test_a_stream_starts_reports_each_backtest_once_and_ends_with_the_ranking(start_server):
    connected = await start_server()
    events = await events_of(connected.stub.Optimize(optimize_request("raise@3", 20)))

    assert [event.WhichOneof("kind") for event in events] == [
        "started",
        *["progress"] * 20,
        "result",
    ]
    assert [event.sequence_number for event in events] == list(range(1, 23))
    started, *progress, result = events
    assert started.started.total_count == 20
    assert started.started.worker_count == 2
    assert started.started.optimization_id
    counts = [(each.progress.completed_count, each.progress.total_count) for each in progress]
    assert counts == [(completed, 20) for completed in range(1, 21)]
    assert all(len(each.progress.outcomes) == 1 for each in progress)
    assert progress[-1].progress.failed_count == 1
    assert progress[-1].progress.best.combination_index == 19
    result = result.result
    assert result.state == optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED
    assert result.is_last_part
    assert [row.rank for row in result.ranked_results] == list(range(1, 20))
    assert result.ranked_results[0].parameters["x"].integer_value == 19
    assert result.ranked_results[0].metrics["score"] == 19.0
    (failure,) = result.failures
    assert failure.kind == outcome_pb2.FAILURE_KIND_ERROR
    assert failure.message == "ValueError: no luck with 3"
    assert "_raise" in failure.traceback
    assert (result.total_count, result.succeeded_count, result.failed_count) == (20, 19, 1)


async def test_a_progress_interval_groups_outcomes_and_drops_none(start_server):
    connected = await start_server()
    request = optimize_request("ok@*", 500, progress_interval=seconds(0.05))
    events = await events_of(connected.stub.Optimize(request))

    progress = [event for event in events if event.HasField("progress")]
    assert len(progress) < 500
    indices = [row.result.combination_index for each in progress for row in each.progress.outcomes]
    assert sorted(indices) == list(range(500))
    assert progress[-1].sequence_number == 501


def table_of(streams: list[bytes]) -> pa.Table:
    """The batches of Arrow streams, each of which must be readable alone."""
    return pa.concat_tables([pa.ipc.open_stream(stream).read_all() for stream in streams])


@pytest.mark.parametrize("interval", [None, 0.05], ids=["a message each", "grouped"])
async def test_on_request_results_travel_as_arrow_and_failures_as_rows(start_server, interval):
    connected = await start_server()
    request = optimize_request("raise@3", 50, result_format=outcome_pb2.RESULT_FORMAT_ARROW)
    if interval is not None:
        request.progress_interval.CopyFrom(seconds(interval))
    _, *progress, end = await events_of(connected.stub.Optimize(request))

    progress = [event.progress for event in progress]
    assert (len(progress) == 50) is (interval is None)
    table = table_of([each.arrow_results for each in progress if each.arrow_results])
    assert table.column_names == [
        "combination_index",
        "backtest_duration",
        "parameters",
        "metrics",
    ]
    assert sorted(table["combination_index"].to_pylist()) == [*range(3), *range(4, 50)]
    (failed,) = [outcome.failure for each in progress for outcome in each.outcomes]
    assert failed.parameters["x"].integer_value == 3
    assert progress[-1].best.metrics["score"] == 49.0
    assert (progress[-1].completed_count, progress[-1].failed_count) == (50, 1)

    assert not end.result.ranked_results
    ranking = table_of([end.result.arrow_ranked_results])
    assert ranking["rank"].to_pylist() == list(range(1, 50))
    assert ranking["parameters"].to_pylist()[0] == {"x": 49}
    assert ranking["metrics"].to_pylist()[0]["score"] == 49.0
    types = {field.name: str(field.type) for field in ranking.schema}
    assert types["combination_index"] == "int64"
    assert types["backtest_duration"] == "duration[us]"
    assert types["parameters"] == "struct<x: int64>"
    assert types["metrics"] == "struct<end: double, pid: double, score: double, start: double>"
    assert [each.combination_index for each in end.result.failures] == [3]


async def test_an_optimization_without_results_sends_no_arrow(start_server):
    connected = await start_server()
    request = optimize_request(
        "raise@*",
        3_000,
        result_format=outcome_pb2.RESULT_FORMAT_ARROW,
        progress_interval=seconds(1),
    )
    _, *events = await events_of(connected.stub.Optimize(request))
    progress = [event.progress for event in events if event.HasField("progress")]
    parts = [event.result for event in events if event.HasField("result")]
    assert not any(each.arrow_results for each in progress)
    assert sum(len(each.outcomes) for each in progress) == 3_000
    assert all(each.ByteSize() < 1_100_000 for each in progress)
    assert not any(part.arrow_ranked_results for part in parts)
    failed = [failure.combination_index for part in parts for failure in part.failures]
    assert failed == list(range(3_000))


async def test_an_unknown_result_format_is_refused(start_server):
    connected = await start_server()
    request = optimize_request("ok@*", 3, result_format=7)
    error, details = await refusal_of(connected.stub.Optimize(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in details["BadRequest"].field_violations] == ["result_format"]


async def test_validate_only_counts_and_runs_nothing(start_server):
    connected = await start_server()
    request = optimize_request("exit@*", 30, validate_only=True)
    request.config.constraints.append("x % 2 = 0")
    (event,) = await events_of(connected.stub.Optimize(request))

    assert event.started.total_count == 15
    assert event.started.rejected_count == 15
    assert event.started.config.backtest_timeout.seconds == 300
    assert event.started.config.starting_cash == 10_000.0


async def test_every_violation_is_reported_at_once_with_its_field(start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request("parabola", 3, timeout=-1.0, progress_interval=seconds(0))
    request.config.symbols.append("ANY")
    request.config.starting_cash = 0.0
    request.config.slippage = -0.1
    request.config.date_range.start_date = "yesterday"
    request.config.parameters.append(parameter_pb2.Parameter(name="shift"))
    request.config.constraints.append("x <")
    error, details = await refusal_of(connected.stub.Optimize(request))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details["ErrorInfo"].reason == "INVALID_CONFIG"
    assert details["ErrorInfo"].domain == "stratsweep"
    fields = [each.field for each in details["BadRequest"].field_violations]
    assert {
        "progress_interval",
        "config.symbols",
        "config.starting_cash",
        "config.slippage",
        "config.backtest_timeout",
        "config.date_range.start_date",
        "config.parameters[1]",
        "config.optimization_target",
    } <= set(fields)
    assert details["ErrorInfo"].metadata["violation_count"] == str(len(fields))


async def test_a_hundred_violations_fit_the_trailers_and_no_more_are_counted(start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request("parabola", 3)
    request.config.symbols.extend([f"S{number}" for number in range(50)] * 2)
    for number in range(60):
        request.config.parameters.add(name=f"unknown_{number}").integer_list.values.append(1)
    error, details = await refusal_of(connected.stub.Optimize(request))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details["ErrorInfo"].metadata["violation_count"] == "100"
    assert 10 <= len(details["BadRequest"].field_violations) <= 20


@pytest.mark.parametrize("letter", ["я", "漢", "😀"])
async def test_violations_in_any_script_fit_the_trailers(start_server, letter):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request(letter * 600, 3, symbol=letter * 600)
    request.config.constraints.extend([letter * 600] * 30)
    for _ in range(20):  # clients refuse trailers that are too large only now and then
        error, details = await refusal_of(connected.stub.Optimize(request))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        shown = len(details["BadRequest"].field_violations)
        assert 1 < shown < int(details["ErrorInfo"].metadata["violation_count"])


async def test_a_grid_of_a_quintillion_combinations_is_refused_before_it_is_built(start_server):
    connected = await start_server()
    request = optimize_request("ok@*", 10**9)
    request.config.parameters.append(
        parameter_pb2.Parameter(
            name="y", integer_range=parameter_pb2.IntegerRange(start=1, stop=10**9)
        )
    )
    error, details = await refusal_of(connected.stub.Optimize(request))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1,000,000,000,000,000,000" in details["BadRequest"].field_violations[0].description


async def test_an_unknown_strategy_is_not_found(start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request("parabolla", 3)
    request.config.optimization_target = "height"
    error, details = await refusal_of(connected.stub.Optimize(request))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert details["ErrorInfo"].reason == "UNKNOWN_STRATEGY"
    assert "did you mean 'parabola'" in error.details()


async def test_an_unknown_symbol_is_not_found_and_a_path_is_refused(start_server, real_data):
    connected = await start_server(engine="default", data=real_data)
    request = optimize_request("sma_cross", 3, symbol="SPYY")
    request.config.optimization_target = "sharpe_ratio"
    request.config.parameters[0].name = "fast"
    request.config.parameters[0].integer_range.start = 2
    error, details = await refusal_of(connected.stub.Optimize(request))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert details["ErrorInfo"].reason == "UNKNOWN_SYMBOL"
    assert "SPY" in error.details()

    request.config.symbols[0] = "../data/SPY"
    error, _ = await refusal_of(connected.stub.Optimize(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(real_data) not in error.details()


async def test_bytes_that_are_no_request_are_an_invalid_argument(start_server):
    connected = await start_server()
    method = connected.channel.unary_stream("/stratsweep.v1.OptimizationService/Optimize")
    error, details = await refusal_of(method(b"\xff\xff\xff"))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details["ErrorInfo"].reason == "MALFORMED_REQUEST"


async def test_a_target_that_no_result_has_fails_with_the_names_that_there_are(start_server):
    connected = await start_server()
    request = optimize_request("ok@*", 3)
    request.config.optimization_target = "sharpe"
    *_, last = await events_of(connected.stub.Optimize(request))

    assert last.result.state == optimization_event_pb2.OPTIMIZATION_STATE_FAILED
    assert "'sharpe'" in last.result.message
    assert "end, pid, score, start" in last.result.message


async def running_sleepers(tmp_path, count: int) -> list[int]:
    await until(lambda: len(list(tmp_path.glob("*.pid"))) == count, f"{count} backtests run")
    return [int(note.read_text()) for note in tmp_path.glob("*.pid")]


async def assert_freed(connected, sleepers: list[int]) -> None:
    """The sleepers' processes are gone and the server runs something else."""
    await until(lambda: not any(map(is_alive, sleepers)), "the workers were freed")
    events = await events_of(connected.stub.Optimize(optimize_request("ok@*", 4)))
    assert events[-1].result.succeeded_count == 4


async def test_a_cancelled_call_frees_the_workers(start_server, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    connected = await start_server()
    call = connected.stub.Optimize(optimize_request("sleep@*", 10, symbol=str(tmp_path)))
    await call.read()
    sleepers = await running_sleepers(tmp_path, 2)
    call.cancel()

    await assert_freed(connected, sleepers)
    assert "Optimize ended: its client cancelled, left, or let its deadline pass" in caplog.text
    assert "refused" not in caplog.text


async def test_a_passed_deadline_frees_the_workers(start_server, tmp_path):
    connected = await start_server()
    request = optimize_request("sleep@*", 10, symbol=str(tmp_path))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await events_of(connected.stub.Optimize(request, timeout=3.0))

    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await assert_freed(connected, [int(note.read_text()) for note in tmp_path.glob("*.pid")])


CLIENT_THAT_WAITS = """
import sys, grpc
from stratsweep.v1 import optimization_service_pb2 as pb, optimization_service_pb2_grpc as rpc
request = pb.OptimizeRequest.FromString(sys.stdin.buffer.read())
for message in rpc.OptimizationServiceStub(grpc.insecure_channel(sys.argv[1])).Optimize(request):
    pass
"""


async def test_a_client_that_is_killed_frees_the_workers(start_server, tmp_path):
    connected = await start_server()
    request = optimize_request("sleep@*", 10, symbol=str(tmp_path))
    with subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment, nothing else waits
        [sys.executable, "-c", CLIENT_THAT_WAITS, connected.server.address], stdin=subprocess.PIPE
    ) as client:
        client.stdin.write(request.SerializeToString())
        client.stdin.close()
        sleepers = await running_sleepers(tmp_path, 2)
        client.kill()

    await assert_freed(connected, sleepers)


async def test_more_optimizations_than_allowed_are_refused_with_a_time_to_retry(
    start_server, tmp_path
):
    connected = await start_server(max_optimizations=1, max_queued=0)
    call = connected.stub.Optimize(optimize_request("sleep@*", 10, symbol=str(tmp_path)))
    await call.read()
    error, details = await refusal_of(connected.stub.Optimize(optimize_request("ok@*")))
    call.cancel()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details["ErrorInfo"].reason == "TOO_MANY_OPTIMIZATIONS"
    assert details["RetryInfo"].retry_delay.seconds > 0


async def test_each_call_of_a_burst_is_answered_by_the_server_itself(start_server, tmp_path):
    connected = await start_server(max_optimizations=1, max_queued=0)
    stub = connected.stub
    running = stub.Optimize(optimize_request("sleep@*", 10, symbol=str(tmp_path)))
    await running.read()
    empty = optimization_service_pb2.ListStrategiesRequest()
    calls = [
        stub.Optimize(optimize_request("ok@*")) if number % 2 else stub.ListStrategies(empty)
        for number in range(2_400)
    ]
    codes = Counter([await call.code() for call in calls])
    running.cancel()

    assert codes == {grpc.StatusCode.OK: 1_200, grpc.StatusCode.RESOURCE_EXHAUSTED: 1_200}
    _, details = await refusal_of(calls[-1])
    assert details["ErrorInfo"].reason == "TOO_MANY_OPTIMIZATIONS"
    assert details["RetryInfo"].retry_delay.seconds > 0


async def test_an_engine_that_cannot_be_built_makes_the_server_unavailable(start_server):
    connected = await start_server(engine="tests.engines:ConstructorRaises")
    error, details = await refusal_of(connected.stub.Optimize(optimize_request("ok@*")))

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details["ErrorInfo"].reason == "NO_WORKERS"
    assert "no licence for this engine" in error.details()
    assert "\n" not in error.details()


async def test_an_unforeseen_error_does_not_leak_its_text(start_server, monkeypatch):
    connected = await start_server()

    def fail(*_):
        raise RuntimeError("secret of the server")

    monkeypatch.setattr(responses, "started", fail)
    error, details = await refusal_of(connected.stub.Optimize(optimize_request("ok@*")))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert details["ErrorInfo"].metadata["error_id"] in error.details()


async def test_heartbeats_fill_silence(start_server, tmp_path, monkeypatch):
    monkeypatch.setattr("stratsweep_server.rpc.events.following.HEARTBEAT_SECONDS", 0.05)
    connected = await start_server()
    call = connected.stub.Optimize(optimize_request("sleep@*", 10, symbol=str(tmp_path)))
    started, *beats = [(await call.read()).event for _ in range(4)]
    call.cancel()

    assert started.HasField("started")
    assert all(beat.HasField("heartbeat") and beat.sequence_number == 0 for beat in beats)


async def test_a_large_result_comes_in_parts_in_order(start_server, monkeypatch):
    monkeypatch.setattr(formats, "MAX_MESSAGE_BYTES", 10_000)
    connected = await start_server()
    request = optimize_request("raise@7", 1_000, progress_interval=seconds(10))
    events = await events_of(connected.stub.Optimize(request))

    parts = [event.result for event in events if event.HasField("result")]
    assert len(parts) > 5
    assert [part.part_index for part in parts] == list(range(len(parts)))
    assert [part.is_last_part for part in parts] == [False] * (len(parts) - 1) + [True]
    ranks = [row.rank for part in parts for row in part.ranked_results]
    assert ranks == list(range(1, 1_000))
    assert sum(len(part.failures) for part in parts) == 1
    assert all(part.ByteSize() < 12_000 for part in parts)


async def test_list_strategies_names_what_the_engine_declares(start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    answer = await connected.stub.ListStrategies(optimization_service_pb2.ListStrategiesRequest())

    (strategy,) = answer.strategies
    assert strategy.name == "parabola"
    required, optional = strategy.parameters
    assert not required.HasField("default_value")
    assert (required.minimum, required.maximum) == (-10.0, 10.0)
    assert optional.default_value.integer_value == 3
    assert [metric.name for metric in answer.metrics] == ["height", "distance"]
    assert not answer.symbols
    assert not answer.accepts_any_strategy


async def test_the_start_names_the_metrics_with_their_units(start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request("parabola", 3, validate_only=True)
    request.config.optimization_target = "height"
    (event,) = await events_of(connected.stub.Optimize(request))
    answer = await connected.stub.ListStrategies(optimization_service_pb2.ListStrategiesRequest())
    assert {each.unit for each in event.started.metrics} == {strategy_pb2.METRIC_UNIT_RATIO}
    assert event.started.metrics == answer.metrics


@pytest.mark.parametrize(
    ("target", "asked", "expected"),
    [("distance", BEST, MINIMIZE), ("height", BEST, MAXIMIZE), ("distance", UNSPECIFIED, MAXIMIZE)],
)
async def test_the_start_says_which_end_the_best_one_is(start_server, target, asked, expected):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request("parabola", 6)
    request.config.optimization_target, request.config.direction = target, asked
    started, *_, end = await events_of(connected.stub.Optimize(request))
    assert started.started.config.direction == expected
    declared = {each.name: each.best_direction for each in started.started.metrics}
    assert declared == {"height": UNSPECIFIED, "distance": MINIMIZE}
    distances = [row.metrics["distance"] for row in end.result.ranked_results]
    assert distances == sorted(distances, reverse=asked == UNSPECIFIED)


@pytest.mark.parametrize("interval", [None, 0.05], ids=["a message each", "grouped"])
async def test_the_best_so_far_meets_the_requirements_and_what_does_not_is_counted(
    start_server, interval
):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    request = optimize_request("parabola", 9)
    request.config.optimization_target = "height"
    request.config.requirements.extend(["distance > 3", "distance < 30"])
    if interval is not None:
        request.progress_interval.CopyFrom(seconds(interval))
    started, *progress, end = await events_of(connected.stub.Optimize(request))
    assert started.started.config.requirements == ["distance > 3", "distance < 30"]
    seen: list[float] = []
    for each in progress:
        seen += [row.result.metrics["distance"] for row in each.progress.outcomes]
        qualified = [distance for distance in seen if 3 < distance < 30]
        assert each.progress.HasField("best") is bool(qualified)
        if qualified:
            assert each.progress.best.metrics["distance"] == min(qualified)
    ranked = [row.parameters["x"].integer_value for row in end.result.ranked_results]
    assert ranked == [1.0, 5.0, 0.0, 6.0, 7.0, 8.0]
    assert (end.result.succeeded_count, end.result.unqualified_count) == (9, 3)
    assert end.result.without_target_count == 0


async def test_list_strategies_of_the_default_engine_has_symbols_and_dates(start_server, real_data):
    connected = await start_server(engine="default", data=real_data)
    answer = await connected.stub.ListStrategies(optimization_service_pb2.ListStrategiesRequest())

    assert {each.name for each in answer.strategies} >= {"sma_cross", "buy_and_hold"}
    assert "sharpe_ratio" in [each.name for each in answer.metrics]
    spy = next(each for each in answer.symbols if each.name == "SPY")
    assert spy.bar_count == 5_849
    assert spy.first_bar_time.ToJsonString() == "1998-01-02T00:00:00Z"
