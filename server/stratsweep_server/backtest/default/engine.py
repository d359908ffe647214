"""The default engine: one backtest is a strategy call and a simulation per symbol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stratsweep_server.backtest.default import strategies as built_in
from stratsweep_server.backtest.default.equity_curve import summarize
from stratsweep_server.backtest.default.metrics import METRICS, Figures, compute_metrics
from stratsweep_server.backtest.default.portfolio import build_portfolio
from stratsweep_server.backtest.default.simulation import (
    Simulation,
    add_trades,
    first_invalid_target,
    simulate,
)
from stratsweep_server.backtest.engine import (
    BacktestConfig,
    BacktestResult,
    EngineDescription,
    StrategyConfig,
)
from stratsweep_server.backtest.importing import import_named
from stratsweep_server.backtest.registry import RegisteredStrategy, registered_strategies
from stratsweep_server.market_data.bars import Bars


class DefaultEngine:
    """Runs the built-in strategies and those of the given modules.

    The execution model is that of `stratsweep_server.backtest.default.simulation`, the metrics
    those of `stratsweep_server.backtest.default.metrics`.

    Args:
        strategy_modules: Names of modules that declare strategies with `@strategy`.

    Raises:
        EngineLoadError: A module is not there or cannot be imported.
    """

    def __init__(self, strategy_modules: Sequence[str] = ()) -> None:
        for module in strategy_modules:
            import_named(module)

    def describe(self) -> EngineDescription:
        """Return the strategies by name, and the metrics."""
        strategies = registered_strategies()
        return EngineDescription(
            strategies=tuple(strategies[name].declaration for name in sorted(strategies)),
            metrics=METRICS,
            uses_market_data=True,
        )

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """Run one backtest.

        Raises:
            ValueError: No such strategy or parameter, no bars, or the strategy returned something
                that is not one position in [-1, 1] per bar.
        """
        strategy = _find_strategy(config.strategy.name)
        portfolio = build_portfolio(_bars_of(config))
        sleeve_cash = config.starting_cash / len(portfolio.sleeves)
        simulations = [
            simulate(
                _targets(strategy, config.strategy, bars),
                bars.open,
                bars.close,
                sleeve_cash,
                float(config.commission),
                float(config.slippage),
            )
            for bars in portfolio.sleeves
        ]
        equity = portfolio.equity([sleeve.equity for sleeve in simulations], sleeve_cash)
        figures = Figures(
            summarize(portfolio.time, equity),
            reduce(add_trades, (sleeve.trades for sleeve in simulations)),
            _exposure(simulations),
            portfolio.periods_per_year,
        )
        return BacktestResult(compute_metrics(figures))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache on disk, so that no backtest waits for it.

    Runs every built-in strategy once on a few bars. Starts no thread; cheap when already warm.
    """
    prices = np.linspace(100.0, 101.0, 8)
    time = np.arange(len(prices), dtype=np.int64) * 86_400_000_000_000
    bars = {"WARM_UP": Bars("WARM_UP", time, prices, prices, prices, prices, prices)}
    engine = DefaultEngine()
    for name in built_in.__all__:
        engine.run_sync(BacktestConfig(StrategyConfig(name, {}), tuple(bars), bars=bars))


def _find_strategy(name: str) -> RegisteredStrategy:
    strategies = registered_strategies()
    if name not in strategies:
        raise ValueError(
            f"there is no strategy {name!r}; there are {', '.join(sorted(strategies))}"
        )
    return strategies[name]


def _bars_of(config: BacktestConfig) -> tuple[Bars, ...]:
    if not config.symbols:
        raise ValueError("the backtest names no symbol")
    bars = config.bars or {}
    for symbol in config.symbols:
        if symbol not in bars or not len(bars[symbol]):
            raise ValueError(f"the backtest was given no bars of symbol {symbol!r}")
    return tuple(bars[symbol] for symbol in config.symbols)


def _targets(
    strategy: RegisteredStrategy, config: StrategyConfig, bars: Bars
) -> NDArray[np.float64]:
    """Call the strategy and check what it returns."""
    returned = strategy.decide(bars, config.parameters)
    targets = _as_numbers(config.name, returned)
    if targets.shape != bars.close.shape:
        raise ValueError(
            f"strategy {config.name!r} must return one position per bar, {len(bars)}; "
            f"it returned {_shape_text(returned, targets)}"
        )
    targets = targets.view()
    targets.flags.writeable = False
    invalid = first_invalid_target(targets)
    if invalid >= 0:
        raise ValueError(
            f"strategy {config.name!r} returned position {targets[invalid]} for bar {invalid} "
            f"({np.datetime64(int(bars.time[invalid]), 'ns')}) of {bars.symbol}; a position is a "
            "fraction of equity from -1 to 1, or NaN for none"
        )
    return targets


def _as_numbers(name: str, returned: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(returned)
    try:
        return array.astype(np.float64, order="C", casting="same_kind", copy=False)
    except TypeError as error:
        raise ValueError(
            f"strategy {name!r} must return an array of numbers; it returned "
            f"{type(returned).__name__} of {array.dtype}"
        ) from error


def _shape_text(returned: object, targets: NDArray[np.float64]) -> str:
    if targets.ndim == 1:
        return str(len(targets))
    return f"{type(returned).__name__} of shape {targets.shape}"


def _exposure(simulations: Sequence[Simulation]) -> float:
    fractions = [sleeve.open_bar_count / len(sleeve.equity) for sleeve in simulations]
    return sum(fractions) / len(fractions)
