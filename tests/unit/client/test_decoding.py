"""Messages to what callers see."""

from datetime import date, timedelta

import pytest
from stratsweep import (
    FailureKind,
    IntegerRange,
    MetricUnit,
    OptimizationDirection,
    OptimizationState,
    ParameterType,
)
from stratsweep._decoding import optimization_result, started_event, strategy_list
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    outcome_pb2,
)


def test_the_started_event_carries_the_effective_config(script):
    started = started_event(script.started(rejected_count=2).event.started)
    assert started.optimization_id == "opt-1"
    assert (started.total_count, started.rejected_count, started.worker_count) == (4, 2, 2)
    assert started.market_data.bar_count == 253
    config = started.config
    assert config.parameters == {"slow": (50, 100), "fast": IntegerRange(5, 10, 5)}
    assert config.start_date == date(2020, 1, 2)
    assert config.end_date == date(2020, 12, 31)
    assert config.direction is OptimizationDirection.MAXIMIZE
    assert config.backtest_timeout == timedelta(seconds=300)
    assert config.starting_cash == 10_000
    assert started.labels == {}


def test_a_unit_that_only_a_newer_server_knows_is_none(script):
    message = script.started().event.started
    message.metrics[0].unit = 99
    assert started_event(message).metrics[0].unit is MetricUnit.UNSPECIFIED


def test_a_type_that_only_a_newer_server_knows_is_unspecified(script):
    catalogue = script.catalogue()
    catalogue.strategies[0].parameters[0].type = 99
    (parameter,) = strategy_list(catalogue).strategies[0].parameters
    assert parameter.type is ParameterType.UNSPECIFIED


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (optimization_config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED, None),
        (optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE, OptimizationDirection.MAXIMIZE),
        (optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE, OptimizationDirection.MINIMIZE),
        (99, None),
    ],
)
def test_the_better_end_of_a_metric_is_told(script, sent, told):
    message = script.started().event.started
    message.metrics[0].best_direction = sent
    assert started_event(message).metrics[0].best_direction is told


def test_what_is_left_out_of_a_ranking_is_told(script):
    started = script.started(requirements=["trade_count > 3"]).event.started
    last_part = optimization_event_pb2.OptimizationResult(
        unqualified_count=5, without_target_count=2
    )
    result = optimization_result(last_part, started_event(started), (), ())
    assert result.config.requirements == ("trade_count > 3",)
    assert (result.unqualified_count, result.without_target_count) == (5, 2)


def test_a_minimized_target_is_told(script):
    direction = optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE
    started = started_event(script.started(direction=direction).event.started)
    assert started.config.direction is OptimizationDirection.MINIMIZE


@pytest.mark.parametrize(
    ("enum", "prefix", "python"),
    [
        (outcome_pb2.FailureKind, "FAILURE_KIND_", FailureKind),
        (optimization_event_pb2.OptimizationState, "OPTIMIZATION_STATE_", OptimizationState),
        (
            optimization_config_pb2.OptimizationDirection,
            "OPTIMIZATION_DIRECTION_",
            OptimizationDirection,
        ),
    ],
)
def test_every_value_of_the_contracts_enums_has_a_python_name(enum, prefix, python):
    names = {name.removeprefix(prefix) for name in enum.keys()}  # noqa: SIM118 - not a dict
    assert names - {"UNSPECIFIED"} == {member.value for member in python} - {"UNSPECIFIED"}
