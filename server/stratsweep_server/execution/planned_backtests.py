"""Run the backtests of one plan on this worker's engine: one, or a batch, by combination index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import (
    BacktestConfig,
    BacktestEngine,
    BatchConfig,
    ParameterValue,
    StrategyConfig,
)
from stratsweep_server.backtest.generators import SeededRuns
from stratsweep_server.backtest.indicators import begin_plan
from stratsweep_server.backtest.seeds import BacktestSeeds
from stratsweep_server.backtest.settings import settings_of
from stratsweep_server.execution.answers import MetricTable, plain_columns, plain_metrics
from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.market_data.bars import Bars

_LONGEST_LABEL = 200


class PlannedBacktests:
    """Run the backtests of one plan; columns of the grid are made at the first one.

    Args:
        plan: What they have in common.
        engine: Runs them.
        bars: Of each symbol; None when the engine loads its own.
    """

    def __init__(
        self, plan: BacktestPlan, engine: BacktestEngine, bars: Mapping[str, Bars] | None = None
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._bars = bars
        self._token = object()  # indicators keep it: they must not keep the bars

    def run(self, index: int, runs: SeededRuns) -> dict[str, float]:
        """Run one combination of a chunk and return its metrics as plain finite floats."""
        begin_plan(self._token)
        strategy = StrategyConfig(self._plan.strategy, self._plan.combination(index))
        config = BacktestConfig(strategy, **self._common)
        return plain_metrics(runs.run(partial(self._engine.run_sync, config), lambda: config.seed))

    def run_batch(
        self, indices: NDArray[np.int64], begin: Callable[[int | None], None]
    ) -> MetricTable:
        """Run combinations as one batch, on an engine that takes batches; return its metrics."""
        begin_plan(self._token)
        config = BatchConfig(
            strategy=self._plan.strategy,
            count=len(indices),
            parameters=self._columns.at(indices),
            begin=begin,
            **self._common,
        )
        return plain_columns(self._engine.run_batch(config), len(indices))  # type: ignore[attr-defined]

    def describe(self, index: int) -> str:
        """Return a combination's values as one would type them, cut off where that gets long."""
        values = self._plan.combination(index)
        text = " ".join(f"{name}={_typed(value)}" for name, value in values.items())
        return text if len(text) <= _LONGEST_LABEL else f"{text[:_LONGEST_LABEL]}…"

    @cached_property
    def _columns(self) -> GridColumns:
        return GridColumns(self._plan.axes)

    @cached_property
    def _common(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "symbols": plan.symbols,
            "start_date": plan.start_date,
            "end_date": plan.end_date,
            "timezone": plan.timezone,
            **settings_of(plan),
            "bars": self._bars,
            "seed_of": BacktestSeeds(plan.seed, plan.defaults).of,
        }


def _typed(value: ParameterValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # a line break in it would begin a line with another label
        return value if value.isprintable() else repr(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def takes_batches(engine: BacktestEngine) -> bool:
    """Return whether an engine can run whole batches."""
    return callable(getattr(engine, "run_batch", None))
