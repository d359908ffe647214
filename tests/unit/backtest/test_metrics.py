"""Metrics from known equity curves and trades, worked out by hand."""

import math

import numpy as np
import pytest
from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.backtest.default.figures import Figures, Sums
from stratsweep_server.backtest.default.metrics import METRICS, compute_metrics

from tests.scalar_kernel import simulate_one

from .markets import bars_of, run_targets


def metrics_of(equity, days=None, periods_per_year=252.0, **trades):
    """Metrics of an equity curve: of one unit that was bought at the first close."""
    equity = np.array(equity, dtype=np.float64)
    days = np.arange(float(len(equity))) if days is None else np.array(days, dtype=np.float64)
    opens = np.full(len(equity), equity[0])
    held = simulate_one(np.ones(len(equity)), opens, equity, days, equity[0], 0.0, 0.0)
    sums = Sums(*held[:, np.newaxis])._replace(
        **{name: np.array([float(value)]) for name, value in (trades | {"exposure": 0.25}).items()}
    )
    columns = compute_metrics(Figures(sums, equity[0], len(equity), periods_per_year))
    return {name: values[0] for name, values in columns.items() if not np.isnan(values[0])}


def test_return_metrics_follow_their_definitions():
    metrics = metrics_of([100, 110, 99, 108.9])
    # Returns 0.1, -0.1, 0.1: mean 1/30; squared deviations 4/900, 16/900, 4/900, over two.
    deviation = math.sqrt(24 / 900 / 2)
    assert metrics["total_return"] == pytest.approx(0.089)
    assert metrics["cagr"] == pytest.approx(1.089 ** (252 / 3) - 1)
    assert metrics["annualized_volatility"] == pytest.approx(deviation * math.sqrt(252))
    assert metrics["sharpe_ratio"] == pytest.approx(1 / 30 / deviation * math.sqrt(252))
    assert metrics["sortino_ratio"] == pytest.approx(1 / 30 / math.sqrt(0.01 / 3) * math.sqrt(252))
    assert metrics["omega_ratio"] == pytest.approx(2)
    assert metrics["max_drawdown"] == pytest.approx(0.1)
    assert metrics["calmar_ratio"] == pytest.approx((1.089 ** (252 / 3) - 1) / 0.1)
    assert metrics["final_equity"] == pytest.approx(108.9)
    assert metrics["exposure_time"] == 0.25


def test_trade_metrics_follow_their_definitions():
    # Profits 30, 10, -20 and 0; returns 0.3, 0.1, -0.2 and 0.
    trades = {
        "trade_count": 4,
        "winning_count": 2,
        "gross_profit": 40,
        "gross_loss": 20,
        "trade_return_sum": 0.2,
    }
    metrics = metrics_of([100, 120], **trades)
    assert metrics["trade_count"] == 4
    assert metrics["win_rate"] == 0.5
    assert metrics["profit_factor"] == 2
    assert metrics["expectancy"] == 5
    assert metrics["average_trade_return"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("equity", "duration"),
    [
        ([100, 90, 95, 100, 80, 101], 3),  # back at the peak on day 3, above it two days later
        ([100, 90, 100, 80, 90, 95], 3),  # not back before the end
        ([100, 100, 101, 101, 102], 0),
        ([100, 90, 91, 120, 110, 115], 3),
    ],
)
def test_a_drawdown_lasts_from_its_peak_until_equity_is_back_or_the_end(equity, duration):
    assert metrics_of(equity)["max_drawdown_duration"] == duration


def test_a_drawdown_lasts_calendar_time_not_bars():
    assert metrics_of([100, 90, 100], days=[0, 1, 7])["max_drawdown_duration"] == 7


def test_a_flat_strategy_has_zero_return_and_no_ratio():
    bars = bars_of([100, 103.37, 99], [101, 102.11, 98.3])
    assert run_targets(([0, 0, 0], bars)) == {
        "total_return": 0,
        "cagr": 0,
        "annualized_volatility": 0,
        "max_drawdown": 0,
        "max_drawdown_duration": 0,
        "trade_count": 0,
        "exposure_time": 0,
        "final_equity": 10_000,
    }


def test_rounding_is_no_deviation():
    growth = [1.01**bar for bar in range(200)]
    metrics = metrics_of(growth)
    assert metrics["total_return"] > 0
    assert {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio"}.isdisjoint(metrics)


def test_a_metric_without_a_losing_trade_or_period_is_absent():
    metrics = metrics_of([100, 110, 130], trade_count=1, winning_count=1, gross_profit=30)
    assert "sharpe_ratio" in metrics
    assert {"sortino_ratio", "calmar_ratio", "omega_ratio", "profit_factor"}.isdisjoint(metrics)


def test_a_single_bar_has_no_returns_and_no_annual_figures():
    metrics = run_targets(([1], bars_of([100], [101])))
    assert set(metrics) == {
        "total_return",
        "max_drawdown",
        "max_drawdown_duration",
        "trade_count",
        "exposure_time",
        "final_equity",
    }


def test_two_bars_have_one_return_and_no_deviation():
    metrics = run_targets(([1, 1], bars_of([100, 100], [100, 90])))
    assert metrics["total_return"] == pytest.approx(-0.1)
    assert {"annualized_volatility", "sharpe_ratio"}.isdisjoint(metrics)
    assert metrics["sortino_ratio"] == pytest.approx(-math.sqrt(365.25))


def test_an_annual_growth_too_large_for_a_number_is_absent():
    metrics = metrics_of([1, 10], periods_per_year=525_960)
    assert {"cagr", "calmar_ratio"}.isdisjoint(metrics)
    assert metrics["total_return"] == 9


def test_every_metric_is_declared_once_with_its_definition():
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names)) == 16
    assert all(metric.description.endswith(".") for metric in METRICS)


def test_every_metric_declares_its_better_end_unless_neither_is_better():
    ends = {metric.name: metric.best_direction for metric in METRICS}
    smaller = {"annualized_volatility", "max_drawdown", "max_drawdown_duration"}
    assert {name for name in ends if ends[name] is OptimizationDirection.MINIMIZE} == smaller
    assert {name for name in ends if ends[name] is None} == {"trade_count", "exposure_time"}


def test_a_price_that_stands_still_gives_no_losses_whatever_rounding_makes_of_it():
    bars = bars_of([99.99] * 40, [99.99] * 40)
    for seed in range(300):
        targets = np.random.default_rng(seed).choice([0.7, 0.3, 0.71, 0.0, -0.55, -0.3], 40)
        metrics = run_targets((targets, bars))
        assert metrics["win_rate"] == metrics["expectancy"] == 0
        assert metrics["max_drawdown"] == metrics["max_drawdown_duration"] == 0
        assert metrics["annualized_volatility"] == 0
        assert {"profit_factor", "sharpe_ratio", "sortino_ratio", "omega_ratio"}.isdisjoint(metrics)
