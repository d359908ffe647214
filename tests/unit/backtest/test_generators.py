"""The two global generators: backtests draw by their own seeds, and those that do not are fast."""

import random

import numpy as np
import pytest
from stratsweep_server.backtest import generators
from stratsweep_server.backtest.generators import SeededRuns, scatter_generators, seed_generators


def draw_python():
    return random.random()


def draw_numpy():
    return float(np.random.standard_normal())


def draw_nothing():
    return None


def by_seed(draw, seed):
    seed_generators(seed)
    return draw()


def run_all(backtests):
    """Run backtests in a row with the seeds 1, 2, …; returns what each returned."""
    runs = SeededRuns()
    return [
        runs.run(backtest, lambda seed=seed: seed) for seed, backtest in enumerate(backtests, 1)
    ]


@pytest.fixture
def seedings(monkeypatch):
    """The seeds that were set."""
    found = []
    monkeypatch.setattr(
        generators, "seed_generators", lambda seed: found.append(seed) or seed_generators(seed)
    )
    return found


@pytest.mark.parametrize("draw", [draw_python, draw_numpy])
@pytest.mark.parametrize("quiet_count", [0, 1, 5])
def test_a_backtest_that_draws_does_so_by_its_own_seed_whatever_ran_before(draw, quiet_count):
    drawn = run_all([draw_nothing] * quiet_count + [draw, draw_nothing, draw])
    first, last = quiet_count + 1, quiet_count + 3
    assert drawn[quiet_count:] == [by_seed(draw, first), None, by_seed(draw, last)]


def test_backtests_that_draw_nothing_are_not_seeded_after_the_first(seedings):
    run_all([draw_nothing] * 100)
    assert seedings == [1]


def test_the_first_to_draw_after_others_is_run_again_and_no_later_one():
    calls = []

    def draws():
        calls.append("draws")
        return draw_numpy()

    run_all([draw_nothing, draw_nothing, draws, draws])
    assert calls == ["draws"] * 3
    calls.clear()
    run_all([draws, draws])
    assert calls == ["draws"] * 2


def test_a_seed_is_not_computed_for_those_that_draw_nothing():
    runs = SeededRuns()
    runs.run(draw_nothing, lambda: 1)
    runs.run(draw_nothing, lambda: pytest.fail("nobody needs it"))


@pytest.mark.parametrize("before", [[], [draw_nothing]])
def test_what_a_backtest_raises_after_it_has_drawn_follows_from_its_seed(before):
    def raises():
        raise ValueError(draw_python())

    with pytest.raises(ValueError, match=str(by_seed(draw_python, len(before) + 1))):
        run_all([*before, raises])


def test_an_exception_without_a_draw_is_raised_at_once():
    calls = []

    def raises():
        calls.append(1)
        raise ValueError("no luck")

    runs = SeededRuns()
    runs.run(draw_nothing, lambda: 1)
    with pytest.raises(ValueError, match="no luck"):
        runs.run(raises, lambda: 2)
    assert calls == [1]


def test_half_a_pair_of_normal_numbers_does_not_reach_the_next_backtest():
    (_, second) = run_all([draw_numpy, draw_numpy])
    assert second == by_seed(draw_numpy, 2)
    (_, second) = run_all([lambda: random.gauss(0, 1)] * 2)
    assert second == by_seed(lambda: random.gauss(0, 1), 2)


def test_scattered_generators_are_nobodys():
    drawn = set()
    for _ in range(3):
        seed_generators(1)
        scatter_generators()
        drawn |= {draw_python(), draw_numpy()}
    assert len(drawn) == 6
