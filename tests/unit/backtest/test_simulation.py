"""The execution model on a handful of bars, worked out by hand."""

import numpy as np
import pytest

from .markets import bars_of, run_targets


def test_a_target_is_traded_at_the_next_open_with_costs_on_both_sides():
    bars = bars_of(opens=[100, 100, 110, 120], closes=[100, 105, 115, 125])
    metrics = run_targets(([1, 1, 0, 0], bars), commission=0.01, slippage=0.01)
    # Bar 1: buy at 100 * 1.01 = 101; with commission a unit costs 101 * 1.01 = 102.01:
    #        10,000 / 102.01 = 98.02960494 units, no cash left.
    # Bar 3: sell at 120 * 0.99 = 118.8; after commission a unit brings 118.8 * 0.99 = 117.612:
    #        98.02960494 * 117.612 = 11,529.4579 cash.
    assert metrics["final_equity"] == pytest.approx(11_529.45789628)
    assert metrics["trade_count"] == 1
    assert metrics["expectancy"] == pytest.approx(1_529.45789628)
    # Bought for 98.02960494 * 101 = 9,900.9901 before commission.
    assert metrics["average_trade_return"] == pytest.approx(1_529.45789628 / 9_900.99009901)
    # Open at the closes of bars 1 and 2, of four.
    assert metrics["exposure_time"] == 0.5
    # Closes: 10,000; 98.0296 * 105 = 10,293.1085; 98.0296 * 115 = 11,273.4046; 11,529.4579.
    assert metrics["max_drawdown"] == 0


def test_a_short_is_sized_like_a_long_and_gains_when_the_price_falls():
    bars = bars_of(opens=[100, 100, 80, 80], closes=[100, 110, 80, 80])
    metrics = run_targets(([-1, 0, 0, 0], bars), commission=0.01, slippage=0.02)
    # Bar 1: sell at 98: 10,000 / (98 * 1.01) = 101.03051 units bring 9,900.9901 less 99.0099
    #        commission: cash 19,801.9802. Marked at 110: 19,801.9802 - 11,113.3562 = 8,688.6240.
    # Bar 2: buy back at 80 * 1.02 = 81.6: 8,244.0897 and 82.4409 commission: cash 11,475.4496.
    assert metrics["final_equity"] == pytest.approx(11_475.44958578)
    assert metrics["max_drawdown"] == pytest.approx(1 - 0.86886239645)
    assert metrics["average_trade_return"] == pytest.approx(1_475.44958578 / 9_900.99009901)
    assert metrics["win_rate"] == 1


def test_a_reversal_closes_fully_and_opens_the_other_side_with_what_results():
    bars = bars_of(opens=[100, 100, 120, 90], closes=[100, 110, 100, 90])
    metrics = run_targets(([1, -1, 0, 0], bars))
    # Bar 1: buy 100 units at 100. Bar 2: sell them at 120: cash 12,000, profit 2,000; short
    # 12,000 / 120 = 100 units: cash 24,000, marked at 100: 14,000.
    # Bar 3: buy 100 units at 90: cash 15,000, profit 3,000.
    assert metrics["final_equity"] == pytest.approx(15_000)
    assert metrics["trade_count"] == 2
    assert metrics["expectancy"] == pytest.approx(2_500)
    # 2,000 of 10,000 and 3,000 of 12,000.
    assert metrics["average_trade_return"] == pytest.approx((0.2 + 0.25) / 2)
    assert metrics["exposure_time"] == 0.5


def test_a_change_of_size_trades_the_difference_and_completes_no_trade():
    bars = bars_of(opens=[100, 100, 110, 125, 140], closes=[100, 100, 120, 130, 140])
    metrics = run_targets(([0.5, 1, 0.25, 0, 0], bars))
    # Bar 1: buy 5,000 / 100 = 50 units; cash 5,000.
    # Bar 2: equity at the open 5,000 + 50 * 110 = 10,500; wanted 10,500 / 110 = 95.4545 units:
    #        buy 45.4545 for 5,000; cash 0. Marked at 120: 11,454.5455.
    # Bar 3: equity at the open 95.4545 * 125 = 11,931.8182; wanted a quarter of it, 23.863636
    #        units: sell 71.590909 for 8,948.8636. Marked at 130: 12,051.1364.
    # Bar 4: sell 23.863636 at 140 for 3,340.9091: cash 12,289.7727.
    assert metrics["final_equity"] == pytest.approx(12_289.77272727)
    assert metrics["trade_count"] == 1
    assert metrics["expectancy"] == pytest.approx(2_289.77272727)
    # Bought for 5,000 + 5,000.
    assert metrics["average_trade_return"] == pytest.approx(0.228977272727)
    assert metrics["exposure_time"] == 0.6


def test_a_short_is_resized_with_the_fill_price_of_the_needed_side():
    bars = bars_of(opens=[100, 100, 100, 100], closes=[100, 100, 100, 100])
    metrics = run_targets(([-1, -0.5, -0.5, -0.5], bars), slippage=0.01)
    # Bar 1: sell 10,000 / 99 = 101.010101 units at 99: cash 20,000; equity at 100: 9,898.9899.
    # Bar 2: half of that is fewer units, so a buy, at 101: 4,949.4949 / 101 = 49.004900 units are
    #        to remain: buy 52.005201 for 5,252.5253; cash 14,747.4747.
    #        Marked at 100: 14,747.4747 - 4,900.4900 = 9,846.9847.
    assert metrics["final_equity"] == pytest.approx(9_846.98469847)
    assert metrics["trade_count"] == 0


def test_a_change_of_size_that_slippage_would_turn_around_is_not_traded():
    bars = bars_of(opens=[100, 100, 100, 100], closes=[100, 100, 100, 100])
    one = run_targets(([0.5, 0.5, 0.5, 0.5], bars), slippage=0.01)
    # 0.5 at a fill of 101 is 49.50495 units; at the open equity is 9,950.495. 0.4985 of it at 100
    # are 49.6032 units, so a buy; but at 101 they are 49.1121, fewer than are held.
    other = run_targets(([0.5, 0.4985, 0.4985, 0.4985], bars), slippage=0.01)
    assert other == one


def test_an_unchanged_target_is_not_rebalanced():
    bars = bars_of(opens=[100, 100, 200, 400], closes=[100, 150, 300, 400])
    metrics = run_targets(([0.5, 0.5, 0.5, 0.5], bars))
    # 50 units from bar 1 to the end: 5,000 + 50 * 400.
    assert metrics["final_equity"] == pytest.approx(25_000)


def test_an_open_position_is_marked_at_the_last_close_and_is_no_trade():
    bars = bars_of(opens=[100, 100, 100], closes=[100, 100, 150])
    metrics = run_targets(([1, 1, 0], bars))
    assert metrics["final_equity"] == pytest.approx(15_000)
    assert metrics["trade_count"] == 0
    for absent in ("win_rate", "profit_factor", "expectancy", "average_trade_return"):
        assert absent not in metrics


def test_the_target_of_the_last_bar_and_the_first_bars_open_are_never_traded():
    bars = bars_of(opens=[50, 100, 100], closes=[100, 100, 100])
    assert run_targets(([0, 0, 1], bars))["exposure_time"] == 0
    assert run_targets(([1, 0, 0], bars))["final_equity"] == 10_000


def test_nan_is_flat():
    bars = bars_of(opens=[100, 100, 120, 500], closes=[100, 100, 120, 500])
    metrics = run_targets(([1, np.nan, np.nan, np.nan], bars))
    assert metrics["final_equity"] == pytest.approx(12_000)
    assert metrics["trade_count"] == 1


def test_ruin_at_a_close_ends_the_position_and_all_trading():
    bars = bars_of(opens=[100, 100, 150, 10, 10], closes=[100, 150, 250, 10, 20])
    metrics = run_targets(([-1, -1, 1, 1, 1], bars))
    # Bar 1: short 100 units at 100: cash 20,000; marked at 150: 5,000.
    # Bar 2: marked at 250: 20,000 - 25,000 is below zero. The 20,000 go, all of the 10,000 that
    #        the trade began with is lost. Nothing is bought at 10, equity stays 0.
    assert metrics["final_equity"] == 0
    assert metrics["total_return"] == -1
    assert metrics["cagr"] == -1
    assert metrics["max_drawdown"] == 1
    assert metrics["trade_count"] == 1
    assert metrics["expectancy"] == -10_000
    assert metrics["average_trade_return"] == -1
    assert metrics["exposure_time"] == 0.2
    # Returns -0.5, -1, 0, 0.
    assert metrics["omega_ratio"] == 0
    assert metrics["annualized_volatility"] == pytest.approx(
        np.std([-0.5, -1, 0, 0], ddof=1) * np.sqrt(365.25)
    )


@pytest.mark.parametrize("last_target", [0, 1, -0.5], ids=["flat", "reversed", "resized"])
def test_ruin_in_a_gap_leaves_nothing_to_trade_with(last_target):
    bars = bars_of(opens=[100, 100, 300, 10], closes=[100, 100, 300, 20])
    metrics = run_targets(([-1, last_target, 1, 1], bars))
    # Bar 1: short 100 units: cash 20,000. Bar 2 opens at 300: 10,000 short of buying them back.
    assert metrics["final_equity"] == 0
    assert metrics["trade_count"] == 1
    assert metrics["expectancy"] == -10_000


def test_a_ruined_trade_loses_what_the_account_had_when_it_began():
    bars = bars_of(opens=[100, 100, 120, 120], closes=[100, 110, 120, 400])
    metrics = run_targets(([1, 0, -0.5, -0.5], bars), commission=0.01)
    # Bar 1: buy 10,000 / 101 = 99.0099 units. Bar 2: they bring 120 * 0.99 each: 11,762.3762,
    #        a profit of 1,762.3762. Bar 3: short half of it, 5,881.1881 / 121.2 = 48.5247 units,
    #        for 120 * 0.99 each: cash 17,527.1052; 19,409.8612 to be had at 400. All is lost.
    assert metrics["final_equity"] == 0
    assert metrics["trade_count"] == 2
    assert metrics["win_rate"] == 0.5
    assert metrics["expectancy"] == pytest.approx(-5_000)
    assert metrics["profit_factor"] == pytest.approx(1_762.37623762 / 11_762.37623762)
    returns = [1_762.37623762 / 9_900.99009901, -11_762.37623762 / 5_822.95853346]
    assert metrics["average_trade_return"] == pytest.approx(sum(returns) / 2)


def test_a_ruined_sleeve_stays_at_nothing_and_the_others_go_on():
    ruined = bars_of([100, 100, 100, 10], [100, 250, 100, 10], symbol="RUINED")
    other = bars_of([100, 100, 100, 100], [100, 100, 110, 120], symbol="OTHER")
    metrics = run_targets(([-1, -1, 1, 1], ruined), ([1, 1, 1, 1], other))
    # Each began with 5,000; OTHER's 50 units are worth 6,000.
    assert metrics["final_equity"] == pytest.approx(6_000)
    assert metrics["trade_count"] == 1
    assert metrics["expectancy"] == -5_000


def test_a_size_is_not_changed_at_an_open_that_leaves_no_equity():
    bars = bars_of(opens=[100, 100, 300, 100], closes=[100, 100, 100, 90])
    metrics = run_targets(([-1, -0.5, -0.5, -0.5], bars))
    # Bar 2 opens 10,000 short, and closes at 100 with all of the 10,000 back: still 100 units.
    assert metrics["final_equity"] == pytest.approx(11_000)
    assert metrics["trade_count"] == 0


def test_symbols_are_equal_capital_sleeves_on_the_union_of_their_calendars():
    first = bars_of([100, 100, 120], [100, 110, 130], days=[0, 1, 3], symbol="FIRST")
    second = bars_of([50, 50, 60], [50, 40, 60], days=[1, 2, 4], symbol="SECOND")
    metrics = run_targets(([1, 1, 1], first), ([1, 0, 0], second))
    # Each sleeve starts with 5,000. FIRST buys 50 units on day 1: 5,500 at its close, 6,500 on
    # day 3. SECOND buys 100 units on day 2: 4,000 at its close; sells them at 60 on day 4: 6,000.
    # day      0      1      2      3      4
    # FIRST  5,000  5,500  5,500  6,500  6,500
    # SECOND 5,000  5,000  4,000  4,000  6,000
    # total 10,000 10,500  9,500 10,500 12,500
    assert metrics["final_equity"] == pytest.approx(12_500)
    assert metrics["max_drawdown"] == pytest.approx(1_000 / 10_500)
    assert metrics["max_drawdown_duration"] == 2
    returns = [500 / 10_000, -1_000 / 10_500, 1_000 / 9_500, 2_000 / 10_500]
    assert metrics["sharpe_ratio"] == pytest.approx(
        np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(365.25)
    )
    assert metrics["trade_count"] == 1
    assert metrics["expectancy"] == pytest.approx(1_000)
    # FIRST is open at two of its three closes, SECOND at one of three.
    assert metrics["exposure_time"] == pytest.approx(0.5)
