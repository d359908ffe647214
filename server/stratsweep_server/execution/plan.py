"""Describe an optimization to a worker once, so that a chunk is nothing but indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.backtest.settings import BacktestSettings
from stratsweep_server.execution.grid import ParameterAxis, combination_at, grid_size
from stratsweep_server.market_data.bars import BarsHeader


@dataclass(frozen=True, slots=True)
class BacktestPlan(BacktestSettings):
    """Hold everything that the backtests of one optimization have in common.

    Attributes, beside those of `BacktestSettings`:
        strategy: The strategy's id.
        axes: The grid's axes; the last one varies fastest with the combination index.
        symbols: The instruments.
        start_date: First day, or None.
        end_date: Last day, or None.
        timezone: IANA name of the zone of these days; empty where nobody has said one.
        bar_headers: Of each symbol's bars in the file that comes with the plan, in its order; None
            when the engine loads its own.
        seed: What the seeds of the backtests follow from, 0 … 2^64 - 1.
        defaults: The declared default of each parameter that is no axis; seeds follow from these,
            too.
    """

    strategy: str
    axes: tuple[ParameterAxis, ...]
    symbols: tuple[str, ...]
    start_date: date | None = None
    end_date: date | None = None
    timezone: str = ""
    bar_headers: Mapping[str, BarsHeader] | None = None
    seed: int = 0
    defaults: Mapping[str, ParameterValue] = field(default_factory=dict)

    @property
    def grid_size(self) -> int:
        """Return the number of combinations before constraints."""
        return grid_size(self.axes)

    def combination(self, index: int) -> dict[str, ParameterValue]:
        """Return the parameter values at a 0-based index in grid order; the grid is not built."""
        return combination_at(self.axes, index)
