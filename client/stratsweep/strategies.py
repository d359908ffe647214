"""What a server can run: strategies, their parameters, metrics, symbols."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stratsweep.parameters import ParameterValue


class ParameterType(StrEnum):
    """The type of a parameter's values."""

    INTEGER = "INTEGER"
    DOUBLE = "DOUBLE"
    STRING = "STRING"
    BOOL = "BOOL"


@dataclass(frozen=True, slots=True)
class StrategyParameter:
    """One parameter of a strategy.

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
    """One registered strategy: its id, one line for people, its parameters."""

    name: str
    description: str
    parameters: tuple[StrategyParameter, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that backtests report: its id and its definition with units."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """An instrument in the server's data directory.

    Attributes:
        name: The symbol's id.
        bar_count: The number of its bars.
        first_bar_time: Time of its first bar, UTC; None where the file cannot be used.
        last_bar_time: Time of its last bar, UTC; None where the file cannot be used.
        error: Why its file cannot be used; empty for a good one.
    """

    name: str
    bar_count: int
    first_bar_time: datetime | None
    last_bar_time: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class StrategyList:
    """What a server can run.

    Attributes:
        strategies: The registered strategies, by name.
        metrics: The figures that every backtest reports.
        symbols: The instruments in the data directory, by name.
        accepts_any_strategy: The engine declares nothing: any strategy, parameters and symbols are
            passed to it as they come.
    """

    strategies: tuple[Strategy, ...]
    metrics: tuple[Metric, ...]
    symbols: tuple[Symbol, ...]
    accepts_any_strategy: bool
