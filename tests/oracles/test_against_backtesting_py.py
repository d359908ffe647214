"""Every built-in strategy against backtesting.py, one run after another, on part of each market."""

from __future__ import annotations

import pytest

from .backtesting_py import (
    account_of,
    annualized_by_its_definitions,
    figures_by_its_definitions,
    run,
)
from .definitions import disagreements, metrics_of, with_values
from .grids import STRATEGIES, one_variant_each
from .markets import MARKETS, market_named
from .signals import positions_of

BARS = 700


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("market_name", MARKETS)
def test_every_metric_is_what_backtesting_py_reports(market_name, strategy):
    market = market_named(market_name).middle(BARS)
    differing = []
    for variant in one_variant_each(strategy):
        targets = positions_of(strategy, market, variant.parameters, variant.allow_short)
        result = run(market, variant, targets)
        ours = variant.metrics_on(market)
        theirs = metrics_of(account_of(result, variant), market)
        differing += disagreements(ours, theirs, variant)

        if targets[0] == 0:  # else its figures begin with the equity after the first trade
            expected = figures_by_its_definitions(ours, market, variant, result)
            if market.freq == "1D" and ours["final_equity"] > 0:
                expected |= annualized_by_its_definitions(ours, market)
            reported = {name: result[name] for name in expected}
            differing += disagreements(with_values(expected), with_values(reported), variant)
    assert differing == []
