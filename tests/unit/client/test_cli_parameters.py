"""The text of `--param`, and violations in words of the command line."""

import click
import pytest
from stratsweep import DoubleRange, IntegerRange, Violation
from stratsweep.cli.optimize import optimize
from stratsweep.cli.parameter_hints import correct
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


@pytest.mark.parametrize(
    "text", ["5:50", "5:50:5:5", "a:b:c", "5::5", "", "1,,2", "0.1:0.5:5p", "[5,10]", "(5, 10)"]
)
def test_text_that_is_neither_range_nor_list_is_refused(text):
    with pytest.raises(ValueError, match=r"start:stop:step|a value is missing|no brackets"):
        parse_values(text)


@pytest.mark.parametrize("text", ["fast", "=5", "fast=5:50"])
def test_a_bad_param_is_a_usage_error_that_quotes_it(text):
    with pytest.raises(click.BadParameter, match=f"'{text}'"):
        ParameterType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("[5,10]", "5,10"),
        ("(5, 10)", "5,10"),
        ("{5,10}", "5,10"),
        ('"5,10"', "5,10"),
        ("=5,10", "5,10"),
        ("5,10,", "5,10"),
        ("5;10", "5,10"),
        ("5|10", "5,10"),
        ("5 10", "5,10"),
        ("5-20", "5:20:1"),
        ("5–20", "5:20:1"),  # noqa: RUF001
        ("5..20", "5:20:1"),
        ("5…20", "5:20:1"),
        ("5:20", "5:20:1"),
        ("5 to 20", "5:20:1"),
        ("5-20-5", "5:20:5"),
        ("5:20/5", "5:20:5"),
        ("5..20 by 5", "5:20:5"),
        ("-5..-1", "-5:-1:1"),
        ("0.05-0.5", "0.05:0.5:0.01"),
        ("range(5,20,5)", "5:15:5"),
        ("range(5, 20)", "5:19:1"),
        ("range(20)", "0:19:1"),
        ("np.arange(0.1,0.5,0.1)", "0.1:0.4:0.1"),
        ("linspace(0,1,5)", "0,0.25,0.5,0.75,1"),
        ("numpy.linspace(0,1,4)", "0,0.333333333333,0.666666666667,1"),
        ("10,000", "10000"),
        ("1_000", "1000"),
        ("5%,10%", "0.05,0.1"),
        ("yes,no", "true,false"),
        ("5,abc", None),
        ("simple", None),
        ("2020-01-01", None),
        ("09-17", None),
        ("range(a,b)", None),
        ("range(5,20,0)", None),
        ("range(20,5)", None),
        ("linspace(0,1,1)", None),
        ("linspace(0,1)", None),
        ("5:20:5:5", None),
        ("", None),
    ],
)
def test_values_that_are_written_as_elsewhere_are_corrected(text, instead):
    assert correct(text) == instead
    if instead is not None:
        values = parse_values(instead)
        assert not isinstance(values, tuple) or not isinstance(values[0], str)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fast=[5,10]",
            "'fast=[5,10]': values have no brackets, and numbers no commas; write fast=5,10",
        ),
        ("fast=range(5,20,5)", "; write fast=5:15:5"),
        ("fast=10,000", "; write fast=10000"),
        (
            "fast=5:20",
            "'fast=5:20': a range is start:stop:step, both ends included; write fast=5:20:1",
        ),
        ("fast=5,10,", "'fast=5,10,': a value is missing; write fast=5,10"),
        (
            "fast=",
            "a value is missing; write fast=start:stop:step, both ends included, or fast=a,b,c",
        ),
        ("fast", "'fast': write name=start:stop:step, both ends included, or name=a,b,c"),
        ("fast 5-20", "'fast 5-20': write fast=5:20:1"),
        ("fast: 5,10", "'fast: 5,10': write fast=5,10"),
    ],
)
def test_a_param_that_cannot_be_read_says_what_to_write(text, message):
    with pytest.raises(click.BadParameter) as caught:
        ParameterType().convert(text, None, None)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2010-2020,2020-2024", "(a,b)", "a;b", "x[1],y[2]", "5-20", "1:3,7", "long (5,10"]
)
def test_texts_that_are_meant_as_texts_stay_texts(text):
    values = parse_values(text)
    assert ",".join(values) == text


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (("5-20",), "; write fast=5:20:1"),
        (("5;10",), "; write fast=5,10"),
        (("yes", "no"), "; write fast=true,false"),
        (("5", "abc"), "; write fast=start:stop:step, both ends included, or fast=a,b,c"),
        (("1:9", "slow=20:90"), "; repeat --param for each parameter"),
        (("simple",), ""),
        ((5, 10), ""),
        (IntegerRange(1, 3), ""),
    ],
)
def test_texts_that_the_server_refuses_are_advised_on(values, advice):
    refused = Violation("parameters[1]", "is bad")
    given = {"parameters": {"slow": (20,), "fast": values}}
    assert in_command_line_words([refused], given, optimize) == (
        Violation("--param fast", f"is bad{advice}"),
    )


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
