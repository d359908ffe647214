"""Both kernels against the obvious one, and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest.default import figures
from stratsweep_server.backtest.default.figures import Sums
from stratsweep_server.backtest.default.lockstep import LANES, simulate_lockstep
from stratsweep_server.backtest.default.portfolio import build_portfolio
from stratsweep_server.backtest.default.positions import Positions
from stratsweep_server.backtest.default.simulation import simulate
from stratsweep_server.backtest.default.trade_jumps import prepare_market, simulate_jumps

from tests.scalar_kernel import simulate_one

from .markets import ALL_IN, ALL_IN_BOTH_WAYS, PARTIAL, markets, random_bars, target_paths

COSTS = st.sampled_from([(0.0, 0.0), (0.001, 0.0), (0.0, 0.0005), (0.02, 0.01), (0.5, 0.5)])
WITHIN = {"rtol": 1e-9, "atol": 1e-9}


def in_lockstep(bars, targets, commission=0.0, slippage=0.0):
    portfolio = build_portfolio((bars,))
    return simulate_lockstep(
        np.nan_to_num(targets),
        portfolio.offsets,
        portfolio.open_prices,
        portfolio.close_prices,
        portfolio.days,
        portfolio.latest_bar,
        10_000.0,
        commission,
        slippage,
    )


def in_jumps(bars, targets, commission=0.0, slippage=0.0):
    """The figures of what the kernel has done, and which it has."""
    count, bar_count = targets.shape
    if np.isin(targets, (-1, 0, 1)).all():
        positions = np.zeros((count, -(-bar_count // 8) * 8), dtype=np.int8)
        positions[:, :bar_count] = targets
    else:
        positions = np.nan_to_num(targets)
    portfolio = build_portfolio((bars,))
    figures, is_done = simulate_jumps(positions, portfolio.market, 10_000.0, commission, slippage)
    return figures[:, is_done], is_done


def one_by_one(bars, targets, commission=0.0, slippage=0.0):
    days = build_portfolio((bars,)).days
    table = np.empty((len(Sums._fields), len(targets)))
    for row, path in enumerate(np.nan_to_num(targets)):
        table[:, row] = simulate_one(
            path, bars.open, bars.close, days, 10_000.0, commission, slippage
        )
    return table


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([ALL_IN, ALL_IN_BOTH_WAYS, PARTIAL]), COSTS)
def test_lockstep_equals_the_obvious_kernel_bit_for_bit(data, levels, costs):
    bars = data.draw(markets())
    paths = st.lists(target_paths(len(bars), levels), min_size=1, max_size=4)
    targets = np.stack(data.draw(paths))
    np.testing.assert_array_equal(
        in_lockstep(bars, targets, *costs), one_by_one(bars, targets, *costs)
    )


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from([ALL_IN, ALL_IN_BOTH_WAYS, PARTIAL]), COSTS)
def test_jumps_equal_the_obvious_kernel(data, levels, costs):
    bars = data.draw(markets(max_count=400))
    paths = st.lists(target_paths(len(bars), levels), min_size=1, max_size=3)
    targets = np.nan_to_num(np.stack(data.draw(paths)))
    jumped, is_done = in_jumps(bars, targets, *costs)
    np.testing.assert_allclose(jumped, one_by_one(bars, targets[is_done], *costs), **WITHIN)


@pytest.mark.parametrize("level", [1.0, -1.0, 0.4, -0.3])
@pytest.mark.parametrize("count", [2, 3, 8, 9, 16, 17, 31, 32, 33, 48, 127, 128, 129, 3_000])
def test_jumps_are_right_for_holding_periods_of_any_length_and_place(count, level):
    bars = random_bars(count, count, tick=0.5)
    random = np.random.default_rng(count)
    edges = np.sort(random.integers(0, count + 1, (40, 2)), axis=1)
    targets = np.array(
        [[level * (start <= bar < end) for bar in range(count)] for start, end in edges]
    )
    jumped, is_done = in_jumps(bars, targets, 0.001)
    expected = one_by_one(bars, targets, 0.001)[:, is_done]
    np.testing.assert_allclose(jumped, expected, **WITHIN)


@pytest.mark.parametrize("levels", [ALL_IN, ALL_IN_BOTH_WAYS[:-1], PARTIAL[:-1]])
def test_jumps_leave_to_lockstep_what_changes_often(levels):
    bars = random_bars(4, 1_000)
    often = np.random.default_rng(4).choice(levels, 1_000)
    seldom = np.repeat(often[:20], 50)
    _, is_done = in_jumps(bars, np.stack([often, seldom, often, seldom]))
    assert is_done.tolist() == [False, True, False, True]


def test_jumps_leave_ruin_to_lockstep():
    bars = random_bars(1, 300, volatility=0.2)
    targets = np.array([[-1.0] * 300, [-0.01] * 300])
    assert in_lockstep(bars, targets)[figures.FINAL_EQUITY, 0] == 0
    _, is_done = in_jumps(bars, targets)
    assert is_done.tolist() == [False, True]


def test_changes_are_found_wherever_they_are():
    bars = random_bars(6, 500)
    for bar in range(500):
        for level in (1.0, -1.0, 0.5):
            targets = np.zeros((1, 500))
            targets[0, bar:] = level
            jumped, is_done = in_jumps(bars, targets)
            assert is_done.all()
            assert jumped[figures.EXPOSURE, 0] == max(0, 499 - bar) / 500


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, LANES + 1, 2 * LANES + 3])
def test_a_combination_has_the_same_bits_whatever_lanes_are_beside_it(count):
    bars = random_bars(5, 200)
    targets = np.random.default_rng(5).choice(PARTIAL[:-1], (count, 200))
    together = in_lockstep(bars, targets)
    for lane in range(count):
        alone = in_lockstep(bars, targets[lane : lane + 1])
        np.testing.assert_array_equal(together[:, lane], alone[:, 0])


def test_a_lane_that_is_ruined_leaves_its_neighbours_alone():
    bars = random_bars(1, 300, volatility=0.2)
    targets = np.array([[-1.0] * 300, [0.5] * 300, [0.0] * 300])
    together = in_lockstep(bars, targets)
    assert together[figures.FINAL_EQUITY, 0] == 0
    np.testing.assert_array_equal(together, one_by_one(bars, targets))


def test_costs_that_eat_everything_end_in_nothing():
    bars = random_bars(3, 4_000)
    targets = (np.arange(4_000) // 20 % 2.0)[np.newaxis]
    walked = in_lockstep(bars, targets, 0.999, 0.999)
    assert walked[figures.FINAL_EQUITY] == pytest.approx(0, abs=1e-300)
    assert walked[figures.MAX_DRAWDOWN] == 1
    assert np.isfinite(walked).all()
    np.testing.assert_array_equal(walked, one_by_one(bars, targets, 0.999, 0.999))
    _, is_done = in_jumps(bars, targets, 0.999, 0.999)
    assert is_done.tolist() == [False]


def test_the_tables_of_a_market_fit_its_bars():
    bars = random_bars(2, 1_000)
    market = prepare_market(bars.open, bars.close, bars.time / 86_400e9)
    returns = np.diff(bars.close) / bars.close[:-1]
    assert market.prefix_sums[-1, 0] == pytest.approx(np.maximum(returns, 0).sum())
    assert market.prefix_sums[-1, 6] == pytest.approx((np.minimum(returns, 0) ** 2).sum())


def test_the_rows_of_the_table_are_the_fields_of_the_sums():
    for row, name in enumerate(Sums._fields):
        assert getattr(figures, name.upper()) == row


@pytest.mark.parametrize("levels", [ALL_IN, ALL_IN_BOTH_WAYS, PARTIAL])
def test_which_kernel_runs_a_combination_depends_on_its_own_positions_alone(levels):
    bars = random_bars(9, 300)
    random = np.random.default_rng(9)
    targets = [random.choice(choice, 300) for choice in (levels, ALL_IN, PARTIAL, levels)]
    together = simulated(bars, targets)
    for row, path in enumerate(targets):
        alone = simulated(bars, [path])
        assert [column[row] for column in together] == [column[0] for column in alone]


def simulated(bars, targets):
    portfolio = build_portfolio((bars,))
    positions = Positions(portfolio, len(targets))
    for row, path in enumerate(targets):
        positions.put_one("scripted", 0, row, path)
    return simulate(portfolio, positions, 10_000.0, 0.001, 0.0).sums
