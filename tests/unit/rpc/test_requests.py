"""Requests: what is read, and what is refused before it is read."""

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from stratsweep.v1 import optimization_config_pb2 as config_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.optimization.validation import InvalidConfigError
from stratsweep_server.rpc import responses
from stratsweep_server.rpc.requests import read_request

SECONDS = 315_576_000_000


def request(**fields):
    message = service_pb2.OptimizeRequest()
    message.config.strategy = "any"
    message.config.symbols.append("A")
    for name, value in fields.items():
        getattr(message, name).CopyFrom(value)
    return message


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**63 - 1, -(2**63), 0], "integer_list"),
        ([0.1, 1e308, -5e-324], "double_list"),
        (["a", ""], "string_list"),
        ([True, False], "bool_list"),
        (list(range(25_000)), "integer_list"),
    ],
)
def test_lists_are_read_as_they_were_written(values, kind):
    message = request()
    parameter = message.config.parameters.add(name="x")
    getattr(parameter, kind).values.extend(values)
    read, _ = read_request(message)
    config = read.config
    assert read.violations == []
    assert list(config.axes[0].values) == values
    assert [type(value) for value in config.axes[0].values] == [type(value) for value in values]


def test_a_request_with_more_parts_than_allowed_is_refused_with_all_their_counts():
    message = request()
    for _ in range(1_900):
        message.config.parameters.add()
        message.config.symbols.append("")
        message.config.constraints.append("")
        message.config.requirements.append("")
    with pytest.raises(InvalidConfigError) as refused:
        read_request(message)
    assert [(each.field, each.description) for each in refused.value.violations] == [
        ("symbols", "are 1,901; 1,000 are allowed"),
        ("parameters", "are 1,900; 64 are allowed"),
        ("constraints", "are 1,900; 100 are allowed"),
        ("requirements", "are 1,900; 100 are allowed"),
    ]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED, OptimizationDirection.MAXIMIZE),
        (config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE, OptimizationDirection.MAXIMIZE),
        (config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE, OptimizationDirection.MINIMIZE),
        (config_pb2.OPTIMIZATION_DIRECTION_BEST, OptimizationDirection.BEST),
    ],
)
def test_each_direction_is_read_and_written_again(sent, read):
    message = request()
    message.config.direction = sent
    asked, _ = read_request(message)
    config = asked.config
    assert asked.violations == []
    assert config.direction is read
    assert responses.config(config).direction == (
        sent or config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE
    )


def test_requirements_are_read_and_written_again():
    message = request()
    message.config.requirements.extend(["a > 1", "b < 2"])
    asked, _ = read_request(message)
    config = asked.config
    assert asked.violations == []
    assert config.requirements == ("a > 1", "b < 2")
    assert responses.config(config).requirements == ["a > 1", "b < 2"]


@pytest.mark.parametrize("field", ["progress_interval", "backtest_timeout"])
@pytest.mark.parametrize(
    "duration",
    [
        Duration(seconds=SECONDS + 1),
        Duration(seconds=-SECONDS - 1),
        Duration(seconds=2**63 - 1),
        Duration(seconds=2**63 - 513),
        Duration(seconds=-(2**63)),
        Duration(seconds=1, nanos=-1),
        Duration(seconds=-1, nanos=1),
        Duration(nanos=10**9),
        Duration(nanos=-(2**31)),
        Duration(seconds=5, nanos=2**31 - 1),
    ],
)
def test_what_is_no_duration_is_refused(field, duration):
    message = request()
    getattr(message if field == "progress_interval" else message.config, field).CopyFrom(duration)
    [violation] = read_request(message)[0].violations
    assert violation.field == field
    assert violation.description.startswith(f"is no duration: {duration.seconds} s")


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (Duration(seconds=SECONDS, nanos=0), float(SECONDS)),
        (Duration(seconds=1, nanos=500_000_000), 1.5),
        (Duration(nanos=1), 1e-9),
        (Duration(seconds=-1, nanos=-500_000_000), -1.5),
    ],
)
def test_durations_are_read_in_seconds(duration, seconds):
    message = request()
    message.config.backtest_timeout.CopyFrom(duration)
    message.progress_interval.CopyFrom(duration)
    read, options = read_request(message)
    assert read.config.backtest_timeout == options.stream.progress_interval == seconds
    assert [each.field for each in read.violations] == (
        ["progress_interval"] if seconds <= 0 else []
    )


def test_the_extremes_of_other_fields_are_read_and_left_to_validation():
    message = request()
    message.config.starting_cash = math.nan
    message.config.max_ranked_results = message.config.warm_up_bar_count = 2**32 - 1
    message.config.date_range.start_date = "0001-01-01"
    message.config.date_range.end_date = "9999-12-31"
    read, _ = read_request(message)
    config = read.config
    assert read.violations == []
    assert (config.start_date.year, config.end_date.year) == (1, 9999)
    message.config.date_range.end_date = "9" * 900_000
    [violation] = read_request(message)[0].violations
    assert violation.field == "date_range.end_date"
    assert len(violation.description) < 200


@pytest.mark.parametrize("field", ["optimization_id", "resume_from"])
@pytest.mark.parametrize("text", ["", "a", "9", "A.b-c_d", "x" * 64])
def test_ids_are_taken_as_they_are(field, text):
    message = request()
    setattr(message, field, text)
    read, _ = read_request(message)
    assert (read.violations, getattr(read, field)) == ([], text)


@pytest.mark.parametrize("field", ["optimization_id", "resume_from"])
@pytest.mark.parametrize("text", ["x" * 65, "-a", ".a", "a/b", "a b", "ä", "a\n", "../a", "a\0"])
def test_what_is_no_id_is_refused(field, text):
    message = request()
    setattr(message, field, text)
    [violation] = read_request(message)[0].violations
    assert violation.field == field
    assert "take 1 to 64 of letters, digits, '-', '_' and '.'" in violation.description


def test_an_abandon_grace_of_more_than_a_day_is_refused():
    message = request()
    assert read_request(message)[0].abandon_grace is None
    message.abandon_grace.FromSeconds(86_400)
    assert read_request(message)[0].abandon_grace == 86_400
    message.abandon_grace.FromSeconds(86_401)
    [violation] = read_request(message)[0].violations
    assert (violation.field, violation.description) == (
        "abandon_grace",
        "is 86401 s; from 0 to 86400 s, a day",
    )


def test_a_stream_that_goes_on_needs_an_id_and_a_number_of_an_event():
    message = request()
    message.after_sequence_number = 3
    [violation] = read_request(message)[0].violations
    assert violation.field == "after_sequence_number"
    message.optimization_id = "a"
    read, options = read_request(message)
    assert (read.violations, read.must_exist, options.after_sequence_number) == ([], True, 3)
    message.after_sequence_number = -1
    [violation] = read_request(message)[0].violations
    assert violation.description.startswith("is -1; make it the number of the last event")
