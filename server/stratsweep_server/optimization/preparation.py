"""Prepare a config to run: validate it, count the grid, load its bars, fill in every default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import prod

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import EngineDescription, Metric, OptimizationDirection
from stratsweep_server.backtest.settings import settings_of
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.grid import GridColumns, ParameterAxis
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.market_data.bars import (
    UTC,
    Bars,
    combined_time,
    date_of,
    periods_per_year,
)
from stratsweep_server.market_data.daily_bars import aligned_by_date
from stratsweep_server.market_data.data_directory import DataDirectory, SymbolCoverage, coverage_of
from stratsweep_server.market_data.errors import MarketDataError, NoBarsError, UnknownSymbolError
from stratsweep_server.optimization.background import checkpoint, in_background
from stratsweep_server.optimization.conditions import InvalidConditionError
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.constraints import accepted_indices
from stratsweep_server.optimization.limits import MAX_SYMBOLS, MAX_VIOLATIONS
from stratsweep_server.optimization.memory import (
    UNDECLARED_METRICS,
    MemoryAccount,
    MemoryExhaustedError,
    optimization_bytes,
    preparation_bytes,
    unlimited_memory,
)
from stratsweep_server.optimization.validation import (
    InvalidConfigError,
    Violation,
    ViolationKind,
    ends_before_it_starts,
    expand_axes,
    find_violations,
    unnamed_defaults,
)


@dataclass(frozen=True, slots=True)
class MarketDataSummary:
    """Summarize the bars that every backtest of an optimization trades on, without the warm-up.

    Attributes:
        bar_count: Distinct bar times over all symbols.
        first_time: Nanoseconds since 1970-01-01 UTC.
        last_time: Nanoseconds since 1970-01-01 UTC.
        periods_per_year: Bars in a year of 365.25 days at their own spacing.
        timezone: IANA name of the zone whose days the bars are of; UTC where all are dates.
        first_date: The day of the first bar.
        last_date: The day of the last bar.
        symbols: The same bars by symbol, in the order of the config.
    """

    bar_count: int
    first_time: int
    last_time: int
    periods_per_year: float
    timezone: str
    first_date: date
    last_date: date
    symbols: tuple[SymbolCoverage, ...]


@dataclass(frozen=True, slots=True)
class PreparedOptimization:
    """Hold an optimization that can run.

    Attributes:
        config: The effective config: defaults and dates filled in.
        plan: What its backtests have in common; without bars.
        grid: The values of its parameters, for rows of results.
        indices: int64, the combinations to run, ascending.
        metric_count: Different metrics that its backtests are expected to report.
        memory_bytes: What it takes until its call ends, if they report no others and none fails.
        bars: The bars of each symbol, warm-up included; empty when the engine loads its own.
        summary: Of the bars; None without.
        metrics: What the engine declares that its backtests report.
        generation: The code against which it was validated, and on which it runs; None: whatever is
            current when it starts.
    """

    config: OptimizationConfig
    plan: BacktestPlan
    grid: GridColumns
    indices: NDArray[np.int64]
    metric_count: int
    memory_bytes: int
    bars: tuple[Bars, ...] = ()
    summary: MarketDataSummary | None = None
    metrics: tuple[Metric, ...] = ()
    generation: Generation | None = None

    @property
    def total_count(self) -> int:
        """Return the number of combinations to run."""
        return len(self.indices)

    @property
    def rejected_count(self) -> int:
        """Return the number of grid points that a constraint rejected."""
        return self.plan.grid_size - len(self.indices)


async def prepare(
    config: OptimizationConfig,
    engine: EngineDescription,
    data: DataDirectory | None,
    *,
    max_combinations: int,
    known_violations: Sequence[Violation] = (),
    memory: MemoryAccount | None = None,
) -> PreparedOptimization:
    """Validate a config and load what it needs, in the background.

    Cancelled, it ends at once for the caller, and soon in its thread.

    Args:
        config: What the caller wants.
        engine: What the engine declares.
        data: Where the bars are; needed when the engine uses market data.
        max_combinations: The largest grid allowed.
        known_violations: Found while the config was read.
        memory: Holds in the end what the optimization takes; default: nobody counts.

    Raises:
        InvalidConfigError: With every violation, up to `MAX_VIOLATIONS`.
        MemoryExhaustedError: There is no room for it now.
    """
    memory = memory or unlimited_memory()
    checked = await in_background(_check, config, engine, data, max_combinations)
    violations = [*known_violations, *checked.violations]
    indices = np.empty(0, dtype=np.int64)
    if not any(each.field.startswith(("parameters", "constraints")) for each in violations):
        _hold(memory, checked.selection_bytes, violations)
        indices, grid_violations = await in_background(_select, checked.axes, config.constraints)
        violations += grid_violations
    if violations:
        raise InvalidConfigError(violations[:MAX_VIOLATIONS])
    prepared = await in_background(_assemble, config, engine, checked, indices)
    _hold(memory, prepared.memory_bytes, [])
    return prepared


def readable(config: OptimizationConfig) -> PreparedOptimization:
    """Return what it takes to read the outcomes of an effective config, without anything to run."""
    axes = expand_axes(config)
    plan = BacktestPlan(config.strategy, axes, tuple(config.symbols), **settings_of(config))
    nothing = np.empty(0, dtype=np.int64)
    return PreparedOptimization(config, plan, GridColumns(axes, object), nothing, 0, 0)


def _hold(memory: MemoryAccount, byte_count: int, violations: Sequence[Violation]) -> None:
    """Hold as much memory; add a violation where the grid is too large for this server."""
    try:
        memory.resize(byte_count)
    except MemoryExhaustedError as error:
        if error.can_fit:
            raise
        violations = [*violations[: MAX_VIOLATIONS - 1], Violation("parameters", str(error))]
        raise InvalidConfigError(violations) from error


@dataclass(frozen=True, slots=True)
class _Checked:
    """Hold a config that was looked at.

    Attributes:
        violations: What is wrong with it.
        bars: Of its symbols.
        axes: Of its grid, unless there is something wrong with that.
        selection_bytes: Memory that it takes to select the combinations to run.
        timezone: The zone of its dates; empty where nobody has said one.
    """

    violations: Sequence[Violation]
    bars: tuple[Bars, ...] = ()
    axes: tuple[ParameterAxis, ...] = ()
    selection_bytes: int = 0
    timezone: str = ""


def _check(
    config: OptimizationConfig,
    engine: EngineDescription,
    data: DataDirectory | None,
    max_combinations: int,
) -> _Checked:
    violations = find_violations(config, engine, max_combinations)
    bars: tuple[Bars, ...] = ()
    timezone = "" if any(each.field == "timezone" for each in violations) else config.timezone
    if engine.uses_market_data and len(config.symbols) <= MAX_SYMBOLS:
        try:
            of_folder = data.timezone() if data is not None else UTC
            timezone = timezone or of_folder
            bars, data_violations = _load_bars(config, data, timezone)
        except MarketDataError as error:  # of the folder, not of a symbol
            data_violations = [Violation("symbols", str(error))]
        violations += data_violations
    if any(each.field.startswith(("parameters", "constraints")) for each in violations):
        return _Checked(violations, bars)
    axes = expand_axes(config)
    return _Checked(violations, bars, axes, preparation_bytes(axes), timezone)


def _load_bars(
    config: OptimizationConfig, data: DataDirectory | None, timezone: str
) -> tuple[tuple[Bars, ...], list[Violation]]:
    loaded: list[Bars] = []
    violations: list[Violation] = []
    for number, symbol in enumerate(config.symbols):
        checkpoint()
        if len(violations) == MAX_VIOLATIONS:
            break
        field = f"symbols[{number}]"
        if not symbol:
            continue  # reported already
        if data is None:
            violations.append(Violation(field, "there is no data directory to load bars from"))
            continue
        try:
            days = config.start_date, config.end_date
            loaded.append(data.load(symbol, *days, config.warm_up_bar_count, timezone))
        except NoBarsError as error:
            if not ends_before_it_starts(config):  # which is reported already
                violations.append(Violation(field, str(error)))
        except UnknownSymbolError as error:
            violations.append(Violation(field, str(error), ViolationKind.UNKNOWN_SYMBOL))
        except MarketDataError as error:
            violations.append(Violation(field, str(error)))
    bars = aligned_by_date(loaded)
    if data and not violations and bars and len(combined_time(_traded(bars))) < 2:
        violations += _too_few_bars(config.symbols, data, timezone)
    return bars, violations


def _too_few_bars(symbols: Sequence[str], data: DataDirectory, timezone: str) -> list[Violation]:
    """Blame the symbols for a single bar where they have no other, and else the dates."""
    try:
        whole = aligned_by_date([data.load(symbol, timezone=timezone) for symbol in symbols])
    except MarketDataError as error:  # it has changed since
        return [Violation("symbols", str(error))]
    if len(combined_time(whole)) > 1:
        return [Violation("date_range", "has a single bar; a backtest needs two")]
    return [
        Violation(
            f"symbols[{number}]",
            f"{bars.symbol} has a single bar, of {date_of(bars.time[0], bars.timezone)}; "
            "a backtest needs two",
        )
        for number, bars in enumerate(whole)
    ]


def _select(
    axes: Sequence[ParameterAxis], constraints: Sequence[str]
) -> tuple[NDArray[np.int64], list[Violation]]:
    """Return the combinations that the constraints accept, and what is wrong with those."""
    try:
        indices = accepted_indices(axes, constraints)
    except InvalidConditionError as error:
        return np.empty(0, dtype=np.int64), [Violation("constraints", str(error))]
    if len(indices) == 0:
        size = prod(len(axis.values) for axis in axes)
        what = f"all {size:,} combinations" if size > 1 else "the only combination"
        reason = f"reject {what}; loosen one of them"
        return indices, [Violation("constraints", reason)]
    return indices, []


def _assemble(
    config: OptimizationConfig,
    engine: EngineDescription,
    checked: _Checked,
    indices: NDArray[np.int64],
) -> PreparedOptimization:
    bars, axes = checked.bars, checked.axes
    config = replace(
        config, timezone=checked.timezone, direction=_resolved_direction(config, engine)
    )
    summary = _summarize(bars) if bars else None
    if summary is not None:
        config = replace(
            config,
            start_date=config.start_date or summary.first_date,
            end_date=config.end_date or summary.last_date,
        )
    plan = BacktestPlan(
        strategy=config.strategy,
        axes=axes,
        symbols=tuple(config.symbols),
        start_date=config.start_date,
        end_date=config.end_date,
        timezone=config.timezone,
        seed=config.seed,
        defaults=unnamed_defaults(config, engine),
        **settings_of(config),
    )
    metric_count = len(engine.metrics) or UNDECLARED_METRICS
    bar_count = sum(map(len, bars))
    memory_bytes = optimization_bytes(axes, len(indices), metric_count, bar_count)
    grid = GridColumns(axes, object)
    return PreparedOptimization(
        config, plan, grid, indices, metric_count, memory_bytes, bars, summary, engine.metrics
    )


def _resolved_direction(
    config: OptimizationConfig, engine: EngineDescription
) -> OptimizationDirection:
    """Return which end of the target is best: as asked for, or as the metric declares."""
    if config.direction is not OptimizationDirection.BEST:
        return config.direction
    declared = {each.name: each.best_direction for each in engine.metrics}
    return declared.get(config.optimization_target) or OptimizationDirection.MAXIMIZE


def _traded(bars: Sequence[Bars]) -> list[Bars]:
    """The bars after the warm-up."""
    return [each.after_warm_up() for each in bars]


def _summarize(bars: Sequence[Bars]) -> MarketDataSummary:
    traded = _traded(bars)
    time = combined_time(traded)
    return MarketDataSummary(
        bar_count=len(time),
        first_time=int(time[0]),
        last_time=int(time[-1]),
        periods_per_year=periods_per_year(time),
        timezone=next((each.timezone for each in bars if each.timezone != UTC), UTC),
        first_date=min(date_of(each.time[0], each.timezone) for each in traded),
        last_date=max(date_of(each.time[-1], each.timezone) for each in traded),
        symbols=tuple(map(coverage_of, traded)),
    )
