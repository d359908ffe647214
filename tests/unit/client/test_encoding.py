"""Keywords to the config message."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from stratsweep import DoubleRange, IntegerRange
from stratsweep._encoding import optimization_config, optimize_request, validate_request
from stratsweep._identifiers import new_optimization_id
from stratsweep.config import ConfigOptions
from stratsweep.v1 import optimization_config_pb2, outcome_pb2

MAXIMIZE = optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE
BEST = optimization_config_pb2.OPTIMIZATION_DIRECTION_BEST
MINIMIZE = optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE


def test_what_is_not_given_is_left_to_the_server():
    config = optimization_config("sma_cross", symbols="SPY", parameters={})
    expected = optimization_config_pb2.OptimizationConfig(
        strategy="sma_cross", symbols=["SPY"], direction=BEST
    )
    assert config == expected
    request = optimize_request("sma_cross", {"symbols": "SPY", "parameters": {}})
    assert request.config == expected
    assert not request.HasField("progress_interval")
    assert request.result_format == outcome_pb2.RESULT_FORMAT_UNSPECIFIED
    assert not any([request.validate_only, request.detached, request.reuse])
    assert request.resume_from == ""


def test_every_keyword_reaches_its_field():
    config = optimization_config(
        "sma_cross",
        symbols=["SPY", "AAPL"],
        parameters={
            "whole": IntegerRange(5, 50, 5),
            "stepped": DoubleRange(0.1, 0.5, step=0.1),
            "counted": DoubleRange(0.1, 0.5, point_count=5),
            "integers": [1, 2],
            "doubles": [0.5, 1],
            "texts": ["a"],
            "bools": [True, False],
        },
        constraints="whole < 30",
        start_date=date(2020, 1, 2),
        end_date="2020-12-31",
        optimization_target="cagr",
        requirements=["trade_count > 9", "cagr > 0"],
        minimize=True,
        backtest_timeout=timedelta(seconds=90),
        starting_cash=5_000,
        commission=0.001,
        slippage=0.0005,
        max_ranked_results=7,
        warm_up_bar_count=250,
        seed=2**64 - 1,
    )
    expected = text_format.Parse(
        """
        strategy: "sma_cross" symbols: ["SPY", "AAPL"]
        date_range { start_date: "2020-01-02" end_date: "2020-12-31" }
        parameters { name: "whole" integer_range { start: 5 stop: 50 step: 5 } }
        parameters { name: "stepped" double_range { start: 0.1 stop: 0.5 step: 0.1 } }
        parameters { name: "counted" double_range { start: 0.1 stop: 0.5 point_count: 5 } }
        parameters { name: "integers" integer_list { values: [1, 2] } }
        parameters { name: "doubles" double_list { values: [0.5, 1] } }
        parameters { name: "texts" string_list { values: "a" } }
        parameters { name: "bools" bool_list { values: [true, false] } }
        constraints: "whole < 30"
        requirements: ["trade_count > 9", "cagr > 0"] optimization_target: "cagr"
        direction: OPTIMIZATION_DIRECTION_MINIMIZE backtest_timeout { seconds: 90 }
        starting_cash: 5000 commission: 0.001 slippage: 0.0005 max_ranked_results: 7
        warm_up_bar_count: 250 seed: 18446744073709551615
        """,
        optimization_config_pb2.OptimizationConfig(),
    )
    assert config == expected


@pytest.mark.parametrize(
    "day",
    [
        date(2020, 1, 2),
        datetime(2020, 1, 2, 23, 59, tzinfo=UTC),
        np.datetime64("2020-01-02"),
        np.datetime64("2020-01-02T23:59:59.999999999"),
        np.array("2020-01-02T10:00", dtype="datetime64[s]"),
        pd.Timestamp("2020-01-02 23:59", tz="America/New_York"),
        "2020-01-02",
    ],
    ids=lambda day: type(day).__name__,
)
def test_a_day_may_be_a_date_a_time_of_any_kind_or_a_text(day):
    config = optimization_config("s", symbols="X", start_date=day, end_date=day)
    assert config.date_range.start_date == config.date_range.end_date == "2020-01-02"


@pytest.mark.parametrize("day", [pd.NaT, np.datetime64("NaT")])
def test_no_time_is_no_day(day):
    with pytest.raises(ValueError, match="end_date: NaT is no day"):
        optimization_config("s", symbols="X", end_date=day)


@pytest.mark.parametrize(
    "values",
    [["SPY", "QQQ"], ("SPY", "QQQ"), np.array(["SPY", "QQQ"]), pd.Series(["SPY", "QQQ"])],
    ids=lambda values: type(values).__name__,
)
def test_several_texts_may_come_in_any_collection(values):
    assert optimization_config("s", symbols=values).symbols == ["SPY", "QQQ"]


NUMBERS = [np.int64(3), np.uint8(3), np.array(3), 3]


@pytest.mark.parametrize("number", [*NUMBERS, np.float32(3), np.float64(3), Decimal(3)])
def test_any_kind_of_number_is_taken_where_there_is_a_number(number):
    config = optimization_config(
        "s", symbols="X", starting_cash=number, commission=number, backtest_timeout=number
    )
    assert (config.starting_cash, config.commission, config.backtest_timeout.seconds) == (3, 3, 3)
    request = optimize_request("s", {"symbols": "X", "progress_interval": number})
    assert request.progress_interval.seconds == 3


@pytest.mark.parametrize("number", NUMBERS)
def test_any_kind_of_whole_number_is_taken_where_there_is_one(number):
    config = optimization_config("s", symbols="X", seed=number, max_ranked_results=number)
    assert (config.seed, config.max_ranked_results) == (3, 3)


@pytest.mark.parametrize(
    "span",
    [timedelta(seconds=5), np.timedelta64(5, "s"), np.timedelta64(5 * 10**9, "ns")],
    ids=str,
)
def test_a_span_of_time_is_one_whatever_its_unit(span):
    config = optimization_config("s", symbols="X", backtest_timeout=span)
    assert config.backtest_timeout.ToMilliseconds() == 5_000


@pytest.mark.parametrize("minimize", [True, np.bool_(True), 1])
def test_a_switch_may_be_one_of_numpys(minimize):
    assert optimization_config("s", symbols="X", minimize=minimize).direction == MINIMIZE


@pytest.mark.parametrize(
    ("options", "direction"),
    [
        ({}, BEST),
        ({"minimize": None, "maximize": None}, BEST),
        ({"minimize": True}, MINIMIZE),
        ({"maximize": True}, MAXIMIZE),
        ({"minimize": False}, MAXIMIZE),
        ({"maximize": False}, MINIMIZE),
        ({"minimize": True, "maximize": False}, MINIMIZE),
    ],
)
def test_the_metrics_better_end_is_first_unless_one_is_asked_for(options, direction):
    assert optimization_config("s", symbols="X", **options).direction == direction


@pytest.mark.parametrize("value", [True, False])
def test_not_both_ends_are_first(value):
    with pytest.raises(ValueError, match="minimize and maximize contradict each other"):
        optimization_config("s", symbols="X", minimize=value, maximize=value)


WRONG_TYPES = [
    ("symbols", 5, "a text such as 'SPY', or several, not 5"),
    ("symbols", ["SPY", 5], "a text such as 'SPY', or several, not 5"),
    ("symbols", None, "a text such as 'SPY', or several, not None"),
    ("symbols", b"SPY", "a text such as 'SPY', or several, not b'SPY'"),
    ("constraints", min, "a text such as 'fast < slow', or several, not builtin_function"),
    ("constraints", [lambda row: row], "a text such as 'fast < slow', or several, not function"),
    ("parameters", [5, 10], "values by name, .* not list"),
    ("parameters", {5: [5, 10]}, "a text, not 5"),
    ("start_date", 20200102, "a date or a text YYYY-MM-DD, not 20200102"),
    ("end_date", pd.Timedelta(days=3), "a date or a text YYYY-MM-DD, not Timedelta"),
    ("start_date", np.array(["2020-01-01"], "M8[D]"), "a date or a text YYYY-MM-DD, not ndarray"),
    ("start_date", pd.Series(["2020-01-01"]), "a date or a text YYYY-MM-DD, not Series"),
    ("end_date", pd.to_datetime(["2020-01-01"]), "a date .*, not DatetimeIndex"),
    ("end_date", pd.NA, "a date or a text YYYY-MM-DD, not NAType"),
    ("optimization_target", 5, "a text, not 5"),
    ("backtest_timeout", np.array([1, 2], "m8[s]"), "seconds or a timedelta, not ndarray"),
    ("minimize", "no", "True or False, not 'no'"),
    ("maximize", "no", "True or False, not 'no'"),
    ("requirements", 5, "a text such as 'trade_count >= 30', or several, not 5"),
    ("backtest_timeout", "5", "seconds or a timedelta, not '5'"),
    ("backtest_timeout", True, "seconds or a timedelta, not True"),
    ("starting_cash", "10000", "a number, not '10000'"),
    ("starting_cash", np.timedelta64(5, "ns"), "a number, not timedelta64"),
    ("commission", [0.1], "a number, not list"),
    ("slippage", np.array([0.1, 0.2]), "a number, not ndarray"),
    ("max_ranked_results", 5.5, "a whole number, not 5.5"),
    ("warm_up_bar_count", "many", "a whole number, not 'many'"),
    ("seed", True, "a whole number, not True"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_TYPES)
def test_a_value_of_a_wrong_type_is_refused_by_its_keyword_with_what_is_taken(name, value, message):
    with pytest.raises(TypeError, match=f"^{name}: expected {message}"):
        optimization_config("s", **({"symbols": "X"} | {name: value}))


@pytest.mark.parametrize("name", ConfigOptions.__annotations__)
def test_every_keyword_refuses_what_is_of_no_type_that_it_takes(name):
    with pytest.raises(TypeError, match=f"^{name}: expected .* not object"):
        optimization_config("s", **({"symbols": "X"} | {name: object()}))


def test_a_strategy_is_a_text():
    with pytest.raises(TypeError, match=r"^strategy: expected a text, not function"):
        optimization_config(lambda bars: bars, symbols="X")


@pytest.mark.parametrize("name", ["symbols", "constraints", "optimization_target", "start_date"])
def test_a_text_that_cannot_be_sent_is_refused_by_its_keyword(name):
    with pytest.raises(ValueError, match=f"^{name}: .* has half of a surrogate pair"):
        optimization_config("s", **({"symbols": "X"} | {name: "\ud800"}))


def test_none_leaves_a_keyword_to_the_server():
    options = dict.fromkeys(ConfigOptions.__annotations__) | {"symbols": "X"}
    assert optimization_config("s", **options) == optimization_config("s", symbols="X")


def test_labels_are_texts_by_text():
    assert optimize_request("s", {"symbols": "X", "labels": {"run": "7"}}).labels == {"run": "7"}
    assert optimize_request("s", {"symbols": "X", "labels": None}).labels == {}
    for labels in ({"run": 7}, {7: "run"}, ["run"], "run=7"):
        with pytest.raises(TypeError, match=r"^labels.*: expected "):
            optimize_request("s", {"symbols": "X", "labels": labels})


def test_how_an_optimization_runs_reaches_its_fields():
    options = {
        "symbols": "X",
        "optimization_id": "mine",
        "detached": True,
        "abandon_grace": timedelta(minutes=1),
        "reuse": True,
        "resume_from": "yours",
    }
    request = optimize_request("s", options)
    assert (request.optimization_id, request.resume_from) == ("mine", "yours")
    assert (request.detached, request.reuse, request.abandon_grace.seconds) == (True, True, 60)
    assert optimize_request("s", {"symbols": "X"}).abandon_grace.seconds == 10


def test_every_request_has_an_id_of_its_own_that_sorts_by_time(monkeypatch):
    requests = [optimize_request("s", {"symbols": "X"}) for _ in range(2)]
    first, second = (each.optimization_id for each in requests)
    assert first != second
    assert re.fullmatch("[0-9a-z]{26}", first)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert new_optimization_id() < min(first, second)


def test_a_request_that_runs_nothing_has_no_id():
    request = validate_request("s", None, {"symbols": "X"})
    assert request.validate_only
    assert request.optimization_id == ""


def test_every_field_of_the_config_has_a_keyword():
    fields = {each.name for each in optimization_config_pb2.OptimizationConfig.DESCRIPTOR.fields}
    keywords = {*ConfigOptions.__annotations__, "strategy"}
    renamed = {"minimize": "direction", "maximize": "direction"}
    renamed |= {"start_date": "date_range", "end_date": "date_range"}
    assert {renamed.get(each, each) for each in keywords} == fields


def test_a_misspelled_keyword_is_refused_with_the_one_that_was_meant():
    with pytest.raises(TypeError, match="'comission'; did you mean 'commission'"):
        optimization_config("s", symbols="X", comission=0.1)
    with pytest.raises(TypeError, match="'label'; did you mean 'labels'"):
        optimization_config("s", symbols="X", label={})
    with pytest.raises(TypeError, match="'symbols'"):
        optimization_config("s", parameters={})


def test_a_value_of_another_type_is_refused_by_its_name():
    with pytest.raises(TypeError, match="commission: "):
        optimization_config("s", symbols="X", commission="0.1 %")


def test_a_strategy_that_needs_no_parameters_is_asked_for_without_any():
    assert not optimization_config("buy_and_hold", symbols="X").parameters


def test_spans_are_seconds_or_timedeltas():
    config = optimization_config("s", symbols="X", parameters={}, backtest_timeout=0.25)
    assert config.backtest_timeout.ToTimedelta() == timedelta(milliseconds=250)
    interval = timedelta(milliseconds=100)
    request = optimize_request("s", {"symbols": "X", "progress_interval": interval})
    assert request.progress_interval.ToTimedelta() == timedelta(milliseconds=100)
    assert request.result_format == outcome_pb2.RESULT_FORMAT_ARROW


@pytest.mark.parametrize("span", [float("nan"), float("inf"), 1e30])
def test_a_span_that_does_not_fit_is_an_error_that_names_its_field(span):
    with pytest.raises(ValueError, match=f"backtest_timeout: {re.escape(str(span))} is not a span"):
        optimization_config("sma_cross", symbols="SPY", parameters={}, backtest_timeout=span)


def test_a_datetime_counts_as_its_day():
    moment = datetime(2020, 1, 2, 15, 30, tzinfo=UTC)
    config = optimization_config("s", symbols="X", parameters={}, start_date=moment)
    assert config.date_range.start_date == "2020-01-02"


def test_zero_cash_is_sent_so_that_the_server_can_refuse_it():
    config = optimization_config("s", symbols="X", parameters={}, starting_cash=0)
    assert config.HasField("starting_cash")


def test_a_negative_limit_is_refused_by_its_name():
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=r"seed must be from 0 to 2\^64 - 1"):
            optimization_config("s", symbols="X", parameters={}, seed=seed)
    with pytest.raises(ValueError, match=r"max_ranked_results must be from 0 to 2\^32 - 1, not -1"):
        optimization_config("s", symbols="X", parameters={}, max_ranked_results=-1)
