"""The command to begin with: its values are within the bounds, and `--param` takes them."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep.cli.example_command import example_command, example_values
from stratsweep.cli.parameters import parse_values
from stratsweep.parameters import DoubleRange, IntegerRange
from stratsweep.strategies import (
    Metric,
    ParameterType,
    Strategy,
    StrategyList,
    StrategyParameter,
    Symbol,
)


def parameter(type_name: str, default=None, minimum=None, maximum=None, choices=(), name="p"):
    return StrategyParameter(
        name, ParameterType(type_name), default, minimum, maximum, tuple(choices), ""
    )


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        (parameter("INTEGER", 10, 1, 10_000), "5:20:5"),
        (parameter("INTEGER", 3, 1, 20), "2:5:1"),
        (parameter("INTEGER", 18, 1, 20), "9:18:9"),
        (parameter("INTEGER", 1, 1, 1), "1"),
        (parameter("INTEGER", 0), "-1:2:1"),
        (parameter("INTEGER", -10), "-15:0:5"),
        (parameter("INTEGER", None, 2), "5:20:5"),
        (parameter("INTEGER", None, 200, 1_000), "200:500:100"),
        (parameter("DOUBLE", 0.02, 0.0), "0.01:0.04:0.01"),
        (parameter("DOUBLE", 0.0, 0.0, 1_000.0), "0:0.03:0.01"),
        (parameter("DOUBLE", 0.1, 0.0, 0.3), "0.05:0.2:0.05"),
        (parameter("BOOL", False), "true,false"),
        (parameter("STRING", "b", choices=["a", "b", "c", "d"]), "a,b,c"),
        (parameter("STRING", "close"), "close"),
    ],
)
def test_values_are_around_the_default_and_within_the_bounds(declared, values):
    assert example_values(declared) == values


bound = st.none() | st.integers(-(10**6), 10**6)


@given(st.sampled_from(["INTEGER", "DOUBLE"]), bound, bound, st.none() | st.floats(0, 1), st.data())
def test_no_value_is_out_of_bounds_whatever_they_are(type_name, low, high, place, data):
    if low is not None and high is not None and low > high:
        low, high = high, low
    default = None
    if place is not None:
        ends = (-(10**6) if low is None else low, 10**6 if high is None else high)
        default = ends[0] + place * (ends[1] - ends[0])
        default = round(default) if type_name == "INTEGER" else default
    declared = parameter(type_name, default, low, high)
    values = parse_values(example_values(declared))
    if isinstance(values, IntegerRange | DoubleRange):
        ends = (values.start, values.stop)
        assert values.start < values.stop
        assert values.step > 0
    else:
        ends = values
    slack = 1e-9 * max(map(abs, ends))
    assert low is None or min(ends) >= low - slack
    assert high is None or max(ends) <= high + slack
    assert type_name == "DOUBLE" or all(isinstance(end, int) for end in ends)


def symbol(name: str, error: str = "") -> Symbol:
    return Symbol(name, 10, None, None, error)


def test_the_command_gives_what_must_be_given_and_what_is_worth_trying_and_chooses_the_server():
    strategy = Strategy(
        "mine",
        "",
        (
            parameter("BOOL", False, name="short"),
            parameter("INTEGER", 10, 1, name="fast"),
            parameter("STRING", None, choices=["a", "b"], name="kind"),
            parameter("INTEGER", 30, 1, name="slow"),
        ),
    )
    listed = StrategyList(
        (strategy,), (Metric("profit", ""),), (symbol("BAD", "row 7"), symbol("SPY")), False
    )
    command = example_command(listed, strategy, ["--strategies", "my ideas/mine.py"])
    assert shlex.split(command) == [
        *("stratsweep", "optimize", "mine", "--strategies", "my ideas/mine.py"),
        *("--symbol", "SPY", "--param", "fast=5:20:5", "--param", "kind=a,b"),
        *("--target", "profit"),
    ]


def test_a_strategy_without_numbers_is_tried_with_what_it_has_and_without_prices_on_a_symbol():
    strategy = Strategy("mine", "", (parameter("BOOL", False, name="short"),))
    listed = StrategyList((strategy,), (Metric("sharpe_ratio", ""),), (), False)
    expected = "stratsweep optimize mine --symbol SYMBOL --param short=true,false"
    assert example_command(listed, strategy) == expected
