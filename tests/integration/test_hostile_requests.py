"""Hostile requests to a real server: each is refused or costs only itself."""

from __future__ import annotations

import signal

import grpc
import pytest
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc

from tests.integration.test_optimize_rpc import events_of, refusal_of
from tests.integration.test_server_program import SCRIPTED, WAIT_SECONDS, address_of, program
from tests.requests import optimize_request


def long_to_prepare() -> optimization_service_pb2.OptimizeRequest:
    """A million combinations, and constraints that take about a minute."""
    request = optimize_request("ok@*", 100)
    for name in "bc":
        integers = request.config.parameters.add(name=name).integer_range
        integers.start, integers.stop = 1, 100
    request.config.constraints.extend(f"x*b//c-{n}<{'x*b//c+' * 65}1" for n in range(100))
    return request


def many_empty_parameters(request):
    request.config.parameters.extend(type(request.config.parameters.add())() for _ in range(50_000))


def many_unknown_parameters(request):
    for number in range(20_000):
        request.config.parameters.add(name=f"n{number}").integer_list.values.append(1)


def many_symbols(request):
    request.config.symbols.extend(["S"] * 100_000)


def many_constraints(request):
    request.config.constraints.extend(["x > 1"] * 20_000)


def long_names(request):
    request.config.strategy = request.config.optimization_target = "n" * 900_000
    request.config.symbols.append("s" * 900_000)
    request.config.parameters.add(name="p" * 900_000).bool_list.values.append(True)


def long_text(request):
    request.config.parameters.add(name="kind").string_list.values.extend(["a", "b" * 10_000])


def text_with_nul(request):
    request.config.parameters.add(name="kind").string_list.values.extend(["a", "a\0"])


def huge_axes(request):
    for number in range(63):
        doubles = request.config.parameters.add(name=f"d{number}").double_range
        doubles.start, doubles.stop, doubles.step = 5e-324, 1.7e308, 5e-324


def endless_timeout(request):
    request.config.backtest_timeout.seconds = 2**63 - 512


def endless_interval(request):
    request.progress_interval.seconds = 2**63 - 1


def mixed_signs(request):
    request.config.backtest_timeout.seconds, request.config.backtest_timeout.nanos = 5, -7


def no_number(request):
    request.config.starting_cash = request.config.commission = float("nan")


def long_constraint(request):
    request.config.constraints.append("x" + " + x" * 500_000 + " > 1")


def unevaluable_constraints(request):
    request.config.constraints.extend(["x // NULL", "kind LIKE x", "((((((((((x > 1))))))))))"])


@pytest.mark.parametrize(
    "spoil",
    [
        many_empty_parameters,
        many_unknown_parameters,
        many_symbols,
        many_constraints,
        long_names,
        long_text,
        text_with_nul,
        huge_axes,
        endless_timeout,
        endless_interval,
        mixed_signs,
        no_number,
        long_constraint,
        unevaluable_constraints,
    ],
    ids=lambda spoil: spoil.__name__,
)
async def test_what_is_too_much_is_refused_with_a_short_reason(start_server, spoil):
    connected = await start_server(workers=1)
    request = optimize_request("ok@*", 3)
    spoil(request)
    error, details = await refusal_of(connected.stub.Optimize(request))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details["ErrorInfo"].reason == "INVALID_CONFIG"
    assert len(error.details()) < 1_000
    events = await events_of(connected.stub.Optimize(optimize_request("ok@*", 3)))
    assert events[-1].result.succeeded_count == 3


async def test_the_extremes_that_are_allowed_run(start_server):
    connected = await start_server()
    request = optimize_request("ok@*", 1)
    integers = request.config.parameters[0].integer_range
    integers.start, integers.stop, integers.step = 2**63 - 6, 2**63 - 1, 2
    request.config.parameters.add(name="text").string_list.values.extend(["a" * 1_000, ""])
    request.config.parameters.extend(
        type(request.config.parameters[0])(name=f"fixed_{number}") for number in range(62)
    )
    for parameter in request.config.parameters[2:]:
        parameter.double_list.values.append(1e308)
    request.config.constraints.append("x < 9223372036854775806 AND fixed_0 * fixed_1 > 1")
    request.config.backtest_timeout.seconds = 315_576_000_000
    request.progress_interval.seconds = 315_576_000_000
    request.config.starting_cash = 1.7e308
    request.config.max_ranked_results = request.config.warm_up_bar_count = 2**32 - 1
    request.config.date_range.start_date = "0001-01-01"
    request.config.date_range.end_date = "9999-12-31"
    started, *_, end = await events_of(connected.stub.Optimize(request))

    assert (started.started.total_count, started.started.rejected_count) == (4, 2)
    assert started.started.config.backtest_timeout.seconds == 315_576_000_000
    found = {row.parameters["x"].integer_value for row in end.result.ranked_results}
    assert found == {2**63 - 6, 2**63 - 4}
    texts = {row.parameters["text"].string_value for row in end.result.ranked_results}
    assert texts == {"a" * 1_000, ""}


async def test_a_good_request_is_answered_while_hostile_ones_are_prepared(start_server):
    connected = await start_server()
    hostile = [connected.stub.Optimize(long_to_prepare()) for _ in range(8)]
    for _ in range(3):
        events = await events_of(connected.stub.Optimize(optimize_request("ok@*", 20)))
        assert events[-1].result.succeeded_count == 20
    assert not any(call.done() for call in hostile)
    for call in hostile:
        call.cancel()


async def test_a_signal_ends_a_server_while_it_prepares():
    with program("--listen", "127.0.0.1:0", "--grace", "0.5", *SCRIPTED) as process:
        async with grpc.aio.insecure_channel(address_of(process)) as channel:
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            hostile = [stub.Optimize(long_to_prepare()) for _ in range(4)]
            await events_of(stub.Optimize(optimize_request("ok@*", 1)))  # they arrived before it
            assert not any(call.done() for call in hostile)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, log
    assert log.endswith("stopped\n")
    assert "Traceback" not in log
