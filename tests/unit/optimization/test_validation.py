"""Validation: what is refused, where, with which advice, and all of it at once."""

import math
from array import array
from datetime import date

import pytest
from stratsweep_server.backtest import (
    EngineDescription,
    Metric,
    ParameterType,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
)
from stratsweep_server.optimization.limits import DEFAULT_MAX_COMBINATIONS
from stratsweep_server.optimization.validation import (
    InvalidConfigError,
    ViolationKind,
    find_violations,
)

CROSS = Strategy(
    "cross",
    parameters=(
        StrategyParameter("fast", ParameterType.INTEGER, 10, minimum=2, maximum=100),
        StrategyParameter("slow", ParameterType.INTEGER, 50, minimum=2.0),
        StrategyParameter("share", ParameterType.DOUBLE, 1.0, minimum=0.0, maximum=1.0),
        StrategyParameter("kind", ParameterType.STRING, "a", choices=("simple", "exponential")),
        StrategyParameter("label", ParameterType.STRING, ""),
        StrategyParameter("short", ParameterType.BOOL, default=False),
    ),
)
NEEDY = Strategy(
    "needy",
    parameters=(
        StrategyParameter("must", ParameterType.INTEGER),
        StrategyParameter("also", ParameterType.BOOL),
        StrategyParameter("may", ParameterType.INTEGER, 1),
    ),
)
WHOLE = "whole numbers"
WITHOUT_POINT = "written without a decimal point"
DECLARED = EngineDescription(
    strategies=(CROSS, NEEDY, Strategy("hold")),
    metrics=(Metric("sharpe_ratio"), Metric("total_return")),
)
UNDECLARED = EngineDescription()


def config(**changes):
    defaults = {"strategy": "cross", "symbols": ["SPY"], "parameters": {"fast": IntegerRange(5, 9)}}
    return OptimizationConfig(**defaults | changes)


def violations(engine=DECLARED, max_combinations=DEFAULT_MAX_COMBINATIONS, **changes):
    """What is wrong with a config: (field, description) pairs."""
    found = find_violations(config(**changes), engine, max_combinations)
    return [(violation.field, violation.description) for violation in found]


def only_violation(**changes):
    [violation] = violations(**changes)
    return violation


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"fast": IntegerRange(2, 100)},
        {"fast": [5, 10]},
        {"fast": range(5, 50, 5)},
        {"share": DoubleRange(0.1, 0.5, step=0.1)},
        {"share": DoubleRange(0.0, 1.0, point_count=11)},
        {"share": DoubleRange(0.5, 0.5, point_count=1)},
        {"share": [0.25, 0.5]},
        {"kind": ["simple", "exponential"], "label": ["anything", ""]},
        {"short": [False, True]},
        [Parameter("slow", [2**63 - 1])],
    ],
)
def test_a_good_config_has_no_violations(parameters):
    assert violations(parameters=parameters) == []


def test_a_double_parameter_takes_whole_numbers():
    assert violations(parameters={"share": IntegerRange(0, 1)}) == []
    assert violations(parameters={"share": [0, 1]}) == []
    assert violations(parameters={"share": [0, 0.5, 1]}) == []


STRATEGIES = "cross, needy, hold"


@pytest.mark.parametrize(
    ("changes", "field", "description"),
    [
        ({"strategy": ""}, "strategy", "is required; ListStrategies names the strategies"),
        ({"symbols": []}, "symbols", "name at least one symbol"),
        ({"symbols": ["SPY", ""]}, "symbols[1]", "is empty"),
        ({"symbols": ["A", "B", "A"]}, "symbols", "'A' is named more than once"),
        (
            {"start_date": date(2021, 1, 2), "end_date": date(2021, 1, 1)},
            "date_range",
            "ends on 2021-01-01, before it starts on 2021-01-02; swap the two",
        ),
        (
            {"optimization_target": ""},
            "optimization_target",
            "is empty; name the metric to rank by",
        ),
        (
            {"optimization_target": "sharp_ratio"},
            "optimization_target",
            "'sharp_ratio' is no metric; did you mean 'sharpe_ratio'?",
        ),
        (
            {"optimization_target": "xyz"},
            "optimization_target",
            "'xyz' is no metric; there are sharpe_ratio, total_return",
        ),
        ({"backtest_timeout": 0.0}, "backtest_timeout", "is 0; make it positive"),
        ({"backtest_timeout": -1.0}, "backtest_timeout", "is -1; make it positive"),
        ({"backtest_timeout": math.inf}, "backtest_timeout", "is inf; make it positive"),
        ({"starting_cash": 0}, "starting_cash", "is 0; make it positive"),
        ({"starting_cash": math.nan}, "starting_cash", "is nan; make it positive"),
        (
            {"commission": -0.001},
            "commission",
            "is -0.001; make it a fraction from 0 up to, not including, 1",
        ),
        (
            {"slippage": 1.0},
            "slippage",
            "is 1; make it a fraction from 0 up to, not including, 1",
        ),
        ({"max_ranked_results": -1}, "max_ranked_results", "is -1; make it 0 (all) or positive"),
        ({"seed": -1}, "seed", "must be a whole number from 0 to 2^64 - 1"),
        ({"seed": 2**64}, "seed", "must be a whole number from 0 to 2^64 - 1"),
        ({"seed": 1.0}, "seed", "must be a whole number from 0 to 2^64 - 1"),
    ],
)
def test_a_bad_field_is_named_with_what_to_do(changes, field, description):
    assert only_violation(**changes) == (field, description)


@pytest.mark.parametrize(
    ("values", "field", "description"),
    [
        ([], "", "has no values; name at least one"),
        (IntegerRange(1, 9, 0), ".integer_range.step", "is 0; make it positive"),
        (IntegerRange(1, 9, -1), ".integer_range.step", "is -1; make it positive"),
        (IntegerRange(9, 5), ".integer_range.stop", "is 5, below start 9; swap the two"),
        (IntegerRange(1, 2**63), ".integer_range.stop", "does not fit in 64 bits"),
        (IntegerRange(-(2**63) - 1, 2), ".integer_range.start", "does not fit in 64 bits"),
        ([5, 2**63], "", "has a number that does not fit in 64 bits"),
        ([10**400], "", "has a number that does not fit in 64 bits"),
        (
            DoubleRange(0.0, 1.0, step=0.0),
            ".double_range.step",
            "is 0; make it positive and finite",
        ),
        (
            DoubleRange(0.0, 1.0, step=-0.1),
            ".double_range.step",
            "is -0.1; make it positive and finite",
        ),
        (
            DoubleRange(0.0, 1.0, step=math.nan),
            ".double_range.step",
            "is nan; make it positive and finite",
        ),
        (
            DoubleRange(0.0, 1.0, step=math.inf),
            ".double_range.step",
            "is inf; make it positive and finite",
        ),
        (
            DoubleRange(1000001.5, 1000001.0, step=0.1),
            ".double_range.stop",
            "is 1000001, below start 1000001.5; swap the two",
        ),
        (DoubleRange(math.nan, 1.0, step=0.1), ".double_range", "has an end that is not finite"),
        (DoubleRange(0.0, math.inf, step=0.1), ".double_range", "has an end that is not finite"),
        (DoubleRange(0.0, 1.0), ".double_range", "needs either a step or a point count"),
        (
            DoubleRange(0.0, 1.0, step=0.1, point_count=3),
            ".double_range",
            "needs either a step or a point count",
        ),
        (
            DoubleRange(0.0, 1.0, point_count=1),
            ".double_range.point_count",
            "is 1; make it at least 2",
        ),
        (
            DoubleRange(0.0, 1.0, point_count=0),
            ".double_range.point_count",
            "is 0; make it at least 2",
        ),
        (
            DoubleRange(1.0, 1.0, point_count=5),
            ".double_range.point_count",
            "is 5, but start equals stop; make it 1 or move one of them",
        ),
        ([1.0, math.nan], "", "has a value that is not finite"),
        ([-math.inf], "", "has a value that is not finite"),
        ([5, 7, 5], "", "has 5 more than once"),
        ([1, 1.0], "", "has 1 more than once"),
        ([0.0, -0.0], "", "has 0.0 more than once"),
        (["a", "b", "b", "a"], "", "has 'a', 'b' more than once"),
        ([1, "a"], "", "mixes types; use numbers, texts or bools only"),
        ([2, True], "", "mixes types; use numbers, texts or bools only"),
        ([b"bytes"], "", "mixes types; use numbers, texts or bools only"),
    ],
)
def test_values_that_are_no_axis_are_refused_by_any_engine(values, field, description):
    for engine in (DECLARED, UNDECLARED):
        parameters = [Parameter("label", ["x"]), Parameter("share", values)]
        assert violations(engine=engine, parameters=parameters) == [
            (f"parameters[1]{field}", description)
        ]


@pytest.mark.parametrize(
    ("name", "values", "description"),
    [
        ("fast", [5.0], f"gives 5.0, but 'fast' takes {WHOLE}, {WITHOUT_POINT}"),
        (
            "fast",
            DoubleRange(5.0, 9.0, step=1.0),
            f"gives a range of numbers that may have decimals, but 'fast' takes {WHOLE}, "
            + WITHOUT_POINT,
        ),
        ("fast", [5, 7.5], f"gives 5, 7.5, but 'fast' takes {WHOLE}, {WITHOUT_POINT}"),
        ("fast", [True], f"gives true, but 'fast' takes {WHOLE}"),
        ("fast", ["5-20"], f"gives the text '5-20', but 'fast' takes {WHOLE}"),
        ("share", ["5", "x"], "gives the texts '5', 'x', but 'share' takes numbers"),
        ("share", [True, False], "gives true, false, but 'share' takes numbers"),
        ("short", [0, 1], "gives 0, 1, but 'short' takes true and false"),
        ("kind", [1], "gives 1, but 'kind' takes texts"),
        ("label", IntegerRange(1, 3), "gives a range of whole numbers, but 'label' takes texts"),
        ("fast", [1, 5], "has 1, below the minimum 2"),
        ("fast", IntegerRange(1, 50), "has 1, below the minimum 2"),
        ("fast", IntegerRange(5, 110, 5), "has 110, above the maximum 100"),
        ("slow", [-(2**63)], "has -9223372036854775808, below the minimum 2"),
        ("share", [0.5, 1.0000001], "has 1.0000001, above the maximum 1"),
        ("share", DoubleRange(0.0, 1.1, step=0.1), "has 1.1, above the maximum 1"),
        ("share", DoubleRange(-0.1, 1.0, point_count=3), "has -0.1, below the minimum 0"),
        (
            "kind",
            ["simple", "weighted"],
            "has 'weighted'; the choices are simple, exponential",
        ),
    ],
)
def test_values_that_do_not_fit_the_declaration_are_refused(name, values, description):
    assert only_violation(parameters={name: values}) == ("parameters[0]", description)


def test_values_below_and_above_the_bounds_are_both_named():
    assert [description for _, description in violations(parameters={"fast": [1, 101]})] == [
        "has 1, below the minimum 2",
        "has 101, above the maximum 100",
    ]


def test_a_range_is_judged_by_its_points_not_by_its_stop():
    assert violations(parameters={"fast": IntegerRange(90, 104, 10)}) == []
    assert violations(parameters={"share": DoubleRange(0.7, 1.05, step=0.1)}) == []


def test_an_unknown_strategy_suggests_the_nearest_and_is_of_its_own_kind():
    [violation] = find_violations(config(strategy="crosss"), DECLARED, 10)
    assert violation.kind is ViolationKind.UNKNOWN_STRATEGY
    assert violation.field == "strategy"
    assert violation.description == "'crosss' is not registered; did you mean 'cross'?"
    assert only_violation(strategy="zzz")[1] == f"'zzz' is not registered; there are {STRATEGIES}"


@pytest.mark.parametrize("target", ["sharp", "SHARPE_RATIO", "sharpe-ratio", "Ratio"])
def test_an_unknown_metric_suggests_one_that_it_is_like_or_a_part_of(target):
    _, description = only_violation(optimization_target=target)
    assert description == f"{target!r} is no metric; did you mean 'sharpe_ratio'?"


def test_an_unknown_parameter_suggests_the_nearest():
    assert only_violation(parameters={"fasst": [5]}) == (
        "parameters[0].name",
        "cross has no parameter 'fasst'; did you mean 'fast'?",
    )
    assert only_violation(strategy="hold", parameters={"fast": [5]}) == (
        "parameters[0].name",
        "hold has no parameter 'fast'; it has none",
    )


def test_a_parameter_without_a_name_is_refused():
    assert only_violation(parameters=[Parameter("", [1])]) == ("parameters[0].name", "is required")


def test_a_parameter_named_twice_is_refused():
    assert only_violation(parameters=[Parameter("fast", [5]), Parameter("fast", [6])]) == (
        "parameters",
        "'fast' is named more than once; join its values",
    )


def test_every_missing_required_parameter_is_named():
    assert violations(strategy="needy", parameters={"may": [1]}) == [
        ("parameters", "needy needs 'must', which has no default"),
        ("parameters", "needy needs 'also', which has no default"),
    ]
    assert violations(strategy="needy", parameters={"must": [1], "also": [True]}) == []


@pytest.mark.parametrize(
    ("changes", "field", "description"),
    [
        ({"symbols": ["S"] * 1_001}, "symbols", "are 1,001; 1,000 are allowed"),
        (
            {"parameters": [Parameter(f"p{n}", [1]) for n in range(65)]},
            "parameters",
            "are 65; 64 are allowed",
        ),
        ({"constraints": ["fast > 1"] * 101}, "constraints", "are 101; 100 are allowed"),
    ],
)
def test_more_parts_than_allowed_are_counted_and_not_looked_at(changes, field, description):
    assert violations(strategy="", starting_cash=0, **changes) == [(field, description)]


LONG = "x" * 900_000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"strategy": LONG}, "strategy"),
        ({"symbols": [LONG]}, "symbols[0]"),
        ({"symbols": ["A\0"]}, "symbols[0]"),
        ({"optimization_target": LONG}, "optimization_target"),
        ({"parameters": [Parameter(LONG, [1])]}, "parameters[0].name"),
        ({"parameters": [Parameter("x\0", [1])]}, "parameters[0].name"),
        ({"parameters": {"label": [LONG, "a"]}}, "parameters[0]"),
        ({"parameters": {"label": ["a", "a\0"]}}, "parameters[0]"),
        ({"parameters": {"label": ["\0"]}}, "parameters[0]"),
        ({"parameters": {"kind": [LONG[:1_000]]}}, "parameters[0]"),
        ({"parameters": {"label": LONG}}, "parameters[0]"),
        ({"constraints": [LONG]}, "constraints[0]"),
        ({"constraints": [f"fast < {LONG[:400]}"]}, "constraints[0]"),
        ({"constraints": [f"{LONG[:400]}(1) < 2"]}, "constraints[0]"),
        ({"parameters": {"fast": [10**400]}}, "parameters[0]"),
        ({"parameters": {"fast": IntegerRange(1, 10**5_000)}}, "parameters[0].integer_range.stop"),
        (
            {"parameters": {"fast": IntegerRange(1, 2, -(10**5_000))}},
            "parameters[0].integer_range.step",
        ),
        ({"starting_cash": 10**5_000}, "starting_cash"),
        ({"max_ranked_results": -(10**5_000)}, "max_ranked_results"),
    ],
)
def test_a_long_text_or_number_is_refused_by_a_short_message(changes, field):
    for engine in (DECLARED, UNDECLARED):
        found = violations(engine=engine, **changes)
        if engine is DECLARED or field != "parameters[0]":
            assert field in [each for each, _ in found]
        assert sum(len(description) for _, description in found) < 1_000
        assert not any("\0" in description for _, description in found)


def test_texts_and_names_as_long_as_allowed_are_taken():
    name = "n" * 250
    changes = {
        "strategy": name,
        "symbols": [name],
        "optimization_target": name,
        "parameters": {name: ["t" * 1_000, "t"]},
    }
    assert violations(engine=UNDECLARED, **changes) == []


def test_a_hint_lists_some_of_many_names():
    names = [f"strategy_{number}" for number in range(500)]
    engine = EngineDescription(strategies=tuple(map(Strategy, names)))
    _, description = only_violation(engine=engine, strategy="zzz")
    assert description.startswith("'zzz' is not registered; there are strategy_0, strategy_1, ")
    assert description.endswith("strategy_19 (480 not shown)")
    parameters = [Parameter(f"n{number}\n", [1]) for number in range(64)]
    _, description = only_violation(
        engine=UNDECLARED, parameters=parameters, constraints=["unknown > 1"]
    )
    assert "its parameters are 'n0\\n', 'n1\\n'" in description
    assert "(44 not shown)" in description


def test_violations_are_looked_for_up_to_a_hundred():
    symbols = ["", *(f"S{number // 2}" for number in range(600))]
    assert len(violations(symbols=symbols, starting_cash=0)) == 100
    tens = violations(symbols=["", *(f"S{number // 2}" for number in range(100))], starting_cash=0)
    assert len(tens) == 52


def test_a_list_longer_than_the_largest_grid_is_not_looked_at():
    assert only_violation(engine=UNDECLARED, parameters={"x": [1] * 11}, max_combinations=10) == (
        "parameters[0]",
        "has 11 values, the server takes grids of 10",
    )


def test_lists_in_arrays_are_checked_as_others_are():
    for values in ([5, 7, 5], [3, 10**18], [6], [200]):
        numbers = array("q", values)
        assert violations(parameters={"fast": numbers}) == violations(parameters={"fast": values})
    for values in ([0.5, math.nan], [0.5, 0.25, 0.5], [math.inf], [2.0], [0.0, -0.0]):
        doubles = array("d", values)
        assert violations(parameters={"share": doubles}) == violations(parameters={"share": values})


@pytest.mark.parametrize("timeout", [315_576_000_001.0, 2.0**63 - 513, 1e308])
def test_a_timeout_beyond_the_longest_duration_is_refused(timeout):
    field, description = only_violation(backtest_timeout=timeout)
    assert field == "backtest_timeout"
    assert "at most 315,576,000,000 s" in description


def test_bounds_are_compared_exactly():
    bounded = Strategy(
        "bounded",
        parameters=(
            StrategyParameter(
                "n", ParameterType.INTEGER, 0, minimum=-(2**53) - 1, maximum=2**63 - 2
            ),
        ),
    )
    engine = EngineDescription(strategies=(bounded,))
    good = {"n": IntegerRange(-(2**53) - 1, 2**63 - 2, 2**62)}
    assert violations(engine=engine, strategy="bounded", parameters=good) == []
    assert violations(
        engine=engine, strategy="bounded", parameters={"n": [-(2**53) - 2, 2**63 - 1]}
    ) == [
        ("parameters[0]", "has -9007199254740994, below the minimum -9007199254740993"),
        ("parameters[0]", "has 9223372036854775807, above the maximum 9223372036854775806"),
    ]


def test_a_huge_grid_is_refused_without_being_built():
    million = IntegerRange(1, 10**6)
    parameters = {"a": million, "b": million, "c": DoubleRange(0.0, 0.999999, step=1e-6)}
    field, description = only_violation(
        engine=UNDECLARED, parameters=parameters, constraints=["a < b"], max_combinations=10**6
    )
    assert field == "parameters"
    assert description == (
        "the grid has 1,000,000,000,000,000,000 combinations before constraints, "
        "the server takes 1,000,000; use larger steps or fewer values"
    )


def test_a_grid_whose_size_has_thousands_of_digits_is_refused_too():
    parameters = {f"p{number}": IntegerRange(0, 2**63 - 1) for number in range(60)}
    _, description = only_violation(engine=UNDECLARED, parameters=parameters)
    assert description.startswith("the grid has more than 10^30 combinations before constraints")


@pytest.mark.parametrize(("limit", "is_refused"), [(5, False), (4, True)])
def test_the_limit_is_the_largest_grid_that_is_taken(limit, is_refused):
    found = violations(parameters={"fast": IntegerRange(5, 9)}, max_combinations=limit)
    assert bool(found) is is_refused


def test_constraints_are_checked_one_by_one():
    found = violations(constraints=["fast < 7", "fst < 7", "fast <", "fast"])
    assert [field for field, _ in found] == ["constraints[1]", "constraints[2]", "constraints[3]"]
    assert "names 'fst', which the grid does not have; its parameters are fast" in found[0][1]
    assert "ends where a parameter, a number or a text should be" in found[1][1]
    assert "compare it with something" in found[2][1]


def test_the_number_of_constraints_is_limited():
    assert violations(constraints=["fast < 7"] * 100) == []
    assert only_violation(constraints=["fast < 7"] * 101) == (
        "constraints",
        "are 101; 100 are allowed",
    )


def test_requirements_are_checked_one_by_one():
    texts = ["sharpe_ratio > 1", "shape_ratio > 1", "sharpe_ratio >", "sharpe_ratio"]
    found = violations(requirements=texts, parameters={"fast": [1]})
    assert [field for field, _ in found] == [
        "parameters[0]",
        "requirements[1]",
        "requirements[2]",
        "requirements[3]",
    ]
    assert "did you mean sharpe_ratio?" in found[1][1]


def test_the_number_of_requirements_is_limited():
    assert violations(requirements=["total_return<7"] * 100) == []
    assert only_violation(requirements=["sharpe_ratio < 7"] * 101) == (
        "requirements",
        "are 101; 100 are allowed",
    )
    assert only_violation(requirements=["total_return < 0.1234"] * 100) == (
        "requirements",
        "have 2,100 characters together; 2,000 are allowed",
    )


@pytest.mark.parametrize("name", ["fast", "slow"])
@pytest.mark.parametrize("engine", [DECLARED, EngineDescription(strategies=(CROSS,))])
def test_a_parameter_in_a_requirement_belongs_into_a_constraint(name, engine):
    assert only_violation(engine=engine, requirements=[f"{name} > 5"]) == (
        "requirements[0]",
        f"'{name} > 5' names '{name}', a parameter; conditions on those are `constraints`",
    )


def test_a_metric_in_a_constraint_belongs_into_a_requirement():
    field, description = only_violation(constraints=["fast < 7 AND total_return > 0"])
    assert field == "constraints[0]"
    assert description == (
        "'fast < 7 AND total_return > 0' names 'total_return', a metric, which is known only when "
        "a backtest has run; conditions on metrics are `requirements`"
    )


def test_where_an_engine_declares_no_metrics_any_name_is_one():
    requirements = ['whatever > 0.5 AND "their own figure" IS NOT NULL']
    assert violations(engine=UNDECLARED, requirements=requirements) == []


def test_constraints_are_checked_beside_values_that_do_not_fit():
    found = violations(parameters={"fast": [1]}, constraints=["slow < 7"])
    assert [field for field, _ in found] == ["parameters[0]", "constraints[0]"]


def test_a_parameter_that_could_not_be_read_is_not_reported_again():
    axes = [Parameter("fast", None), Parameter("slow", [50])]
    assert violations(parameters=axes, constraints=["fast < slow"]) == []
    assert only_violation(parameters=[Parameter("fasst", None)])[0] == "parameters[0].name"


def test_every_violation_is_reported_at_once():
    found = violations(
        strategy="cross",
        symbols=["SPY", "", "SPY"],
        parameters=[
            Parameter("fast", IntegerRange(9, 5, 0)),
            Parameter("share", DoubleRange(0.0, 2.0, step=0.5)),
            Parameter("kind", []),
            Parameter("smooth", [1]),
            Parameter("kind", ["simple"]),
        ],
        start_date=date(2022, 1, 1),
        end_date=date(2021, 1, 1),
        optimization_target="profit",
        backtest_timeout=0,
        starting_cash=-1,
        commission=-0.1,
        slippage=2,
        max_ranked_results=-5,
    )
    assert [field for field, _ in found] == [
        "symbols[1]",
        "symbols",
        "date_range",
        "parameters",
        "parameters[0].integer_range.step",
        "parameters[0].integer_range.stop",
        "parameters[1]",
        "parameters[2]",
        "parameters[3].name",
        "optimization_target",
        "backtest_timeout",
        "starting_cash",
        "commission",
        "slippage",
        "max_ranked_results",
    ]


def test_the_error_has_every_violation_in_its_text():
    found = find_violations(config(symbols=[], starting_cash=0), DECLARED, 10)
    error = InvalidConfigError(found)
    assert error.violations == tuple(found)
    assert str(error) == "symbols: name at least one symbol; starting_cash: is 0; make it positive"


def test_an_engine_that_declares_nothing_is_given_anything():
    assert (
        violations(
            engine=UNDECLARED,
            strategy="their own",
            symbols=["../anything"],
            parameters={"x": [1, 2.5], "y": [-(2**63)], "z": ["text"], "select": [True]},
            optimization_target="their own figure",
        )
        == []
    )


def test_what_an_engine_leaves_undeclared_is_not_checked():
    only_strategies = EngineDescription(strategies=(CROSS,))
    assert violations(engine=only_strategies, optimization_target="anything") == []
    only_metrics = EngineDescription(metrics=(Metric("profit"),))
    assert only_violation(engine=only_metrics, strategy="their own")[0] == "optimization_target"


def test_long_lists_are_checked_and_reported_in_short():
    assert violations(engine=UNDECLARED, parameters={"x": list(range(500_000))}) == []
    repeated = list(range(100_000)) * 2
    assert only_violation(engine=UNDECLARED, parameters={"x": repeated}) == (
        "parameters[0]",
        "has 0, 1, 2, 3, 4 (99,995 not shown) more than once",
    )
    _, description = only_violation(parameters={"kind": [f"k{number}" for number in range(10**5)]})
    assert description == (
        "has 'k0', 'k1', 'k2', 'k3', 'k4' (99,995 not shown); the choices are simple, exponential"
    )
