"""Define what an engine is: its protocol, its inputs and results, and what it may declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest.settings import BacktestSettings
from stratsweep_server.market_data.bars import Bars

ParameterValue: TypeAlias = int | float | str | bool
ParameterColumn: TypeAlias = NDArray[Any]
"""A parameter's value in each backtest of a batch: int64, float64, bool, or texts (numpy `U`)."""
SeedOf: TypeAlias = Callable[[Mapping[str, ParameterValue]], int]
"""The seed of the backtest with these parameter values."""


def _unseeded(parameters: Mapping[str, ParameterValue]) -> int:  # noqa: ARG001
    """Return 0 as the seed, for configs that were made without seeds."""
    return 0


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """Name a strategy and one combination's parameter values.

    Attributes:
        name: The strategy's id.
        parameters: The value of each parameter of the grid, by name.
    """

    name: str
    parameters: Mapping[str, ParameterValue]


@dataclass(frozen=True, slots=True)
class BacktestConfig(BacktestSettings):
    """Describe one backtest: a strategy with its parameters, symbols, dates, and an account.

    Attributes, beside `starting_cash`, `commission` and `slippage` of `BacktestSettings`:
        strategy: Name and parameters.
        symbols: The instruments, each an equal-capital sleeve of the portfolio.
        start_date: First day, included; None where the request has none.
        end_date: Last day, included; None where the request has none.
        timezone: IANA name of the zone of these days; empty where nobody has said one.
        bars: The bars of each symbol within the dates, read-only, and before the first day
            `warm_up_count` ones where the request asks for them; None for an engine that loads its
            own data.
        seed_of: Gives the seed of the backtest with these parameters, see `seed`.
    """

    strategy: StrategyConfig
    symbols: tuple[str, ...]
    start_date: date | None = None
    end_date: date | None = None
    timezone: str = ""
    bars: Mapping[str, Bars] | None = field(default=None, repr=False, compare=False)
    seed_of: SeedOf = field(default=_unseeded, repr=False, compare=False)

    @property
    def seed(self) -> int:
        """Return this backtest's seed, 0 … 2^64 - 1, made of the request's seed and its parameters.

        What the functions of `random` and `numpy.random` give follows from it, too.
        """
        return self.seed_of(self.strategy.parameters)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """Hold the figures of one backtest.

    Attributes:
        metrics: Value by metric name. A metric without a value is left out; NaN and infinities
            are taken as left out.
    """

    metrics: Mapping[str, float]


def _ignore(position: int | None) -> None:
    """Do nothing: `BatchConfig.begin` where nobody listens."""


@dataclass(frozen=True, slots=True)
class BatchConfig(BacktestSettings):
    """Describe backtests that differ in nothing but their strategy's parameters, in columns.

    Attributes:
        strategy: The strategy's id.
        count: The number of backtests, at least 1.
        parameters: The column of each parameter of the grid, by name, each of length `count`.
        symbols: As in `BacktestConfig`, like the attributes that follow, and those of
            `BacktestSettings`.
        start_date: First day, included; None where the request has none.
        end_date: Last day, included; None where the request has none.
        timezone: IANA name of the zone of these days; empty where nobody has said one.
        bars: The bars of each symbol; None for an engine that loads its own data.
        begin: To be called with the position (0 … count - 1) of the one backtest that runs from
            now on, or with None when all of them do, as at the start. An engine that works on one
            backtest at a time says so with it, and a hang or a crash is charged to that one at
            once; without it the batch is run again, one backtest after another.
        seed_of: Gives the seed of the backtest with these values of the parameters, see
            `BacktestConfig.seed`. Nothing has been seeded with it.
    """

    strategy: str
    count: int
    parameters: Mapping[str, ParameterColumn]
    symbols: tuple[str, ...]
    start_date: date | None = None
    end_date: date | None = None
    timezone: str = ""
    bars: Mapping[str, Bars] | None = field(default=None, repr=False, compare=False)
    begin: Callable[[int | None], None] = field(default=_ignore, repr=False, compare=False)
    seed_of: SeedOf = field(default=_unseeded, repr=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class BatchResult:
    """Hold the figures of a batch of backtests, in columns.

    Attributes:
        metrics: By metric name, float64 with one value per backtest; NaN and infinities are taken
            as no value.
    """

    metrics: Mapping[str, NDArray[np.float64]]


class ParameterType(Enum):
    """Name the type of a strategy parameter's values."""

    INTEGER = "integer"
    DOUBLE = "double"
    STRING = "string"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class StrategyParameter:
    """Declare one parameter of a strategy.

    Attributes:
        name: The parameter's id.
        type: The type of its values.
        default: What applies when the grid does not name it; None makes it required.
        minimum: Smallest number allowed, or None.
        maximum: Largest number allowed, or None.
        choices: Texts allowed; empty allows any.
        description: One line for people.
    """

    name: str
    type: ParameterType
    default: ParameterValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Strategy:
    """Declare one strategy.

    Attributes:
        name: The strategy's id.
        description: One line for people.
        parameters: What can be optimized.
        module: The dotted name of the module that it is from, where that is known.
        takes_columns: Whether it decides for many combinations at once, of the default engine;
            None where an engine does not say.
    """

    name: str
    description: str = ""
    parameters: tuple[StrategyParameter, ...] = ()
    module: str = ""
    takes_columns: bool | None = None


class MetricUnit(Enum):
    """Name what a metric's values are counted in: how they are shown, never what they are."""

    UNSPECIFIED = "unspecified"
    """Nobody says."""
    RATIO = "ratio"
    """A plain number."""
    FRACTION = "fraction"
    """A part of a whole: 0.25 is 25 %."""
    CURRENCY = "currency"
    """An amount in the currency of the prices."""
    COUNT = "count"
    """A whole number of things."""
    DAYS = "days"
    """A span in days, with fractions."""


class OptimizationDirection(Enum):
    """Name which end of a metric is best."""

    MAXIMIZE = "maximize"
    """The largest value."""
    MINIMIZE = "minimize"
    """The smallest value."""
    BEST = "best"
    """The one that the metric declares as its better end; the largest where it declares none."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Declare one metric.

    Attributes:
        name: The metric's id.
        description: Its definition with units. Where it has no value, a sentence that begins with
            "Absent" says so: it is shown where results lack the metric that ranks them.
        unit: What its values are counted in.
        best_direction: Its better end, MAXIMIZE or MINIMIZE; None where neither is better.
    """

    name: str
    description: str = ""
    unit: MetricUnit = MetricUnit.UNSPECIFIED
    best_direction: OptimizationDirection | None = None


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """List what an engine declares. An empty one accepts any strategy, parameters and symbols.

    Attributes:
        strategies: The strategies it runs; empty accepts any name with any parameters.
        metrics: The figures every backtest reports; empty accepts any optimization target.
        uses_market_data: Whether the server loads the symbols' bars and gives them in
            `BacktestConfig.bars`; otherwise symbols are passed as they came.
    """

    strategies: tuple[Strategy, ...] = ()
    metrics: tuple[Metric, ...] = ()
    uses_market_data: bool = False


@runtime_checkable
class BacktestEngine(Protocol):
    """Run backtests. One instance lives in each worker and runs one backtest at a time.

    An engine may also have `describe() -> EngineDescription`, and
    `run_batch(config: BatchConfig) -> BatchResult`. One with `run_batch` is asked nothing else: it
    is given whole chunks, and a backtest that runs alone is a batch of one. What raises or answers
    nonsense is halved until the exception is one backtest's own.
    """

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """Run one backtest. Whatever it raises becomes this combination's failure."""
        ...
