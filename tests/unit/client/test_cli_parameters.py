"""The text of `--param`, and violations in words of the command line."""

import click
import pytest
from stratsweep import DoubleRange, IntegerRange, Violation
from stratsweep.cli.optimize import optimize
from stratsweep.cli.parameters import ParameterType, parse_values
from stratsweep.cli.violations import in_command_line_words
from stratsweep.v1 import optimization_config_pb2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5:50:5", IntegerRange(5, 50, 5)),
        ("-5:5:1", IntegerRange(-5, 5, 1)),
        ("0.1:0.5:0.1", DoubleRange(0.1, 0.5, step=0.1)),
        ("1:2:0.5", DoubleRange(1, 2, step=0.5)),
        ("1.0:3:1", DoubleRange(1, 3, step=1)),
        ("1,2,3", (1, 2, 3)),
        ("1, 2.5", (1.0, 2.5)),
        ("1e-3", (0.001,)),
        ("true,False", (True, False)),
        ("true,maybe", ("true", "maybe")),
        ("simple,exponential", ("simple", "exponential")),
        ("nan,1", ("nan", "1")),
        ("09:30,10:30", ("09:30", "10:30")),
    ],
)
def test_the_values_types_are_inferred(text, expected):
    values = parse_values(text)
    assert values == expected
    if isinstance(expected, tuple):
        assert [type(value) for value in values] == [type(value) for value in expected]


@pytest.mark.parametrize("text", ["5:50", "5:50:5:5", "a:b:c", "5::5", "", "1,,2", "0.1:0.5:5p"])
def test_text_that_is_neither_range_nor_list_is_refused(text):
    with pytest.raises(ValueError, match=r"start:stop:step|a value is missing"):
        parse_values(text)


@pytest.mark.parametrize("text", ["fast", "=5", "fast=5:50"])
def test_a_bad_param_is_a_usage_error_that_quotes_it(text):
    with pytest.raises(click.BadParameter, match=f"'{text}'"):
        ParameterType().convert(text, None, None)


GIVEN = {"symbols": ["SPY"], "parameters": ["fast", "slow"], "constraints": ["fast < slwo"]}


@pytest.mark.parametrize(
    ("field", "option", "description"),
    [
        ("parameters[1].integer_range.step", "--param slow", "step is bad"),
        ("config.parameters[0].name", "--param fast", "is bad"),
        ("parameters[0].double_range", "--param fast", "is bad"),
        ("parameters", "--param", "is bad"),
        ("symbols[0]", "--symbol SPY", "is bad"),
        ("constraints[0]", '--where "fast < slwo"', "is bad"),
        ("date_range.start_date", "--from", "is bad"),
        ("parameters[9]", "parameters[9]", "is bad"),
        ("something.new", "something.new", "is bad"),
    ],
)
def test_a_field_is_named_by_its_option(field, option, description):
    (translated,) = in_command_line_words([Violation(field, "is bad")], GIVEN, optimize)
    assert translated == Violation(option, description)


def test_every_field_of_the_config_has_an_option():
    for each in optimization_config_pb2.OptimizationConfig.DESCRIPTOR.fields:
        (translated,) = in_command_line_words([Violation(each.name, "is bad")], {}, optimize)
        assert translated.field != each.name
