"""Describe what to optimize: the config and the values of the grid's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

from stratsweep_server.backtest import OptimizationDirection, ParameterValue
from stratsweep_server.backtest.settings import BacktestSettings


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """Describe whole numbers from start up to and including stop, where a step lands on it.

    Attributes:
        start: First value.
        stop: Inclusive upper end, at least start.
        step: Distance between neighbours, positive.
    """

    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class DoubleRange:
    """Describe numbers from start to stop, both included, by step or by number of points.

    No rounding error adds up from one point to the next.

    Attributes:
        start: First value, finite.
        stop: Inclusive upper end, finite, at least start.
        step: Distance between neighbours, positive; or None.
        point_count: Number of evenly spaced points; or None. Exactly one of the two is given.
    """

    start: float
    stop: float
    step: float | None = None
    point_count: int | None = None


ParameterValues: TypeAlias = IntegerRange | DoubleRange | Sequence[ParameterValue]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Describe one axis of the grid: a parameter's name and the values to try, in order.

    `values` is None for values that could not even be read; the reader reports why.
    """

    name: str
    values: ParameterValues | None


@dataclass(frozen=True, slots=True)
class OptimizationConfig(BacktestSettings):
    """Describe what to optimize. Equal configs give equal rankings on any number of workers.

    Attributes, beside those of `BacktestSettings`:
        strategy: The strategy's id.
        symbols: Instruments, each with an equal share of the starting cash.
        parameters: The axes of the grid, the last one varying fastest: a mapping of name to values,
            or `Parameter`s.
        start_date: First day of the bars, included; None: the first bar's.
        end_date: Last day of the bars, included; None: the last bar's.
        constraints: SQL boolean expressions over the parameters, such as `fast < slow`; a
            combination for which any is not true is not run. What they may say, and the limits of
            everything here, are documented at the contract's `OptimizationConfig`.
        requirements: SQL boolean expressions over metrics, such as `trade_count >= 30`; a result
            for which any is not true is not ranked.
        optimization_target: The metric to rank by.
        direction: Which end of the target is best; that of a config that runs is not BEST.
        backtest_timeout: Seconds that one backtest may run, from its own start, positive.
        max_ranked_results: Rows of the ranking to keep; 0 keeps all.
        warm_up_bar_count: Bars before the first day that strategies see of each symbol, as far as
            there are so many; nothing trades on them.
        seed: What random numbers in backtests follow from, together with each backtest's parameter
            values; 0 … 2^64 - 1.
        timezone: IANA name of the zone of the dates, and of times in price files that have none;
            empty for the data directory's.
    """

    strategy: str
    symbols: Sequence[str] = ()
    parameters: Mapping[str, ParameterValues] | Sequence[Parameter] = field(default_factory=dict)
    start_date: date | None = None
    end_date: date | None = None
    constraints: Sequence[str] = ()
    requirements: Sequence[str] = ()
    optimization_target: str = "sharpe_ratio"
    direction: OptimizationDirection = OptimizationDirection.MAXIMIZE
    backtest_timeout: float = 300.0
    max_ranked_results: int = 0
    warm_up_bar_count: int = 0
    seed: int = 0
    timezone: str = ""

    @property
    def axes(self) -> tuple[Parameter, ...]:
        """Return the parameters in grid order, whichever way they were given."""
        if isinstance(self.parameters, Mapping):
            return tuple(Parameter(name, values) for name, values in self.parameters.items())
        return tuple(self.parameters)
