"""At least 50 combinations of each strategy, and the costs and sides under which they are run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, product

from stratsweep_server.backtest import BacktestConfig, StrategyConfig
from stratsweep_server.backtest.default import DefaultEngine

from .markets import Market

CASH = 10_000.0

_SPANS = {"fast": [1, 3, 5, 8, 10, 13, 21], "slow": [15, 30, 45, 60, 90, 120, 150, 200]}
_GRIDS: dict[str, dict[str, list[float]]] = {
    "sma_cross": _SPANS,
    "ema_cross": _SPANS,
    "macd_cross": {"fast": [5, 12, 40], "slow": [17, 26, 35, 50], "signal": [3, 5, 9, 15, 21]},
    "momentum": {
        "period": [1, 3, 5, 8, 13, 21, 34, 55, 89, 120, 150, 180, 200],
        "threshold": [0.0, 0.013, 0.031, 0.077],
    },
    "donchian_breakout": {
        "entry_period": [3, 5, 10, 20, 30, 40, 55, 100],
        "exit_period": [2, 5, 10, 15, 20, 40, 60],
    },
    "bollinger_reversion": {
        "period": [5, 8, 10, 15, 20, 30, 50, 100],
        "deviations": [0.5, 0.9, 1.1, 1.3, 1.7, 1.9, 2.3],
    },
    "rsi_reversion": {
        "period": [2, 5, 9, 14, 21],
        "oversold": [20.0, 30.0, 40.0],
        "overbought": [65.0, 80.0],
        "neutral": [48.0, 55.0],
    },
    "buy_and_hold": {},
}
STRATEGIES = list(_GRIDS)

_COSTS = [(0.0, 0.0), (0.0003, 0.0), (0.0, 0.0001), (0.0003, 0.0001)]
"""Commission and slippage, such that thousands of trades leave something: vectorbt sums cash flows,
and knows its equity to a fraction of the highest that it was, not of what is left."""


@dataclass(frozen=True)
class Variant:
    """One combination of a strategy's parameters, its side and its costs."""

    strategy: str
    parameters: dict[str, float]
    allow_short: bool
    commission: float
    slippage: float

    def metrics_on(self, market: Market) -> dict[str, float]:
        """What our engine reports."""
        parameters = dict(self.parameters)
        if self.strategy != "buy_and_hold":
            parameters["allow_short"] = self.allow_short
        config = BacktestConfig(
            StrategyConfig(self.strategy, parameters),
            (market.name,),
            starting_cash=CASH,
            commission=self.commission,
            slippage=self.slippage,
            bars={market.name: market.bars},
        )
        return dict(DefaultEngine().run_sync(config).metrics)


def combinations(strategy: str) -> list[dict[str, float]]:
    """The grid of a strategy."""
    grid = _GRIDS[strategy]
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def every_variant(strategy: str) -> list[Variant]:
    """Each combination long-only and long-short, without costs and with each and both of them."""
    return [
        Variant(strategy, parameters, allow_short, *costs)
        for parameters, allow_short, costs in product(
            combinations(strategy), _sides(strategy), _COSTS
        )
    ]


def one_variant_each(strategy: str) -> list[Variant]:
    """Each combination once, under sides and costs in turn."""
    if strategy == "buy_and_hold":
        return every_variant(strategy)
    variants = cycle(product(_COSTS, _sides(strategy)))
    return [
        Variant(strategy, parameters, allow_short, *costs)
        for parameters, (costs, allow_short) in zip(combinations(strategy), variants, strict=False)
    ]


def _sides(strategy: str) -> list[bool]:
    return [False] if strategy == "buy_and_hold" else [False, True]
