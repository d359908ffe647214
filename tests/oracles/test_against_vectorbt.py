"""Every built-in strategy against vectorbt, on whole markets, all combinations at once."""

from __future__ import annotations

import numpy as np
import pytest

from .definitions import disagreements, with_values
from .grids import STRATEGIES, Variant, every_variant, one_variant_each
from .markets import MARKETS, Market, market_named
from .signals import positions_of
from .vectorbt_portfolio import figures_by_its_definitions, portfolio_of, reported

MANY_BARS = 10_000
"""From here on each combination runs once, under sides and costs in turn."""


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("market_name", MARKETS)
def test_every_metric_is_what_vectorbt_reports(market_name, strategy):
    market = market_named(market_name)
    variants = one_variant_each(strategy) if len(market) > MANY_BARS else every_variant(strategy)
    portfolio = portfolio_of(market, variants, _positions(market, variants))
    ruined = portfolio.value().min().to_numpy() <= 0
    theirs = reported(portfolio, market).to_dict("records")
    differing = []
    for variant, is_ruined, figures in zip(variants, ruined, theirs, strict=True):
        ours = variant.metrics_on(market)
        # vectorbt trades on with debts. backtesting.py stops, as we do, and judges these.
        assert (ours["final_equity"] == 0) == is_ruined
        if not is_ruined:
            expected = with_values(figures_by_its_definitions(ours, market))
            differing += disagreements(expected, with_values(figures), variant)
    assert differing == []
    assert ruined.mean() < 0.5


def _positions(market: Market, variants: list[Variant]) -> np.ndarray:
    """The target positions of each variant, in columns; costs have no part in them."""
    columns: dict[tuple[object, ...], np.ndarray] = {}
    for each in variants:
        key = (*each.parameters.values(), each.allow_short)
        if key not in columns:
            columns[key] = positions_of(each.strategy, market, each.parameters, each.allow_short)
    keys = [(*each.parameters.values(), each.allow_short) for each in variants]
    return np.column_stack([columns[key] for key in keys])
