"""Keywords to the config message."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from google.protobuf import text_format
from stratsweep import DoubleRange, IntegerRange
from stratsweep._requests import optimization_config, optimize_request
from stratsweep.config import ConfigOptions
from stratsweep.v1 import optimization_config_pb2, outcome_pb2


def test_what_is_not_given_is_left_to_the_server():
    config = optimization_config("sma_cross", symbols="SPY", parameters={})
    expected = optimization_config_pb2.OptimizationConfig(strategy="sma_cross", symbols=["SPY"])
    assert config == expected
    assert not optimize_request(config).HasField("progress_interval")
    assert optimize_request(config).result_format == outcome_pb2.RESULT_FORMAT_UNSPECIFIED


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
        constraints: "whole < 30" optimization_target: "cagr"
        direction: OPTIMIZATION_DIRECTION_MINIMIZE backtest_timeout { seconds: 90 }
        starting_cash: 5000 commission: 0.001 slippage: 0.0005 max_ranked_results: 7
        warm_up_bar_count: 250 seed: 18446744073709551615
        """,
        optimization_config_pb2.OptimizationConfig(),
    )
    assert config == expected


def test_labels_are_texts_by_text():
    config = optimization_config("s", symbols="X")
    assert optimize_request(config, labels={"run": "7"}).labels == {"run": "7"}
    assert optimize_request(config, labels=None).labels == {}
    for labels in ({"run": 7}, {7: "run"}, ["run"], "run=7"):
        with pytest.raises(TypeError, match="labels: "):
            optimize_request(config, labels=labels)


def test_every_field_of_the_config_has_a_keyword():
    fields = {each.name for each in optimization_config_pb2.OptimizationConfig.DESCRIPTOR.fields}
    keywords = {*ConfigOptions.__annotations__, "strategy"}
    renamed = {"minimize": "direction", "start_date": "date_range", "end_date": "date_range"}
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
    request = optimize_request(config, progress_interval=timedelta(milliseconds=100))
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
