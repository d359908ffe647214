"""Run every combination of a grid and rank the results, without gRPC: the GridSearchOptimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType

from stratsweep_server.backtest.loading import DEFAULT_ENGINE, EngineSource, EngineSpec
from stratsweep_server.backtest.registry import (
    RegisteredStrategy,
    StrategyFunction,
    declare,
    strategies_of_main,
)
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.execution.pool import BacktestPool, WorkerPool
from stratsweep_server.market_data.data_directory import DataDirectory
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.labels import labels_text
from stratsweep_server.optimization.limits import DEFAULT_MAX_COMBINATIONS
from stratsweep_server.optimization.memory import MemoryAccount, unlimited_memory
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.plain_types import in_plain_types
from stratsweep_server.optimization.preparation import PreparedOptimization, prepare
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.running import (
    OpenJournal,
    ProgressCallback,
    RunningOptimization,
)
from stratsweep_server.optimization.store import LOCAL_CALLER
from stratsweep_server.optimization.validation import Violation


class GridSearchOptimizer:
    """Find the best parameters of a strategy by running one backtest per combination.

    Example:
        >>> import asyncio
        >>> from stratsweep_server.optimization import (
        ...     GridSearchOptimizer, IntegerRange, OptimizationConfig
        ... )
        >>> config = OptimizationConfig(
        ...     strategy="sma_cross",
        ...     symbols=["SPY"],
        ...     parameters={"fast": IntegerRange(5, 50, 5), "slow": [100, 150, 200]},
        ... )
        >>> async def main():
        ...     async with GridSearchOptimizer(max_workers=2, data="prices") as optimizer:
        ...         result = await optimizer.optimize(config, progress_callback=print)
        ...     print(result.best)
        >>> asyncio.run(main())  # doctest: +SKIP

    As an async context manager it keeps its workers between optimizations; without, they live as
    long as one `optimize` call. What backtests print goes to the logger
    `stratsweep_server.worker_output`, as INFO, each line with the combination that it is from.

    Args:
        max_workers: Worker processes; default: the CPUs that this process may use.
        engine: What runs a backtest: "default", "module:factory" or "file.py:factory", a factory
            such as a class, or an engine. Workers do not import the main module: what is defined in
            a script, a notebook's cell or `python -c` is sent to them by value, with the globals
            that it uses.
        data: The directory of price files, for engines that use market data.
        strategy_modules: Modules that register strategies with the default engine: dotted names,
            or paths of files.
        strategies: Functions that are strategies of the default engine, with or without
            `@strategy`; sent like an engine. Those of the main module that have it need no mention.
        max_combinations: The largest grid that is accepted, before constraints.
        pool: Runs the backtests instead of processes of its own; `max_workers` and `engine` are its
            business then, and so is closing it.

    Raises:
        ValueError: There can be no such number of workers, or two strategies have one name.
        StrategyDeclarationError: A function cannot be declared as a strategy.
        EngineLoadError: When workers are to be started, and the engine or a strategy cannot be sent
            to them.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        engine: EngineSource = DEFAULT_ENGINE,
        *,
        data: DataDirectory | Path | str | None = None,
        strategy_modules: Sequence[str] = (),
        strategies: Sequence[StrategyFunction] = (),
        max_combinations: int = DEFAULT_MAX_COMBINATIONS,
        pool: BacktestPool | None = None,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        self._max_workers = max_workers
        self._engine = EngineSpec(engine, tuple(strategy_modules), _declare_all(strategies))
        self._data = DataDirectory(Path(data)) if isinstance(data, str | Path) else data
        self._max_combinations = max_combinations
        self._pool = pool
        self._own_pool = AsyncExitStack()

    @property
    def max_combinations(self) -> int:
        """Return the largest grid that is accepted, before constraints."""
        return self._max_combinations

    async def __aenter__(self) -> GridSearchOptimizer:
        if self._pool is None:
            pool = WorkerPool(self._engine_spec(), max_workers=self._max_workers)
            self._pool = await self._own_pool.enter_async_context(pool)
            self._own_pool.callback(setattr, self, "_pool", None)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._own_pool.aclose()

    async def optimize(
        self, config: OptimizationConfig, progress_callback: ProgressCallback | None = None
    ) -> OptimizationResult:
        """Run every combination and rank the results.

        A backtest that raises, crashes or runs past its timeout is logged and reported in the
        result's failures; the rest goes on. Cancelling frees the workers at once.

        Args:
            config: What to optimize. Numbers and collections may be numpy's or pandas', days may be
                times or texts YYYY-MM-DD; one symbol, constraint or value needs no list.
            progress_callback: Called with (completed, total) once for each backtest that completes,
                failed ones included, on the event loop.

        Raises:
            InvalidConfigError: With every violation of the config.
            WorkersUnavailableError: No worker process starts.
        """
        if self._pool is None:
            # A pool for this call alone, since several calls may overlap.
            async with WorkerPool(self._engine_spec(), max_workers=self._max_workers) as pool:
                optimizer = GridSearchOptimizer(
                    data=self._data, max_combinations=self._max_combinations, pool=pool
                )
                return await optimizer.optimize(config, progress_callback)
        prepared = await self.prepare(in_plain_types(config))
        async with self.start(prepared, progress_callback) as optimization:
            return await optimization.result()

    async def prepare(
        self,
        config: OptimizationConfig,
        known_violations: Sequence[Violation] = (),
        *,
        memory: MemoryAccount | None = None,
    ) -> PreparedOptimization:
        """Validate a config, count its grid and load its bars, without running anything.

        Args:
            config: What to optimize.
            known_violations: Found while the config was read.
            memory: Holds in the end what the optimization takes; default: nobody counts.

        Raises:
            InvalidConfigError: With every violation, `known_violations` first.
            MemoryExhaustedError: There is no room for it now.
            WorkersUnavailableError: No worker process starts.
        """
        pool = self._started_pool
        engine = await pool.describe_engine()
        generation = pool.generation  # nothing else has run since: it is the one described
        prepared = await prepare(
            config,
            engine,
            self._data,
            max_combinations=self._max_combinations,
            known_violations=known_violations,
            memory=memory,
        )
        return replace(prepared, generation=generation)

    def start(
        self,
        prepared: PreparedOptimization,
        progress_callback: ProgressCallback | None = None,
        *,
        optimization_id: str = "",
        labels: Mapping[str, str] = MappingProxyType({}),
        memory: MemoryAccount | None = None,
        open_journal: OpenJournal | None = None,
        log: OutcomeLog | None = None,
        taken_over: Sequence[OutcomeBatch] = (),
    ) -> RunningOptimization:
        """Return an optimization that runs while its async context is open, to stream its log.

        Args:
            prepared: What to run.
            progress_callback: See `optimize`.
            optimization_id: Its name.
            labels: What its client calls it.
            memory: What it holds; default: nobody counts.
            open_journal: Begins its run in the store that keeps it; default: nothing keeps it.
            log: What it has already; only what is missing runs.
            taken_over: Outcomes of other optimizations that are its own, too.
        """
        return RunningOptimization(
            self._started_pool,
            prepared,
            name=f"optimization {optimization_id}".strip(),
            labels=labels_text(labels),
            memory=memory or unlimited_memory(),
            open_journal=open_journal or partial(MemoryStore().journal, LOCAL_CALLER, ""),
            log=log,
            taken_over=taken_over,
            progress_callback=progress_callback,
        )

    def _engine_spec(self) -> EngineSpec:
        """Return what workers build their engine from, with what the main module has registered."""
        spec = self._engine
        if not spec.is_default:
            return spec
        given = {each.declaration.name for each in spec.strategies}
        of_main = (each for each in strategies_of_main() if each.declaration.name not in given)
        return replace(spec, strategies=(*spec.strategies, *of_main))

    @property
    def _started_pool(self) -> BacktestPool:
        if self._pool is None:
            raise RuntimeError("the optimizer has no workers yet: use it with `async with`")
        return self._pool


def _declare_all(functions: Sequence[StrategyFunction]) -> tuple[RegisteredStrategy, ...]:
    declared = {each.declaration.name: each for each in map(declare, functions)}
    if len(declared) < len(functions):
        raise ValueError(
            f"strategies: two of them have one name, there are only {', '.join(declared)}; "
            "give one another name with @strategy(name=...)"
        )
    return tuple(declared.values())
