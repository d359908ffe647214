"""Seeds: of a backtest's own values and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.backtest.seeds import BacktestSeeds, seed_of_symbol

values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
combinations = st.dictionaries(st.text(min_size=1, max_size=5), values, max_size=5)


def seed(parameters, of=0, **defaults):
    return BacktestSeeds(of, defaults).of(parameters)


@given(combinations, st.integers(0, 2**64 - 1))
def test_the_order_of_the_axes_does_not_matter(parameters, of):
    backwards = dict(reversed(parameters.items()))
    assert seed(parameters, of) == seed(backwards, of)
    assert 0 <= seed(parameters, of) < 2**64


@given(combinations, combinations, st.integers(0, 9), st.integers(0, 9))
def test_other_values_and_another_seed_are_another_seed(one, other, of, of_other):
    assert (seed(one, of) == seed(other, of_other)) == ((one, of) == (other, of_other))


@pytest.mark.parametrize(
    ("one", "other"), [(5, 5.0), (0.0, -0.0), (1, True), (2**60, 2.0**60), (0, False)]
)
def test_equal_values_are_one_seed_whatever_their_type(one, other):
    assert seed({"x": one}) == seed({"x": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": 5}, {"x": "5"}),
        ({"x": 2**53 + 1}, {"x": 2.0**53}),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": '1", "b'}, {"a": 1, "b": 1}),
    ],
)
def test_what_looks_alike_is_told_apart(one, other):
    assert seed(one) != seed(other)


def test_a_default_counts_as_if_it_were_given():
    assert seed({"x": 5}, y=7) == seed({"x": 5, "y": 7}) == seed({"x": 5, "y": 7.0})
    assert seed({"x": 5}, y=8) != seed({"x": 5}, y=7)


def test_each_symbol_of_a_backtest_has_a_seed_of_its_own():
    mine, other = seed({"x": 1}), seed({"x": 2})
    seeds = {seed_of_symbol(each, symbol) for each in (mine, other) for symbol in ("SPY", "AAPL")}
    assert len({mine, other, *seeds}) == 6


def test_seeds_are_the_same_in_every_process_and_version():
    assert seed({"run": 1}) == 10_833_052_901_686_983_828
    assert seed({"b": 0.1, "c": True, "d": -7}, 3, a="é") == 10_799_320_172_432_015_386
    assert seed_of_symbol(seed({}), "SPY") == 12_902_164_777_839_232_585
