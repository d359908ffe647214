"""What must hold on any bars."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest import Bars, ParameterType
from stratsweep_server.backtest.default import DefaultEngine
from stratsweep_server.backtest.default.strategies import BUILT_IN
from stratsweep_server.backtest.registry import registered_strategies

from .markets import (
    ALL_IN,
    ALL_IN_BOTH_WAYS,
    PARTIAL,
    bars_of,
    markets,
    random_bars,
    run_targets,
    target_paths,
)

# Short enough that random walks of some 100 bars leave the warm-up.
PARAMETERS = {
    "sma_cross": {"fast": 3, "slow": 8},
    "ema_cross": {"fast": 3, "slow": 8},
    "macd_cross": {"fast": 3, "slow": 6, "signal": 4},
    "rsi_reversion": {"period": 3},
    "bollinger_reversion": {"period": 5, "deviations": 1.0},
    "donchian_breakout": {"entry_period": 5, "exit_period": 3},
    "momentum": {"period": 4, "threshold": 0.01},
    "buy_and_hold": {},
}
LEVELS = st.sampled_from([ALL_IN_BOTH_WAYS, PARTIAL])
CURRENCY = {"final_equity", "expectancy"}
# The bars that the last of a strategy's indicators needs: on the last of them it may decide.
NEEDED_BARS = {
    "sma_cross": lambda **spans: max(spans.values()),
    "ema_cross": lambda **spans: max(spans.values()),
    "macd_cross": lambda fast, slow, signal: max(fast, slow) + signal - 1,
    "rsi_reversion": lambda period, **levels: period + 1,
    "bollinger_reversion": lambda period, deviations: period,
    "donchian_breakout": lambda entry_period, exit_period: max(entry_period, exit_period) + 1,
    "momentum": lambda period, threshold: period + 1,
    "buy_and_hold": lambda: 1,
}


def decide(name, bars, **parameters):
    return np.asarray(registered_strategies()[name].decide(bars, parameters))


def parameters_of(name):
    return PARAMETERS[name] | sides_of(name)[-1]


def sides_of(name):
    """Long only, and both sides where it has two."""
    if name == "buy_and_hold":
        return [{}]
    return [{"allow_short": allow_short} for allow_short in (False, True)]


def profit_of_trades(metrics):
    return metrics.get("expectancy", 0.0) * metrics["trade_count"]


def approximately(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-6)


def integers_of(name):
    """Its parameters that are numbers of bars."""
    parameters = registered_strategies()[name].declaration.parameters
    return [each.name for each in parameters if each.type is ParameterType.INTEGER]


def test_every_built_in_strategy_is_examined():
    assert set(PARAMETERS) == set(NEEDED_BARS) == set(BUILT_IN)


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_strategy_decides_without_looking_ahead(name, data):
    bars = data.draw(markets(min_count=20))
    other = random_bars(data.draw(st.integers(0, 2**32 - 1)), len(bars))
    known = data.draw(st.integers(1, len(bars)))
    columns = ("open", "high", "low", "close", "volume")
    changed = Bars(
        bars.symbol,
        bars.time,
        *(np.append(getattr(bars, c)[:known], getattr(other, c)[known:]) for c in columns),
    )
    parameters = parameters_of(name)
    before, after = decide(name, bars, **parameters), decide(name, changed, **parameters)
    np.testing.assert_array_equal(before[:known], after[:known])


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_strategy_trades_both_ways_on_a_random_walk(name):
    positions = decide(name, random_bars(7, 500), **parameters_of(name))
    assert set(positions) >= ({1.0} if name == "buy_and_hold" else {1.0, -1.0})


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_strategy_is_long_only_unless_shorts_are_allowed(name):
    assert set(decide(name, random_bars(7, 500), **PARAMETERS[name])) <= {0.0, 1.0}


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"buy_and_hold"}))
@pytest.mark.parametrize("price", [103.37, 1e-7])
def test_a_price_that_never_changes_is_a_tie_and_gives_no_position(name, price):
    flat = np.full(300, price)
    bars = Bars("FLAT", np.arange(300) * 10**9, flat, flat, flat, flat, flat)
    assert not decide(name, bars, **parameters_of(name)).any()
    assert not decide(name, bars).any()


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=25, deadline=None)
@given(bars=markets(), data=st.data())
def test_a_strategy_is_flat_until_the_last_of_its_indicators_exists(name, bars, data):
    parameters = dict(PARAMETERS[name])
    for each in integers_of(name):
        parameters[each] = data.draw(st.integers(2, 2 * len(bars)), each)
    first = NEEDED_BARS[name](**parameters) - 1
    for allow_short in sides_of(name):
        assert not decide(name, bars, **parameters, **allow_short)[:first].any()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_strategy_decides_as_soon_as_its_indicators_exist(name):
    walks = [random_bars(seed, 40, volatility=0.1) for seed in range(60)]
    decisions = [decide(name, bars, **parameters_of(name)) != 0 for bars in walks]
    first = min(int(positions.argmax()) for positions in decisions if positions.any())
    assert first == NEEDED_BARS[name](**PARAMETERS[name]) - 1


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_two_parameters_can_be_exchanged(name):
    bars, parameters = random_bars(7, 500), parameters_of(name)
    for one, other in combinations(integers_of(name), 2):
        exchanged = parameters | {one: parameters[other], other: parameters[one]}
        assert (decide(name, bars, **exchanged) != decide(name, bars, **parameters)).any()


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_bars_than_an_indicator_needs_give_no_position(name, count):
    positions = decide(name, random_bars(1, count))
    assert positions.shape == (count,)
    assert not positions.any() or name == "buy_and_hold"


@pytest.mark.parametrize("fall", [10, 1e3, 1e6])
@pytest.mark.parametrize("name", ["sma_cross", "ema_cross", "macd_cross", "bollinger_reversion"])
def test_a_price_that_stands_still_after_any_fall_gives_no_position(name, fall):
    closes = np.concatenate([np.geomspace(10.1 * fall, 10.1, 3_000), np.full(1_000, 10.1)])
    bars = Bars("FALLEN", np.arange(len(closes)) * 10**9, *[closes] * 5)
    # In a steady fall no close is two deviations below the mean, so that none is held since then.
    wide = {"deviations": 2.0} if name == "bollinger_reversion" else {}
    assert not decide(name, bars, **parameters_of(name) | wide)[-500:].any()


@settings(max_examples=100, deadline=None)
@given(st.data(), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_strategy_that_stays_flat_has_no_return_and_no_sharpe_ratio(data, commission, slippage):
    bars = data.draw(markets())
    targets = np.zeros(len(bars))
    metrics = run_targets((targets, bars), commission=commission, slippage=slippage)
    assert metrics["total_return"] == 0
    assert metrics["final_equity"] == 10_000
    assert metrics["max_drawdown"] == 0
    assert metrics["trade_count"] == 0
    assert "sharpe_ratio" not in metrics


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 3), st.sampled_from([0, 0.001, 0.3]), st.sampled_from([0, 0.01]))
def test_the_profits_of_trades_add_up_to_the_change_of_equity(data, count, commission, slippage):
    sleeves = []
    for number in range(count):
        bars = data.draw(markets(symbol=f"S{number}"))
        targets = data.draw(target_paths(len(bars), data.draw(LEVELS)))
        targets[-2:] = 0  # closed at the last open
        sleeves.append((targets, bars))
    metrics = run_targets(*sleeves, commission=commission, slippage=slippage)
    assert profit_of_trades(metrics) == approximately(metrics["final_equity"] - 10_000)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_an_open_position_has_the_rest_of_the_change_of_equity(data):
    bars = data.draw(markets())
    targets = data.draw(target_paths(len(bars), data.draw(LEVELS)))
    metrics = run_targets((targets, bars))
    last = bars.close[-1]
    longer = bars_of(np.append(bars.open, [last] * 2), np.append(bars.close, [last] * 2))
    closed = run_targets((np.append(targets[:-1], [0, 0, 0]), longer))
    assert closed["final_equity"] == approximately(metrics["final_equity"])
    assert profit_of_trades(closed) == approximately(metrics["final_equity"] - 10_000)


def test_such_accounts_are_ruined_while_they_hold_and_while_they_trade():
    walks = [random_bars(seed, 100, volatility=0.3) for seed in range(20)]
    for targets in (-np.ones(100), np.arange(100) % 3 - 1.0):
        assert min(run_targets((targets, bars))["final_equity"] for bars in walks) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.data(),
    st.sampled_from(["commission", "slippage"]),
    st.sampled_from([ALL_IN, ALL_IN_BOTH_WAYS]),
)
def test_costs_never_help_an_all_in_strategy(data, cost, levels):
    """With fractions they can: a losing short is smaller by what its opening cost."""
    bars = data.draw(markets())
    targets = data.draw(target_paths(len(bars), levels))
    equities = [
        run_targets((targets, bars), **{cost: rate})["final_equity"]
        for rate in (0, 1e-5, 0.001, 0.1)
    ]
    for cheaper, dearer in pairwise(equities):
        assert dearer <= cheaper * (1 + 1e-12) + 1e-8


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([1e-3, 0.7, 12.5, 1e4]))
def test_scaling_all_prices_changes_no_metric(data, factor):
    bars = data.draw(markets())
    targets = data.draw(target_paths(len(bars), PARTIAL))
    scaled = Bars(
        bars.symbol,
        bars.time,
        *(getattr(bars, column) * factor for column in ("open", "high", "low", "close", "volume")),
    )
    expected = run_targets((targets, bars), commission=0.001)
    actual = run_targets((targets, scaled), commission=0.001)
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=50, deadline=None)
@given(bars=markets(min_count=20), factor=st.sampled_from([1e-3, 0.7, 12.5, 1e4]))
def test_scaling_all_prices_changes_no_decision(name, bars, factor):
    columns = ("open", "high", "low", "close", "volume")
    scaled = Bars(bars.symbol, bars.time, *(getattr(bars, each) * factor for each in columns))
    parameters = parameters_of(name)
    np.testing.assert_array_equal(
        decide(name, bars, **parameters), decide(name, scaled, **parameters)
    )


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_scaling_the_cash_changes_only_what_is_in_currency(data):
    bars = data.draw(markets())
    targets = data.draw(target_paths(len(bars), PARTIAL))
    expected = run_targets((targets, bars), cash=10_000.0, commission=0.001)
    actual = run_targets((targets, bars), cash=40_000.0, commission=0.001)
    for name, value in expected.items():
        assert actual[name] == value * (4 if name in CURRENCY else 1)


def test_the_same_backtest_gives_the_same_bits():
    bars = random_bars(3, 1_000)
    targets = np.random.default_rng(3).choice(PARTIAL, 1_000)
    assert run_targets((targets, bars)) == run_targets((targets, bars))


def test_the_description_lists_strategies_by_name_and_asks_for_bars():
    description = DefaultEngine().describe()
    names = [strategy.name for strategy in description.strategies]
    assert names == sorted(names)
    assert set(names) >= set(PARAMETERS)
    assert description.uses_market_data
    for strategy in description.strategies:
        assert strategy.description
        assert all(parameter.description for parameter in strategy.parameters)
