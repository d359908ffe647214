"""What a server can run: strategies, their parameters, metrics, symbols."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stratsweep.config import OptimizationDirection
from stratsweep.parameters import ParameterValue


class ParameterType(StrEnum):
    """Name the type of a parameter's values."""

    INTEGER = "INTEGER"
    DOUBLE = "DOUBLE"
    STRING = "STRING"
    BOOL = "BOOL"
    UNSPECIFIED = "UNSPECIFIED"
    """One that only a newer server knows."""


@dataclass(frozen=True, slots=True)
class StrategyParameter:
    """Describe one parameter of a strategy.

    Attributes:
        name: The parameter's id.
        type: The type of its values.
        default: What applies when the grid does not name it; None makes it required.
        minimum: Smallest value allowed; None is unbounded.
        maximum: Largest value allowed; None is unbounded.
        choices: The texts allowed; empty allows any.
        description: One line for people.
    """

    name: str
    type: ParameterType
    default: ParameterValue | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """Describe one registered strategy.

    Attributes:
        name: The strategy's id.
        description: One line for people.
        parameters: What can be optimized.
        source: The `module` of the source that it is from; empty for one that comes with the
            server, and where an engine does not say.
        takes_columns: Whether it is asked for many combinations at once, which is faster than once
            for each; None where an engine does not say.
    """

    name: str
    description: str
    parameters: tuple[StrategyParameter, ...]
    source: str = ""
    takes_columns: bool | None = None


class MetricUnit(StrEnum):
    """Name what a metric's values are counted in: how they are shown, never what they are."""

    UNSPECIFIED = "UNSPECIFIED"
    """The engine does not say."""
    RATIO = "RATIO"
    """A plain number."""
    FRACTION = "FRACTION"
    """A part of a whole: 0.25 is 25 %."""
    CURRENCY = "CURRENCY"
    """An amount in the currency of the prices."""
    COUNT = "COUNT"
    """A whole number of things; tables have it as integers."""
    DAYS = "DAYS"
    """A span in days, with fractions."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Describe a figure that backtests report.

    Attributes:
        name: The metric's id.
        description: Its definition with units.
        unit: What its values are counted in.
        best_direction: Its better end; None where the engine does not say, or neither is better.
    """

    name: str
    description: str
    unit: MetricUnit = MetricUnit.UNSPECIFIED
    best_direction: OptimizationDirection | None = None


def counts_of(metrics: Iterable[Metric]) -> frozenset[str]:
    """Return the names of the metrics that count things, which tables have as integers."""
    return frozenset(each.name for each in metrics if each.unit is MetricUnit.COUNT)


@dataclass(frozen=True, slots=True)
class Symbol:
    """Describe an instrument of the data directory, or its bars within an optimization's dates.

    Attributes:
        name: The symbol's id.
        bar_count: The number of its bars.
        first_bar_time: Time of its first bar, in `timezone` (in UTC on a machine that does not know
            that zone); None where the file cannot be used.
        last_bar_time: Time of its last bar, likewise.
        error: Why its file cannot be used; empty for a good one.
        notes: What was done to read its file that is worth knowing.
        timezone: IANA name of the zone whose days its bars are of, and of times in its file that
            have none; UTC where bars are of whole days, and where the file cannot be used.
    """

    name: str
    bar_count: int
    first_bar_time: datetime | None
    last_bar_time: datetime | None
    error: str
    notes: tuple[str, ...] = ()
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Source:
    """Describe a module of the operator's own, as the server has loaded it.

    Attributes:
        module: Its dotted name.
        file: The name of its file from the directory on in which it was found.
        digest: SHA-256 of the file as it was loaded, in hexadecimal.
        load_time: When it was loaded, UTC.
        modification_time: When the file that was loaded had been written, UTC.
        is_stale: Whether the file is another now, or gone; SIGHUP or a restart loads it as it is.
    """

    module: str
    file: str
    digest: str
    load_time: datetime
    modification_time: datetime
    is_stale: bool


@dataclass(frozen=True, slots=True)
class StrategyList:
    """List what a server can run.

    Attributes:
        strategies: The registered strategies, by name.
        metrics: The figures that every backtest reports.
        symbols: The instruments in the data directory, by name.
        accepts_any_strategy: The engine declares nothing: any strategy, parameters and symbols are
            passed to it as they come.
        sources: The modules of the operator's own that new optimizations run, by name.
    """

    strategies: tuple[Strategy, ...]
    metrics: tuple[Metric, ...]
    symbols: tuple[Symbol, ...]
    accepts_any_strategy: bool
    sources: tuple[Source, ...] = ()
