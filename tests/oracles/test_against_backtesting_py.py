"""Every built-in strategy against backtesting.py, one run after another, on part of each market."""

from __future__ import annotations

from typing import Any

import pytest

from .backtesting_py import (
    account_of,
    annualized_by_its_definitions,
    figures_by_its_definitions,
    run,
)
from .definitions import disagreements, metrics_of, with_values
from .grids import STRATEGIES, Variant, every_variant, one_variant_each
from .markets import MARKETS, Market, market_named
from .signals import positions_of

BARS = 700
RUINED = 2
"""Of each strategy on each market; a whole market takes the referee a while."""


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("market_name", MARKETS)
def test_every_metric_is_what_backtesting_py_reports(market_name, strategy):
    market = market_named(market_name).middle(BARS)
    differing = []
    for variant in one_variant_each(strategy):
        ours, result = both(market, variant)
        differing += disagreements_with(result, ours, market, variant)
        # Without a position on the first bar: else its figures begin with the equity after it.
        if result["_strategy"].targets[0] == 0:
            expected = figures_by_its_definitions(ours, market, result)
            if market.freq == "1D" and ours["final_equity"] > 0:
                expected |= annualized_by_its_definitions(ours, market)
            reported = {name: result[name] for name in expected}
            differing += disagreements(with_values(expected), with_values(reported), variant)
    assert differing == []


@pytest.mark.parametrize("market_name", ["AAPL", "BTCUSD", "volatile walk"])
def test_every_metric_of_accounts_that_are_ruined_is_what_backtesting_py_reports(market_name):
    """vectorbt trades on with debts, so that these are this referee's, on the whole market."""
    market = market_named(market_name)
    differing, count = [], 0
    for strategy in STRATEGIES:
        runs = ((each, each.metrics_on(market)) for each in every_variant(strategy)[::-1])
        ruined = [variant for variant, ours in runs if ours["final_equity"] == 0]
        for variant in ruined[:RUINED]:
            ours, result = both(market, variant)
            differing += disagreements_with(result, ours, market, variant)
            count += 1
    assert differing == []
    assert count >= RUINED


def both(market: Market, variant: Variant) -> tuple[dict[str, float], Any]:
    """What our engine and what the referee reports."""
    arguments = variant.strategy, market, variant.parameters, variant.allow_short
    return variant.metrics_on(market), run(market, variant, positions_of(*arguments))


def disagreements_with(
    result: Any, ours: dict[str, float], market: Market, variant: Variant
) -> list[str]:
    """Where our metrics differ from those of the referee's equity curve and trades."""
    return disagreements(ours, metrics_of(account_of(result), market), variant)
