"""Run batches of backtests by calling the strategy for each block and symbol, then simulating."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np

from stratsweep_server.backtest.default.lockstep import LANES
from stratsweep_server.backtest.default.metrics import METRICS, compute_metrics
from stratsweep_server.backtest.default.portfolio import Portfolio, build_portfolio
from stratsweep_server.backtest.default.positions import Positions
from stratsweep_server.backtest.default.simulation import simulate
from stratsweep_server.backtest.default.strategies import BUILT_IN
from stratsweep_server.backtest.engine import (
    BacktestConfig,
    BacktestResult,
    BatchConfig,
    BatchResult,
    EngineDescription,
    ParameterColumn,
    ParameterValue,
)
from stratsweep_server.backtest.generators import SeededRuns
from stratsweep_server.backtest.importing import EngineLoadError, import_named
from stratsweep_server.backtest.indicators import begin_decision
from stratsweep_server.backtest.registry import (
    RegisteredStrategy,
    StrategyDeclarationError,
    register,
    registered_strategies,
)
from stratsweep_server.backtest.seeds import seed_of_symbol
from stratsweep_server.market_data.bars import Bars

_BLOCK_BYTES = 4 * 1024 * 1024
"""Of the positions that are decided before they are simulated, a byte each: they stay in a cache
that is shared by the kernels."""


class DefaultEngine:
    """Run the built-in strategies and those of the given modules.

    The execution model is that of `stratsweep_server.backtest.default.simulation`, the metrics
    those of `stratsweep_server.backtest.default.metrics`.

    Args:
        strategy_modules: Names, or paths of files, of modules that declare strategies with
            `@strategy`.
        strategies: Further strategies.

    Raises:
        EngineLoadError: A module is not there or cannot be imported, or a name is taken.
    """

    def __init__(
        self, strategy_modules: Sequence[str] = (), strategies: Sequence[RegisteredStrategy] = ()
    ) -> None:
        for module in strategy_modules:
            import_named(module)
        for each in strategies:
            try:
                register(each)
            except StrategyDeclarationError as error:
                raise EngineLoadError(str(error)) from None

    def describe(self) -> EngineDescription:
        """Return the strategies by name, and the metrics."""
        strategies = registered_strategies()
        return EngineDescription(
            strategies=tuple(strategies[name].declaration for name in sorted(strategies)),
            metrics=METRICS,
            uses_market_data=True,
        )

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """Run one backtest: a batch of one.

        Raises:
            ValueError: No such strategy or parameter, no bars, or the strategy returned something
                that is not one position in [-1, 1] per bar.
        """
        batch = BatchConfig(
            strategy=config.strategy.name,
            count=1,
            parameters={
                name: np.array([value]) for name, value in config.strategy.parameters.items()
            },
            symbols=config.symbols,
            start_date=config.start_date,
            end_date=config.end_date,
            timezone=config.timezone,
            starting_cash=config.starting_cash,
            commission=config.commission,
            slippage=config.slippage,
            bars=config.bars,
            seed_of=config.seed_of,
        )
        columns = self.run_batch(batch).metrics
        values = {name: float(column[0]) for name, column in columns.items()}
        return BacktestResult(
            {name: value for name, value in values.items() if not math.isnan(value)}
        )

    def run_batch(self, config: BatchConfig) -> BatchResult:
        """Run backtests that differ in their parameters only; return every metric as a column.

        Raises:
            ValueError: As in `run_sync`.
        """
        strategy = _find_strategy(config.strategy)
        strategy.check(config.parameters.keys())
        portfolio = build_portfolio(_bars_of(config))
        block = max(1, _BLOCK_BYTES // int(portfolio.offsets[-1]) // LANES) * LANES
        parts = []
        for first in range(0, config.count, block):
            rows = range(first, min(first + block, config.count))
            positions = _decide(strategy, config, portfolio, rows)
            figures = simulate(
                portfolio,
                positions,
                config.starting_cash,
                float(config.commission),
                float(config.slippage),
            )
            parts.append(compute_metrics(figures))
        return BatchResult(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )


@cache
def warm_up() -> None:
    """Compile the kernels, or load them from the cache on disk, so that no backtest waits for it.

    Runs every built-in strategy on a few bars, with shorts, so that both kernels are used. Starts
    no thread. It does so once: a worker that is forked from a warm process is warm.
    """
    prices = np.array([100.0, 101.0, 100.5, 101.5, 100.0, 101.0, 100.0, 101.0])
    time = np.arange(len(prices), dtype=np.int64) * 86_400_000_000_000
    bars = {"WARM_UP": Bars("WARM_UP", time, prices, prices, prices, prices, prices)}
    engine = DefaultEngine()
    strategies = registered_strategies()
    for name in BUILT_IN:
        names = [parameter.name for parameter in strategies[name].declaration.parameters]
        shorts = {"allow_short": np.array([False, True])} if "allow_short" in names else {}
        config = BatchConfig(name, 2 if shorts else 1, shorts, tuple(bars), bars=bars)
        engine.run_batch(config)
    portfolio = build_portfolio(tuple(bars.values()))
    positions = Positions(portfolio, 1)
    positions.put_one("warm_up", 0, 0, prices - 100.5)
    simulate(portfolio, positions, 1.0, 0.0, 0.0)


def _find_strategy(name: str) -> RegisteredStrategy:
    strategies = registered_strategies()
    if name not in strategies:
        raise ValueError(
            f"there is no strategy {name!r}; there are {', '.join(sorted(strategies))}"
        )
    return strategies[name]


def _bars_of(config: BatchConfig) -> tuple[Bars, ...]:
    if not config.symbols:
        raise ValueError("the backtest names no symbol")
    bars = config.bars or {}
    for symbol in config.symbols:
        if symbol not in bars or len(bars[symbol]) == bars[symbol].warm_up_count:
            raise ValueError(f"the backtest was given no bars of symbol {symbol!r}")
    return tuple(bars[symbol] for symbol in config.symbols)


def _decide(
    strategy: RegisteredStrategy, config: BatchConfig, portfolio: Portfolio, rows: range
) -> Positions:
    """Call the strategy for a block of combinations."""
    name = strategy.declaration.name
    columns = {each: config.parameters[each][rows.start : rows.stop] for each in config.parameters}
    positions = Positions(portfolio, len(rows))
    if strategy.is_vectorized:
        for sleeve, bars in enumerate(portfolio.sleeves):
            begin_decision()
            returned = strategy.decide_all(bars, columns, len(rows))
            positions.put(name, sleeve, returned)
        return positions
    runs = SeededRuns()
    for row, values in enumerate(_combinations(columns, len(rows))):
        config.begin(rows[row])
        for sleeve, bars in enumerate(portfolio.sleeves):
            begin_decision()
            decided = runs.run(
                partial(strategy.decide, bars, values),
                partial(_seed, config, values, bars.symbol),
            )
            positions.put_one(name, sleeve, row, decided)
    config.begin(None)
    return positions


def _seed(config: BatchConfig, values: Mapping[str, ParameterValue], symbol: str) -> int:
    return seed_of_symbol(config.seed_of(values), symbol)


def _combinations(
    columns: Mapping[str, ParameterColumn], count: int
) -> Sequence[dict[str, int | float | str | bool]]:
    """Return the columns as a dictionary of plain values for each combination."""
    if not columns:
        return [{}] * count
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
