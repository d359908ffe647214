"""Declaring strategies with the decorator."""

import doctest
from typing import Annotated, Literal, Optional
from unittest.mock import patch

import numpy as np
import pytest
from stratsweep_server.backtest import (
    Bars,
    Booleans,
    Doubles,
    Integers,
    Parameter,
    ParameterType,
    StrategyParameter,
    Texts,
    registry,
    strategy,
)
from stratsweep_server.backtest.registry import (
    StrategyDeclarationError,
    declare,
    register,
    registered_strategies,
    strategies_of_main,
)

from .markets import bars_of


@pytest.fixture(autouse=True)
def _own_registry():
    with patch.dict(registry._registered, clear=True):
        yield


def test_a_function_is_declared_by_its_signature_and_docstring():
    @strategy
    def breakout(
        bars: Bars,
        period: Annotated[int, Parameter("Bars of the channel.", minimum=2, maximum=500)],
        threshold: float = 1,
        price: Literal["close", "high"] = "close",
        label: str = "",
        *,
        allow_short: bool = False,
    ):
        """Long above the channel.

        More about it.
        """
        return np.zeros(len(bars))

    declared = registered_strategies()["breakout"].declaration
    assert declared.name == "breakout"
    assert declared.description == "Long above the channel."
    assert declared.parameters == (
        StrategyParameter(
            "period",
            ParameterType.INTEGER,
            minimum=2,
            maximum=500,
            description="Bars of the channel.",
        ),
        StrategyParameter("threshold", ParameterType.DOUBLE, default=1.0),
        StrategyParameter(
            "price", ParameterType.STRING, default="close", choices=("close", "high")
        ),
        StrategyParameter("label", ParameterType.STRING, default=""),
        StrategyParameter("allow_short", ParameterType.BOOL, default=False),
    )
    assert type(declared.parameters[1].default) is float


def test_the_decorator_returns_the_function_itself():
    @strategy(name="other-name")
    def function(bars: Bars):
        return [1.0]

    assert function(None) == [1.0]
    assert set(registered_strategies()) == {"other-name"}


def test_the_docstrings_example_runs():
    (example,) = doctest.DocTestFinder(recurse=False).find(strategy)
    assert doctest.DocTestRunner().run(example, clear_globs=False).failed == 0
    bars = bars_of([1] * 6, [5, 4, 3, 2, 3, 2])
    decided = registered_strategies()["dip"].decide(bars, {"days": 2})
    assert list(decided) == [False, False, True, True, False, False]


def no_bars(): ...


def only_keywords(*, bars: Bars): ...


def untyped(bars: Bars, period=3): ...


def optional(bars: Bars, period: Optional[int] = 3): ...  # noqa: UP045


def default_none(bars: Bars, period: int = None): ...  # noqa: RUF013


def of_list(bars: Bars, periods: list[int]): ...


def numeric_choice(bars: Bars, mode: Literal[1, 2] = 1): ...


def variadic(bars: Bars, *periods: int): ...


def any_keyword(bars: Bars, **periods: int): ...


def positional_only(bars: Bars, period: int, /): ...


def wrong_default(bars: Bars, period: int = 2.5): ...


def bool_for_int(bars: Bars, period: int = True): ...


def infinite_default(bars: Bars, level: float = float("inf")): ...


def no_choice(bars: Bars, mode: Literal["a", "b"] = "c"): ...


def below(bars: Bars, period: Annotated[int, Parameter(minimum=2)] = 1): ...


def above(bars: Bars, period: Annotated[int, Parameter(maximum=2)] = 3): ...


def inverted(bars: Bars, period: Annotated[int, Parameter(minimum=3, maximum=2)]): ...


def nan_bound(bars: Bars, level: Annotated[float, Parameter(minimum=float("nan"))]): ...


def bounded_text(bars: Bars, mode: Annotated[str, Parameter(maximum=3)]): ...


def two_parameters(bars: Bars, period: Annotated[int, Parameter("a"), Parameter("b")]): ...


def class_for_instance(bars: Bars, period: Annotated[int, Parameter]): ...


def unresolvable(bars: "Bars", period: "Missing"): ...  # noqa: F821


async def coroutine(bars: Bars): ...


def generator(bars: Bars):
    yield 1.0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_bars, "must take the bars first"),
        (only_keywords, "must take the bars first"),
        (untyped, "parameter 'period' needs a type"),
        (optional, "cannot have the type"),
        (default_none, "None is no default; leave the default out"),
        (of_list, "parameter 'periods' cannot have the type list"),
        (numeric_choice, "choices of Literal must be texts"),
        (variadic, "given by name"),
        (any_keyword, "given by name"),
        (positional_only, "given by name"),
        (wrong_default, "default 2.5 is of type float, not integer"),
        (bool_for_int, "default True is of type bool, not integer"),
        (infinite_default, "default inf is not finite"),
        (no_choice, "default 'c' is not one of a, b"),
        (below, "default 1 is below the minimum 2"),
        (above, "default 3 is above the maximum 2"),
        (inverted, "the minimum 3 is above the maximum 2"),
        (nan_bound, "NaN is no bound"),
        (bounded_text, "only int and float"),
        (two_parameters, "more than one Parameter"),
        (class_for_instance, r"write Parameter\(\.\.\.\)"),
        (unresolvable, "'Missing' is not defined.*not under TYPE_CHECKING"),
        (coroutine, "must be a plain function"),
        (generator, "must be a plain function"),
        (Bars, "a strategy is a function"),
        (3, "a strategy is a function"),
    ],
)
def test_what_cannot_be_declared_is_refused_where_it_is_written(function, message):
    with pytest.raises(StrategyDeclarationError, match=message):
        strategy(function)
    assert not registered_strategies()


@pytest.mark.parametrize("name", ["", "two words", "1st", "../x"])
def test_a_name_that_could_not_be_typed_is_refused(name):
    with pytest.raises(StrategyDeclarationError, match="use letters, digits"):
        strategy(name=name)(lambda bars: [])


def test_a_name_is_taken_once():
    @strategy
    def first(bars: Bars): ...

    with pytest.raises(StrategyDeclarationError, match=r"already registered by .*\.first; give it"):

        @strategy(name="first")
        def second(bars: Bars): ...


def test_a_module_that_is_executed_again_replaces_its_strategies():
    def define():
        @strategy
        def again(bars: Bars): ...

        return again

    define()
    latest = define()
    assert registered_strategies()["again"].function is latest


def test_whole_numbers_reach_float_parameters_as_floats():
    @strategy
    def typed(bars: Bars, level: float = 1.0, period: int = 1):
        return type(level), type(period)

    run = registered_strategies()["typed"].decide
    assert run(None, {"level": 2, "period": 2}) == (float, int)


def test_a_parameter_that_is_missing_or_unknown_is_named():
    @strategy
    def required(bars: Bars, period: int, level: float = 1.0): ...

    run = registered_strategies()["required"].decide
    with pytest.raises(ValueError, match="'required' needs a value for parameter 'period'"):
        run(None, {})
    with pytest.raises(ValueError, match="has no parameter 'length'; it has period, level"):
        run(None, {"period": 1, "length": 2})


def test_a_strategy_declared_in_columns_decides_for_many_combinations():
    @strategy
    def above(
        bars: Bars,
        level: Annotated[Doubles, Parameter("To be above.", minimum=0)],
        days: Integers = 1,
        inverse: Booleans = False,
        price: Texts = "close",
    ):
        assert (price == "close").all()
        beyond = bars.close >= (level * days)[:, np.newaxis]
        return beyond != inverse[:, np.newaxis]

    registered = registered_strategies()["above"]
    assert registered.is_vectorized
    assert [parameter.type for parameter in registered.declaration.parameters] == [
        ParameterType.DOUBLE,
        ParameterType.INTEGER,
        ParameterType.BOOL,
        ParameterType.STRING,
    ]
    bars = bars_of([1] * 3, [1, 2, 3])
    levels = {"level": np.array([2, 3])}
    assert registered.decide_all(bars, levels, 2).tolist() == [
        [False, True, True],
        [False, False, True],
    ]
    one = registered.decide(bars, {"level": 2, "inverse": True})
    assert np.asarray(one).tolist() == [True, False, False]


def test_columns_and_single_values_in_one_signature_are_refused():
    with pytest.raises(StrategyDeclarationError, match="either all parameters as columns"):

        @strategy
        def mixed(bars: Bars, fast: Integers, slow: int): ...


def test_a_function_is_declared_without_being_registered():
    def dip(bars: Bars, days: int = 3):
        """Long after a dip."""

    declared = declare(dip)
    assert (declared.declaration.name, declared.declaration.description) == (
        "dip",
        "Long after a dip.",
    )
    assert not registered_strategies()
    register(declared)
    assert registered_strategies() == {"dip": declared}


def test_a_registered_function_keeps_what_its_decorator_said():
    @strategy(name="other-name")
    def dip(bars: Bars): ...

    assert declare(dip) is registered_strategies()["other-name"]


def test_the_strategies_of_a_script_are_those_whose_module_nobody_can_name():
    @strategy
    def of_a_module(bars: Bars): ...

    def of_a_script(bars: Bars): ...

    of_a_script.__module__ = "__main__"
    strategy(of_a_script)
    assert [each.function for each in strategies_of_main()] == [of_a_script]


@pytest.mark.parametrize("function", [3, Bars, lambda bars: bars.close])
def test_what_is_no_named_function_is_no_strategy(function):
    with pytest.raises(StrategyDeclarationError, match=r"is a function|strategy name '<lambda>'"):
        declare(function)
