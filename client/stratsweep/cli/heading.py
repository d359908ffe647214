"""What is about to run, on what: the lines above an optimization's progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from stratsweep._formatting import format_figure
from stratsweep._ranking_columns import metric_named
from stratsweep._ranking_words import shortfalls
from stratsweep.cli.formatting import counted, format_amount, in_lines, listed, wrapped
from stratsweep.config import OptimizationConfig
from stratsweep.events import (
    MarketDataSummary,
    OptimizationResult,
    OptimizationStarted,
    SymbolResult,
)
from stratsweep.strategies import Symbol

_FEW_DAYS = timedelta(days=7)
"""No market is closed for longer: what differs by less begins or ends on the same occasion."""
_SHARES = {2: "half", 3: "a third", 4: "a quarter"}


def describe_started(started: OptimizationStarted, width: int | None = None) -> str:
    """Return what runs, on which bars, with which account, and how many; then what to know of it.

    Args:
        started: The optimization.
        width: Of the terminal; None keeps the description in one line.
    """
    remarks = [wrapped(remark, width) for remark in _remarks(started)]
    return "\n".join([in_lines(_parts(started), width), *remarks])


def describe_each(
    started: OptimizationStarted, symbols: Sequence[str], width: int | None = None
) -> str:
    """Return what the optimizations of several symbols, each alone, have in common.

    Args:
        started: One of them.
        symbols: All symbols.
        width: Of the terminal; None keeps the description in one line.
    """
    head = f"{started.config.strategy} on each of {counted(len(symbols), 'symbol')} alone"
    return in_lines([f"{head}: {listed(symbols)}", *_account_and_counts(started)], width)


def describe_end(end: SymbolResult, width: int | None = None) -> str:
    """Return a line on how the optimization of a symbol ended, then what to know of its dates."""
    result = end.result
    if result is None:
        return f"{end.symbol} · refused"
    dates = _dates(result.config, result.market_data)
    parts = [f"{end.symbol}{', ' if dates else ''}{dates}"]
    if result.market_data is not None:
        parts.append(counted(result.market_data.bar_count, "bar"))
    if result.failed_count:
        parts.append(f"{result.failed_count:,} failed")
    parts += shortfalls(result)
    parts.append(_best(result))
    notes = [wrapped(note, width) for note in _beyond_bars(result.config, result.market_data)]
    return "\n".join([in_lines(parts, width), *notes])


def _best(result: OptimizationResult) -> str:
    if result.best is None:
        return "nothing ranked"
    target = metric_named(result.config.optimization_target, result.metrics)
    figure = format_figure(result.best.metrics[target.name], target.unit)
    return f"best {target.name} {figure}"


def _parts(started: OptimizationStarted) -> Iterator[str]:
    config, data = started.config, started.market_data
    dates = _dates(config, data)
    yield f"{config.strategy} on {listed(config.symbols)}{', ' if dates else ''}{dates}"
    if data is not None:
        yield counted(data.bar_count, "bar")
    yield from _account_and_counts(started)


def _account_and_counts(started: OptimizationStarted) -> Iterator[str]:
    config = started.config
    yield f"cash {format_amount(config.starting_cash)}"
    yield _costs(config)
    rejected = started.rejected_count
    combinations = counted(started.total_count, "combination")
    yield (
        f"{combinations} ({rejected:,} more rejected by constraints)" if rejected else combinations
    )
    if started.reused_count:
        yield f"{started.reused_count:,} taken over from earlier ones"
    yield counted(started.worker_count, "worker")


def _dates(config: OptimizationConfig, data: MarketDataSummary | None) -> str:
    if data is not None:
        return f"{data.first_bar_time.date()} to {data.last_bar_time.date()}"
    if config.start_date is not None and config.end_date is not None:
        return f"{config.start_date} to {config.end_date}"
    return ""


def _costs(config: OptimizationConfig) -> str:
    costs = [
        f"{name} {100 * fraction:.12g}%"
        for name, fraction in (("commission", config.commission), ("slippage", config.slippage))
        if fraction
    ]
    return ", ".join(costs) or "no costs"


def _remarks(started: OptimizationStarted) -> Iterator[str]:
    data, config = started.market_data, started.config
    if data is not None and len(config.symbols) > 1:
        share = _SHARES.get(len(config.symbols), f"1/{len(config.symbols):,}")
        yield (
            f"one portfolio of {len(config.symbols):,} symbols, {share} of the cash each; "
            "--each-symbol runs each alone"
        )
        yield from _sleeves(data)
    yield from _beyond_bars(config, data)


def _beyond_bars(config: OptimizationConfig, data: MarketDataSummary | None) -> Iterator[str]:
    """Say where the dates asked for reach beyond the bars by more than a few days."""
    if data is None:
        return
    first, last = data.first_bar_time.date(), data.last_bar_time.date()
    if config.start_date is not None and first - config.start_date > _FEW_DAYS:
        yield f"note: the bars begin on {first}, after --from {config.start_date}"
    if config.end_date is not None and config.end_date - last > _FEW_DAYS:
        yield f"note: the bars end on {last}, before --to {config.end_date}"


def _sleeves(data: MarketDataSummary) -> Iterator[str]:
    """Say which symbols' bars begin later, or end earlier, than others' by more than a few days."""
    late = [each for each in data.symbols if _exceeds(each.first_bar_time, data.first_bar_time)]
    early = [each for each in data.symbols if _exceeds(data.last_bar_time, each.last_bar_time)]
    if late:
        begins = [_on(each, each.first_bar_time) for each in late]
        yield f"note: bars that begin later: {listed(begins)}"
    if early:
        ends = [_on(each, each.last_bar_time) for each in early]
        yield f"note: bars that end earlier: {listed(ends)}"


def _exceeds(later: datetime | None, earlier: datetime | None) -> bool:
    return later is not None and earlier is not None and later - earlier > _FEW_DAYS


def _on(symbol: Symbol, time: datetime | None) -> str:
    return f"{symbol.name} on {time.date()}" if time else symbol.name
