"""What to optimize: the keywords of a call, and the config that a server makes of them.

A new field is a keyword here and an attribute below it; plain numbers and texts travel by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import (
    Any,
    Protocol,
    Required,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypedDict,
    cast,
)

from stratsweep.parameters import GridValues, ParameterValues

Span: TypeAlias = SupportsFloat | timedelta
"""A span of time: seconds, or a timedelta."""


class NumpyTime(Protocol):
    """Stand for a `numpy.datetime64`, without an import of numpy."""

    def astype(self, dtype: str, /) -> Any:  # noqa: ANN401 - numpy's
        """Return it in another unit."""
        ...


Day: TypeAlias = date | NumpyTime | str
"""A day: a date, a time of that day (datetime, pandas.Timestamp, numpy.datetime64), a text."""


class ConfigOptions(TypedDict, total=False):
    """Name the keywords of `Client.optimize` that say what to optimize; it explains them."""

    symbols: Required[str | Iterable[str]]
    parameters: Mapping[str, ParameterValues]
    constraints: str | Iterable[str]
    requirements: str | Iterable[str]
    start_date: Day | None
    end_date: Day | None
    optimization_target: str | None
    minimize: bool | None
    maximize: bool | None
    backtest_timeout: Span | None
    starting_cash: SupportsFloat | None
    commission: SupportsFloat | None
    slippage: SupportsFloat | None
    max_ranked_results: SupportsIndex | None
    warm_up_bar_count: SupportsIndex | None
    seed: SupportsIndex | None
    timezone: str | None


class RunOptions(TypedDict, total=False):
    """Name the keywords of `Client.optimize` that say how an optimization runs.

    Attributes:
        labels: What you call it, such as `{"desk": "rates", "run": "42"}`: at most 16, keys of at
            most 64 and values of at most 256 characters. They come back in its first and last event
            and stand in the server's log.
        progress_interval: Outcomes that complete within this span share one `Progress`; none is
            dropped. Default: None, one `Progress` per backtest; 0.1 is much faster for large grids
            of short backtests.
        optimization_id: Your name for it: 1 to 64 letters, digits, "-", "_" and ".". One that the
            server knows, with the same config, attaches to that optimization, whatever its state;
            an INTERRUPTED one goes on. Default: one that the client makes.
        detached: Whether it goes on without a client, whatever becomes of this one. Default: False.
        abandon_grace: How long it goes on after its client was lost; at most a day. What leaves on
            purpose does not wait for it. Default: 10 s.
        reuse: Whether outcomes of combinations that an earlier optimization ran with the same
            inputs are taken from there, instead of running them again. Default: False.
        resume_from: The id of a CANCELLED, FAILED or INTERRUPTED optimization with the same config
            whose outcomes are taken over; what is missing runs. Default: none.
    """

    labels: Mapping[str, str] | None
    progress_interval: Span | None
    optimization_id: str | None
    detached: bool | None
    abandon_grace: Span | None
    reuse: bool | None
    resume_from: str | None


class OptimizeOptions(ConfigOptions, RunOptions, total=False):
    """Name the keywords of `Client.optimize`; it explains them."""


class OptimizationDirection(StrEnum):
    """Say which end of the optimization target is best."""

    MAXIMIZE = "MAXIMIZE"
    MINIMIZE = "MINIMIZE"
    BEST = "BEST"
    """The one that the metric declares as its better end; what runs has one of the others."""


@dataclass(frozen=True, slots=True)
class OptimizationConfig:
    """Say what the server runs: the request with every default filled in.

    Attributes:
        strategy: The strategy's id.
        symbols: The instruments, each an equal share of the starting cash.
        start_date: First day, included; None where the engine loads its own data.
        end_date: Last day, included; None where the engine loads its own data.
        parameters: The axes of the grid, in grid order: the last varies fastest.
        constraints: SQL boolean expressions that every combination fulfils.
        optimization_target: The metric to rank by.
        direction: Which end of the target is best: as asked for, or as the metric declares.
        backtest_timeout: How long one backtest may run.
        starting_cash: The account at the start, in the prices' currency.
        commission: Fraction of each fill's value, per side.
        slippage: Fraction of the price by which each fill is worse, per side.
        max_ranked_results: Limit of the ranking; 0 is every result.
        warm_up_bar_count: Bars before the first day that indicators may use.
        seed: What random numbers in backtests follow from, with each one's parameter values.
        timezone: IANA name of the zone of the dates, and of times in price files that have none;
            empty where the engine loads its own data and nobody has said one.
        requirements: SQL boolean expressions over metrics; only results that fulfil all are ranked.
    """

    strategy: str
    symbols: tuple[str, ...]
    start_date: date | None
    end_date: date | None
    parameters: Mapping[str, GridValues]
    constraints: tuple[str, ...]
    optimization_target: str
    direction: OptimizationDirection
    backtest_timeout: timedelta
    starting_cash: float
    commission: float
    slippage: float
    max_ranked_results: int
    warm_up_bar_count: int = 0
    seed: int = 0
    timezone: str = ""
    requirements: tuple[str, ...] = ()

    def as_options(self) -> ConfigOptions:
        """Return the keywords of `Client.optimize` for the same config."""
        names = ConfigOptions.__annotations__.keys() - {"minimize", "maximize"}
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        options["minimize"] = self.direction is OptimizationDirection.MINIMIZE
        options["maximize"] = self.direction is OptimizationDirection.MAXIMIZE
        return cast(ConfigOptions, options)
