# ruff: noqa: RUF001 - what people type is tried, too
"""Constraints: what they select, and that nothing outside the grid can be reached with them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization.axes import expand
from stratsweep_server.optimization.conditions import InvalidConditionError
from stratsweep_server.optimization.config import IntegerRange
from stratsweep_server.optimization.constraint_text import FUNCTIONS
from stratsweep_server.optimization.constraints import (
    accepted_indices,
    compiled,
    grid_parameters,
)
from stratsweep_server.optimization.limits import MAX_CONSTRAINT_CHARACTERS, MAX_CONSTRAINT_DEPTH

AXES = (
    ParameterAxis("fast", range(1, 7)),
    ParameterAxis("slow", (2.5, 3.0, 4.25)),
    ParameterAxis("kind", ("simple", "exponential")),
    ParameterAxis("stop", (True, False)),
)
SAMPLE = {axis.name: axis.values[:1] for axis in AXES}
GRID = BacktestPlan("any", AXES, ())

# Texts that mean the same in SQL and in Python, with which the tests filter.
numbers = st.recursive(
    st.sampled_from(["fast", "slow", "0", "2", "3.5"]),
    lambda parts: st.tuples(parts, st.sampled_from("+-*"), parts).map(
        lambda part: f"({' '.join(part)})"
    ),
    max_leaves=3,
)
conditions = st.recursive(
    st.tuples(numbers, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), numbers).map(" ".join)
    | st.sampled_from(["stop", "kind == 'simple'", "kind != 'simple'", "fast in (1, 5, 9)"]),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from(["and", "or"]), parts).map(
            lambda part: f"({' '.join(part)})"
        ),
        parts.map(lambda part: f"not ({part})"),
    ),
    max_leaves=4,
)


def accepted(*constraints, axes=AXES):
    return accepted_indices(axes, constraints).tolist()


def check_constraint(constraint, values):
    compiled(constraint, grid_parameters(values))


def accepted_values(constraint, **values):
    """The values of a one-parameter grid that a constraint lets through."""
    [(name, items)] = values.items()
    axes = (ParameterAxis(name, items),)
    check_constraint(constraint, values)
    return [items[index] for index in accepted(constraint, axes=axes)]


def refusal(constraint, sample=SAMPLE):
    with pytest.raises(InvalidConditionError) as caught:
        check_constraint(constraint, sample)
    return str(caught.value)


@given(conditions)
def test_a_constraint_accepts_what_a_plain_filter_accepts(condition):
    check_constraint(condition, SAMPLE)
    expected = [
        index for index in range(GRID.grid_size) if eval(condition, {}, GRID.combination(index))
    ]
    assert accepted(condition) == expected


@given(st.lists(conditions, max_size=4), st.randoms(use_true_random=False))
def test_several_constraints_are_all_fulfilled_in_any_order(conditions, random):
    expected = set(range(GRID.grid_size)).intersection(*map(accepted, conditions))
    random.shuffle(conditions)
    assert accepted(*conditions) == sorted(expected)


def test_without_constraints_everything_is_accepted():
    assert accepted() == list(range(GRID.grid_size))


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("n BETWEEN 2 AND 4", [2, 3, 4]),
        ("n NOT IN (1, 2)", [3, 4, 5]),
        ("n % 2 = 0", [2, 4]),
        ("mod(n, 2) = 0", [2, 4]),
        ("n // 2 = 1", [2, 3]),
        ("n <> 3 AND n > 2 OR n = 1", [1, 4, 5]),
        ("-n < -3", [4, 5]),
        ("n - -1 = 3", [2]),
        ("n--1 = 3", [2]),
        ("n/2 > 1.5", [4, 5]),
        ("abs(n - 3) < .5", [3]),
        ("pow(n, 2) > 1e1", [4, 5]),
        ("n > avg(n)", [4, 5]),
        ("n = MAX(n) OR n = Min(n)", [1, 5]),
        ("round(n / 3) = ceil(n / 3)", [2, 3, 5]),
        ("floor(sqrt(n)) = 2", [4, 5]),
        ("NOT (n < 3)", [3, 4, 5]),
        ("n IS NOT NULL", [1, 2, 3, 4, 5]),
        ("true", [1, 2, 3, 4, 5]),
        ('"n" == 3', [3]),
        ("(n < 3) = (n > 1)", [2]),
    ],
)
def test_arithmetic_functions_and_operators_of_sql(constraint, expected):
    assert accepted_values(constraint, n=(1, 2, 3, 4, 5)) == expected


def test_texts_are_compared_and_matched():
    kinds = ("simple", "exponential", "it's", "")
    assert accepted_values("kind = 'simple'", kind=kinds) == ["simple"]
    assert accepted_values("kind LIKE '%e%' AND kind != 'simple'", kind=kinds) == ["exponential"]
    assert accepted_values("kind = 'it''s' OR kind = ''", kind=kinds) == ["it's", ""]
    assert accepted_values("kind = 'and' OR kind IN ('SELECT', 'simple')", kind=kinds) == ["simple"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("%", ["", "a", "aba", "a.b", "a\nb", "abab"]),
        ("", [""]),
        ("a%", ["a", "aba", "a.b", "a\nb", "abab"]),
        ("%b", ["a.b", "a\nb", "abab"]),
        ("a_b", ["a.b", "a\nb"]),
        ("a%b", ["a.b", "a\nb", "abab"]),
        ("aba%ba", []),
        ("%a%a%", ["aba", "abab"]),
        ("_", ["a"]),
        ("a.b", ["a.b"]),
        ("%.%", ["a.b"]),
        ("%a_a%", ["aba", "abab"]),
        ("ab%ab", ["abab"]),
        ("__%__", ["abab"]),
    ],
)
def test_patterns_match_whole_texts(pattern, matches):
    kinds = ("", "a", "aba", "a.b", "a\nb", "abab")
    assert accepted_values(f"kind LIKE '{pattern}'", kind=kinds) == matches
    others = [kind for kind in kinds if kind not in matches]
    assert accepted_values(f"kind NOT LIKE '{pattern}'", kind=kinds) == others


def test_texts_have_an_order():
    kinds = ("b", "Z", "ä", "a", "")
    assert accepted_values("kind > 'a'", kind=kinds) == ["b", "ä"]
    assert accepted_values("kind = max(kind) OR kind = min(kind)", kind=kinds) == ["ä", ""]
    assert accepted_values("kind BETWEEN 'Z' AND 'b'", kind=kinds) == ["b", "Z", "a"]
    assert accepted_values("nullif(kind, 'a') IS NULL", kind=kinds) == ["a"]
    two = (ParameterAxis("one", ("b", "a")), ParameterAxis("other", ("a", "c")))
    assert accepted("one < other", axes=two) == [1, 3]


def test_switches_are_conditions_by_themselves():
    assert accepted_values("on", on=(True, False)) == [True]
    assert accepted_values("NOT on", on=(True, False)) == [False]
    assert accepted_values("on = false", on=(True, False)) == [False]


UNDEFINED = [
    "NULL",
    "n // 0 > 1",
    "n % 0 = 0",
    "mod(n, 0) = 0",
    "n / 0 > 5",
    "1 / n > 5",
    "1.5 // n > 0",
    "1.5 % n < 1",
    "1 // NULL > n",
    "n // NULL > n",
    "NULL + 1 = 1",
    "NULL = NULL",
    "NULL <> 1",
    "nullif(n, 0) = 0",
    "nullif(n, 0.0) < 1",
    "sqrt(n - 2) > 1",
    "sqrt(n - 2) < 1",
    "sqrt(n - 2) <> 1",
    "sqrt(n - 2) = sqrt(n - 2)",
    "pow(n, -1) > 1",
    "pow(n - 8, 0.5) = 1",
    "pow(sqrt(n - 2), 0) = 1",
    "1 / (1 / n) = 0",
    "abs(sqrt(n - 2)) >= 0",
    "round(1 / n, 2) >= 0",
    "max(1 / n) >= 0",
    "avg(nullif(n, 0)) < 1",
    "min(nullif(n, 0)) < 1",
    "n IN (NULL, 1)",
    "n NOT IN (1, NULL)",
    "n BETWEEN NULL AND 5",
    "(n / 0 > 5) = (n / 0 > 5)",
    "(n / 0 > 5) + 1 > 0",
    "nullif(n = 0, true)",
]


@pytest.mark.parametrize("constraint", UNDEFINED)
def test_what_is_undefined_is_not_true_and_neither_is_its_contrary(constraint):
    assert accepted_values(constraint, n=(0,)) == []
    assert accepted_values(f"NOT ({constraint})", n=(0,)) == []
    assert accepted_values(f"({constraint}) IS NULL", n=(0,)) == [0]
    assert accepted_values(f"({constraint}) OR n = 0", n=(0,)) == [0]
    assert accepted_values(f"NOT (({constraint}) AND n = 1)", n=(0,)) == [0]
    assert accepted_values(f"({constraint}) IS NOT TRUE", n=(0,)) == [0]


def test_a_combination_with_an_undefined_condition_is_rejected_and_the_others_are_not():
    assert accepted_values("6 // n >= 2", n=(0, 1, 2, 3, 4)) == [1, 2, 3]
    assert accepted_values("NOT (6 // n >= 2)", n=(0, 1, 2, 3, 4)) == [4]
    assert accepted_values("n = max(nullif(n, 4))", n=(0, 1, 2, 3, 4)) == [3]
    assert accepted_values("n > avg(nullif(n, 0))", n=(0, 1, 2, 3, 4)) == [3, 4]
    assert accepted_values("pow(x, 400) > 5", x=(1.0, 10.0, 1e300)) == [10.0, 1e300]


MOST, LEAST = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    ("constraint", "values", "expected"),
    [
        (f"n * {MOST} > 0", (-2, 2), [2]),
        (f"n + {MOST} > 0", (-2, 0, 2), [-2, 0, 2]),
        ("n + 1 > 0", (LEAST, MOST), [MOST]),
        ("n - 1 < 0", (LEAST, MOST), [LEAST]),
        ("-n > 0", (LEAST, MOST), [LEAST]),
        ("abs(n) > 0", (LEAST, MOST), [LEAST, MOST]),
        ("n // -1 > 0", (LEAST, MOST), [LEAST]),
        ("n % -1 = 0", (LEAST, MOST), [LEAST, MOST]),
        ("pow(n, 3) > 0", (-(2**40), 2**40), [2**40]),
        ("n * n * n * n * n * n * n * n > 1", (-(2**60), 1), [-(2**60)]),
        ("n < avg(n)", (LEAST, LEAST + 1, MOST, MOST - 1), [LEAST, LEAST + 1]),
        # Where 64 bits hold everything, whole numbers are exact.
        (f"n = {MOST}", (MOST, MOST - 1), [MOST]),
        (f"n = {LEAST}", (LEAST, LEAST + 1), [LEAST]),
        (f"n IN ({LEAST}, {MOST - 1})", (LEAST, LEAST + 1, MOST - 1, MOST), [LEAST, MOST - 1]),
        (f"n < {MOST}", (MOST, MOST - 1), [MOST - 1]),
        ("n = max(n)", (MOST - 1, MOST), [MOST]),
        ("n % 2 = 1", (2**62, 2**62 + 1), [2**62 + 1]),
        ("n // 3 * 3 = n", (2**61, 3**38), [3**38]),
        ("pow(n, 2) = 9223372030926249001", (3_037_000_498, 3_037_000_499), [3_037_000_499]),
        ("n + 1 - 1 = 9007199254740993", (9_007_199_254_740_993,), [9_007_199_254_740_993]),
    ],
)
def test_whole_numbers_never_overflow(constraint, values, expected):
    assert accepted_values(constraint, n=values) == expected


def test_ranges_up_to_the_end_of_the_integers_are_exact_where_constraints_see_them():
    high = IntegerRange(MOST - 7, MOST, 2)
    axes = (ParameterAxis("n", expand(high)),)
    assert accepted(f"n = {MOST}", axes=axes) == []
    assert accepted(f"n = {MOST - 1}", axes=axes) == [3]
    assert accepted("n % 2 = 0", axes=axes) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("constraint", "values", "expected"),
    [
        ("n // 2 = -3", (-8, -7, -6, -5), [-7, -6]),
        ("n // -2 = 3", (-8, -7, -6, -5), [-7, -6]),
        ("n % 3 = -1", (-7, -4, 2, 4), [-7, -4]),
        ("n % -3 = 1", (-7, -4, 2, 4), [4]),
        ("n // 2.0 = -3", (-7, -6, -5), [-7, -6]),
        ("n // 2 * 2 + n % 2 = n", range(-9, 10), list(range(-9, 10))),
        ("n // -4 * -4 + n % -4 = n", range(-9, 10), list(range(-9, 10))),
        ("round(n / 2) = 2", (3, 4, 5), [3, 4, 5]),
        ("round(n * 1.005, 1) = 3", (3,), [3]),
        ("floor(n / 2) = -4 OR ceil(n / 2) = -3", (-8, -7, -6), [-8, -7, -6]),
    ],
)
def test_quotients_are_cut_towards_zero_and_remainders_have_the_sign_of_the_left(
    constraint, values, expected
):
    assert accepted_values(constraint, n=values) == expected


def quotient(left, right):
    if left is None or not right:
        return None
    return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)


def remainder(left, right):
    return left - right * quotient(left, right) if left is not None and right else None


def unless_none(function):
    return lambda *values: None if None in values else function(*values)


def conjunction(left, right):
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def contrary(value):
    return None if value is None else not value


NUMERIC = {
    "({} + {})": unless_none(lambda left, right: left + right),
    "({} - {})": unless_none(lambda left, right: left - right),
    "({} * {})": unless_none(lambda left, right: left * right),
    "({} // {})": quotient,
    "({} % {})": remainder,
    "nullif({}, {})": lambda left, right: None if left == right else left,
    "pow({}, 2 + 0 * {})": unless_none(lambda left, _: left**2),
}
COMPARING = {
    "{} < {}": unless_none(lambda left, right: left < right),
    "{} >= {}": unless_none(lambda left, right: left >= right),
    "{} = {}": unless_none(lambda left, right: left == right),
    "{} <> {}": unless_none(lambda left, right: left != right),
    "{} IN ({}, 2)": lambda left, right: contrary(
        conjunction(*(contrary(unless_none(int.__eq__)(left, each)) for each in (right, 2)))
    ),
    "{} BETWEEN {} AND 3": lambda left, right: conjunction(
        unless_none(int.__ge__)(left, right), unless_none(int.__le__)(left, 3)
    ),
    "({} IS NULL) = ({} IS NULL)": lambda left, right: (left is None) == (right is None),
}
JOINING = {
    "({}) AND ({})": conjunction,
    "({}) OR ({})": lambda left, right: contrary(conjunction(contrary(left), contrary(right))),
    "NOT ({}) AND ({}) IS NOT FALSE": lambda left, right: conjunction(
        contrary(left), right is not False
    ),
}
PAIR = (ParameterAxis("a", range(-4, 5)), ParameterAxis("b", (-3, 0, 2)))


def joined(parts, operators):
    """Pairs of a constraint's text and the function of a combination that it stands for."""

    def join(drawn):
        (left_text, left), (template, function), (right_text, right) = drawn
        return (
            template.format(left_text, right_text),
            lambda values: function(left(values), right(values)),
        )

    return st.tuples(parts, st.sampled_from(list(operators.items())), parts).map(join)


leaves = st.sampled_from(
    [
        ("a", lambda values: values["a"]),
        ("b", lambda values: values["b"]),
        ("-3", lambda _: -3),
        ("2", lambda _: 2),
        ("NULL", lambda _: None),
    ]
)
meant_numbers = st.recursive(leaves, lambda parts: joined(parts, NUMERIC), max_leaves=3)
meant_conditions = st.recursive(
    joined(meant_numbers, COMPARING), lambda parts: joined(parts, JOINING), max_leaves=3
)


@given(meant_conditions)
def test_conditions_are_true_where_their_exact_meaning_is(condition):
    text, meaning = condition
    plan = BacktestPlan("any", PAIR, ())
    with contextlib.suppress(InvalidConditionError):  # of NULLs alone, or longer than allowed
        found = accepted(text, axes=PAIR)
        expected = [
            index for index in range(plan.grid_size) if meaning(plan.combination(index)) is True
        ]
        assert found == expected


def test_aggregates_are_those_of_the_whole_grid_however_large_it_is():
    axes = (ParameterAxis("a", range(500)), ParameterAxis("b", range(400)))
    assert accepted("a = max(a) AND b = min(b)", axes=axes) == [499 * 400]
    assert accepted("a + b = max(a + b)", axes=axes) == [500 * 400 - 1]
    assert accepted("a * 400 + b < avg(a * 400 + b)", axes=axes) == list(range(100_000))
    assert accepted("avg(max(a) - b) = 499 - 199.5", axes=axes) == list(range(200_000))


def test_constraints_see_only_what_they_read():
    axes = tuple(ParameterAxis(f"p{number}", range(2)) for number in range(19))
    assert accepted("p0 = 1 AND p18 = 1", axes=axes) == list(range(2**18 + 1, 2**19, 2))
    assert accepted("p7 > p7", axes=axes) == []
    assert len(accepted("1 = 1", axes=axes)) == 2**19


def test_a_parameter_may_be_named_like_a_word_of_sql():
    axes = (ParameterAxis("min", (1, 2, 3)), ParameterAxis("select", (2, 3)))
    assert accepted("min < select AND select > min(min)", axes=axes) == [0, 1, 3]
    weird = (ParameterAxis("my param", (1, 2)),)
    assert accepted('"my param" > 1', axes=weird) == [1]


@pytest.mark.parametrize(
    ("constraint", "part"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("fast <", "ends where a parameter, a number or a text should be; write it like"),
        ("fast slow", "has 'slow' where an operator, such as < or AND, should be"),
        ("max(fast, slow) = 5", "gives max 2 arguments, it takes 1; it is of one parameter in the"),
        ("fast = five", "its parameters are fast, slow, kind, stop; one that has its default can"),
        ("fast = five", "its only value; a text is written 'five'"),
        ("(fast < slow) slow", "has 'slow' where an operator"),
        ("fast < slow) AND (", "has ')' where an operator"),
        ("fast IN ()", "has ')' where a parameter"),
        ("fast NOT 1", "has '1' where IN, BETWEEN or LIKE should be"),
        ("fast < 'a'", "compares a text with a whole number (<); a text is written 'text'"),
        ("kind IN ('a', 1)", "compares a text with a whole number"),
        ("kind + 'a' = 'b'", "applies + to a text; it takes numbers"),
        ("avg(kind) = 'b'", "applies avg to a text; it takes numbers"),
        ("fast AND stop", "applies AND to a whole number, not to a condition; compare it"),
        ("NOT fast", "applies NOT to a whole number"),
        ("fast LIKE '1%'", "uses LIKE for something else than a text and a pattern"),
        ("kind LIKE kind", "uses LIKE for something else than a text and a pattern"),
        ("round(slow, 99) = 1", "rounds to other digits than a number from 0 to 15"),
        ("round(slow, fast) = 1", "rounds to other digits than"),
        ("nullif(fast) = 1", "gives nullif 1 argument, it takes 2"),
        ("fast", "gives a whole number, not true or false; compare it"),
        ("fast + slow", "gives a number, not true or false; compare it"),
        ("kind", "gives a text, not true or false; compare it"),
        ("fst < slow", "names 'fst', which the grid does not have; its parameters are fast, slow"),
        ("fst < slow", "did you mean fast?"),
        ("fast < slow AS x", "names 'AS'"),
        ("fast < slow -- note", "names 'note'"),
        ("fast && slow", "has '&', which means nothing here; there are the operators"),
        ("fast < slow; DROP TABLE x", "has ';'"),
        ("fast::text = '1'", "has ':'"),
        ("kind = 'a\\'", 'has "\'", which means nothing'),
        ("cast(fast AS text) = '1'", "calls 'cast'; the functions are abs, avg"),
        ("fast < " + "1" * 100, "which does not fit in 64 bits; with a decimal point it is taken"),
        ("fast < 9223372036854775808", "does not fit in 64 bits"),
        ("fast < 1e999", "too large for a double"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(constraint, part):
    assert part in refusal(constraint)


@pytest.mark.parametrize(
    ("constraint", "what", "instead"),
    [
        ("fast < slow, slow < 20", "a comma between conditions", "fast < slow AND slow < 20"),
        ("fast < slow;", "a separator at its end", "fast < slow"),
        ("max(fast, 6) < slow", "max or min of two values", "fast < slow AND 6 < slow"),
        ("max(fast, 6) > slow", "max or min of two values", "fast > slow OR 6 > slow"),
        ("stop AND slow >= min(fast, 6)", "max or min", "stop AND (fast <= slow OR 6 <= slow)"),
        ("fast ** 2 < slow", "`fast ** 2`", "pow(fast, 2) < slow"),
        ("(fast + 1)^2 < sqrt(slow)**3", "", "pow((fast + 1), 2) < pow(sqrt(slow), 3)"),
        ("fast = 5 and", "nothing after AND or OR", "fast = 5"),
        ("fast < slow && slow < 20", "`&&`", "fast < slow AND slow < 20"),
        ("(fast < slow) & (slow < 20)", "`&`", "(fast < slow) AND (slow < 20)"),
        ("fast < slow||stop", "`||`", "fast < slow OR stop"),
        ("!stop", "`!`", "NOT stop"),
        ("~stop and fast != 5", "`~`", "NOT stop and fast != 5"),
        ("fast === 5", "`===`", "fast = 5"),
        ("fast => 5", "`=>`", "fast >= 5"),
        ("fast =< 5", "`=<`", "fast <= 5"),
        ("fast ≤ slow ∧ kind ≠ 'a≤b'", "`≤` and `≠` and `∧`", "fast <= slow AND kind != 'a≤b'"),
        ("fast × 2 − 1 ≥ slow", "", "fast * 2 - 1 >= slow"),
        ("fast ∉ (1, 2)", "`∉`", "fast NOT IN (1, 2)"),
        ("1 < fast < 5", "two comparisons in a row", "1 < fast AND fast < 5"),
        ("NOT 1 < fast < 5", "two comparisons in a row", "NOT (1 < fast AND fast < 5)"),
        ("stop OR 1 < fast < 5", "two comparisons", "stop OR (1 < fast AND fast < 5)"),
        ("(fast < slow", "a parenthesis too many or too few", "(fast < slow)"),
        ("fast < slow)", "a parenthesis too many or too few", "fast < slow"),
        ("fast in [5, 10]", "brackets of another kind", "fast IN (5, 10)"),
        ("fast in {5, 10} and stop", "brackets of another kind", "fast IN (5, 10) and stop"),
        ("fast IN 5, 10", "`IN 5, 10`", "fast IN (5, 10)"),
        ("fast BETWEEN 1 OR 2", "`BETWEEN 1 OR 2`", "fast BETWEEN 1 AND 2"),
        ("fast between (1, 2)", "`between (1, 2)`", "fast BETWEEN 1 AND 2"),
        ("fast IS 1", "IS", "fast = 1"),
        ("fast is not 1", "IS NOT", "fast != 1"),
        ("fast is not None", "`None`", "fast is not NULL"),
        ("Fast < SLOW", "`Fast` and `SLOW`", "fast < slow"),
        ('kind = "simple"', "quotes of another kind", "kind = 'simple'"),
        ("kind = “simple”", "quotes of another kind", "kind = 'simple'"),
        ("kind = `simple`", "quotes of another kind", "kind = 'simple'"),
        ("lambda p: p.fast < p.slow", "a lambda", "fast < slow"),
        ("p['fast'] < p[\"slow\"]", "a parameter as an element", "fast < slow"),
        ("np.sqrt(fast) < 2", "`np.`", "sqrt(fast) < 2"),
        ("2fast < 3 slow", "`2fast` and `3 slow`", "2 * fast < 3 * slow"),
        ("slow > 10%", "`10%`", "slow > 0.1"),
        ("slow < 1,000", "`1,000`", "slow < 1000"),
        ("where fast < slow", "WHERE", "fast < slow"),
        ("fast in 5-10", "`in 5-10`", "fast BETWEEN 5 AND 10"),
        ("fast not in [5 - 10]", "`in [5 - 10]`", "fast not BETWEEN 5 AND 10"),
        ("kind != None && stop", "`&&` and `!= None`", "kind IS NOT NULL AND stop"),
        ("kind == None or stop", "`== None`", "kind IS NULL or stop"),
        ("slow / 2fast > 1", "`2fast`", "slow / (2 * fast) > 1"),
        ("fast IN (5, 10,200 ) && stop", "`&&`", "fast IN (5, 10,200 ) AND stop"),
        ("slow % 10 % -3 = 1 && stop", "`&&`", "slow % 10 % -3 = 1 AND stop"),
        ("(stop = stop) = (stop = stop) && stop", "`&&`", "(stop = stop) = (stop = stop) AND stop"),
    ],
)
def test_what_other_languages_write_is_refused_with_what_to_write_instead(
    constraint, what, instead
):
    text = refusal(constraint)
    assert f"has {what}" in text
    assert text.endswith(f"; write `{instead}`")
    check_constraint(instead, SAMPLE)


@pytest.mark.parametrize("constraint", ["fast < slow && fst < 2", "fast < slow \0, stop"])
def test_nothing_is_advised_that_would_be_refused_or_cannot_be_shown(constraint):
    assert "; write `fast" not in refusal(constraint).replace("write it like", "")


@pytest.mark.parametrize(
    "constraint",
    [
        "(fast < slow OR fast < 10 AND slow > 20",
        "NOT (fast < slow AND stop",
        "fast + 1) * 2 < slow",
        "slow > 2 * fast + 1)",
        "slow > (fast + 1 * 2",
        "slow - fast - 1) > 3",
        "fast < 10,200 < slow",
        "fast ** 2 ** slow < 3",
    ],
)
def test_nothing_is_advised_where_it_cannot_be_told_what_is_meant(constraint):
    assert "; write `" not in refusal(constraint)


def test_a_refusal_without_parameters_says_so():
    assert "its parameters are none" in refusal("fast < slow", {})
    assert "can be given as its only value" in refusal("fast < slow", {})


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret.csv"
    path.write_text("top_secret\n1\n")
    return path


@pytest.mark.parametrize(
    "template",
    [
        "fast IN (SELECT top_secret FROM read_csv('{path}'))",
        "fast IN (SELECT other FROM read_csv('{path}'))",
        "fast = (SELECT min(top_secret) FROM '{path}')",
        "EXISTS (SELECT * FROM read_csv('{path}'))",
        "fast IN (FROM read_csv('{path}'))",
        "fast IN (WITH t AS (SELECT * FROM read_csv('{path}')) SELECT * FROM t)",
        "read_csv('{path}') = 1",
        "\"read_csv\"('{path}') = 1",
        "fast /* */ IN (SELECT top_secret FROM read_csv('{path}'))",
    ],
)
def test_no_file_is_ever_read(template, secret_file):
    constraint = template.format(path=secret_file)
    assert "names '" in refusal(constraint) or "calls '" in refusal(constraint)
    # Parameters with such names do not open the way either.
    words = ("select", "from", "read_csv", "exists", "with", "top_secret", "other", "t", "as")
    clever = SAMPLE | {name: [1] for word in words for name in (word, word.upper())}
    assert "valid columns" not in refusal(constraint, clever)


@pytest.mark.parametrize(
    "constraint",
    [
        "(SELECT 1) > 0",
        "fast IN (SELECT 1)",
        "lpad('a', 10000000000, 'b') = 'c'",
        "repeat('a', 10000000000) = 'c'",
        "random() < 0.5",
        "columns('.*') > 1",
        "sum(fast) OVER (PARTITION BY kind) > 3",
        "now() > 1",
        "__import__('os')",
        "self.open < 2",
    ],
)
def test_only_parameters_and_a_few_functions_can_be_named(constraint):
    assert "names '" in refusal(constraint) or "calls '" in refusal(constraint)


@pytest.mark.parametrize(
    ("constraint", "part"),
    [
        ("fast" + " + 1" * 20_000 + " < slow", "500 are allowed; write several"),
        ("fast < slow" + " AND fast < slow" * 20_000, "500 are allowed"),
        ("(NOT " * 45 + "stop" + ")" * 45, "parentheses more than 8 deep"),
        ("abs(" * 45 + "fast" + ")" * 45 + " < 3", "parentheses more than 8 deep"),
    ],
)
def test_a_constraint_that_would_take_the_parser_down_is_refused(constraint, part):
    assert part in refusal(constraint)


@pytest.mark.parametrize(
    "constraint",
    [
        "(" * MAX_CONSTRAINT_DEPTH + "n = 1" + ")" * MAX_CONSTRAINT_DEPTH,
        " OR ".join(["n = 1"] * 55),
        "n" + "+0" * 248 + "=1",
        "NOT " * 122 + "n = 1",
        "n = " + "-" * 494 + "1",
        "-" * 494 + "n = 1",
        "n IN(" + "7," * 246 + "1)",
        "(" * 7 + "n IN(1)" + ")IN(true,NULL)" * 7,
        "(" * 8 + "n=1" + ")BETWEEN true AND 1" * 8,
        "n//(" * 8 + "n" + ")" * 8 + "=1",
    ],
)
def test_the_deepest_and_the_longest_constraints_are_evaluated(constraint):
    assert len(constraint) <= MAX_CONSTRAINT_CHARACTERS
    assert accepted_values(constraint, n=(1, 5)) == [1]


operands = st.sampled_from(["fast", "slow", "kind", "stop", "1", "0", ".5", "1e9", "'a'", "null"])
operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "<=", "=", "<>", "(", ")", ","])
keywords = st.sampled_from(["and", "or", "not", "in", "between", "is", "like", "true"])
calls = st.sampled_from([f"{name}(" for name in FUNCTIONS])
words = operands | operators | keywords | calls


@given(st.lists(words, max_size=12).map(" ".join))
def test_any_row_of_allowed_words_is_evaluated_or_refused(constraint):
    with contextlib.suppress(InvalidConditionError):
        check_constraint(constraint, SAMPLE)
        assert set(accepted(constraint)) <= set(range(GRID.grid_size))


@given(st.text(max_size=30))
def test_any_text_is_evaluated_or_refused(constraint):
    with contextlib.suppress(InvalidConditionError):
        check_constraint(constraint, SAMPLE)
