"""What a person reads on standard output beside the ranking: the failures, the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stratsweep._formatting import format_parameters
from stratsweep.cli.formatting import counted
from stratsweep.cli.strategy_texts import bounds_text, default_text
from stratsweep.outcomes import BacktestFailure
from stratsweep.strategies import Strategy, StrategyList, StrategyParameter

_WIDE = 100_000
_BOX = box.SIMPLE_HEAD
_DIGEST_DIGITS = 12


def failure_summary(failures: Sequence[BacktestFailure], group_count: int = 5) -> str:
    """Return the failures grouped by kind and message, the most frequent first."""
    groups: dict[tuple[str, str], list[BacktestFailure]] = {}
    for failure in failures:
        groups.setdefault((failure.kind, failure.message), []).append(failure)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    lines = [f"{counted(len(failures), 'combination')} failed:"]
    for (kind, message), members in ordered[:group_count]:
        example = format_parameters(members[0].parameters)
        lines.append(f"  {len(members):,} x {kind}: {message} (for instance {example})")
    hidden = sum(len(members) for _, members in ordered[group_count:])
    if hidden:
        lines.append(f"  {hidden:,} more with other messages")
    return "\n".join(lines)


def catalogue_tables(catalogue: StrategyList) -> str:
    """Return strategies with their parameters, their sources, metrics, symbols with their dates."""
    tables = [
        _strategies(catalogue),
        _sources(catalogue),
        _metrics(catalogue),
        _symbols(catalogue),
    ]
    texts = [rendered(console_of_output(), table) for table in tables if table.row_count]
    if catalogue.accepts_any_strategy:
        texts.append(
            "The engine declares nothing: it is given any strategy, parameters, symbols.\n"
        )
    elif not catalogue.symbols:
        texts.append(
            "There are no symbols: the data directory has no price file such as SYMBOL.csv or "
            "SYMBOL.parquet, or the engine loads its own data.\n"
        )
    return "\n".join(texts)


def strategy_page(catalogue: StrategyList, strategy: Strategy, command: str) -> str:
    """Return one strategy: what it does, its parameters, where it is from, and a command."""
    table = Table("parameter", "type", "default", "bounds", "description", box=_BOX)
    for parameter in strategy.parameters:
        table.add_row(*map(escape, _parameter_cells(parameter)))
    return "\n".join(
        [
            strategy.name,
            *([strategy.description] if strategy.description else []),
            "",
            rendered(console_of_output(), table)
            if strategy.parameters
            else "It has no parameters.\n",
            _origin(catalogue, strategy),
            f"\nExample:\n  {command}\n",
        ]
    )


def _origin(catalogue: StrategyList, strategy: Strategy) -> str:
    for source in catalogue.sources:
        if source.module == strategy.source:
            stale = (
                "; it has changed since: SIGHUP or a restart loads it" if source.is_stale else ""
            )
            return (
                f"From {source.file}, module {source.module}, "
                f"loaded {source.load_time:%Y-%m-%d %H:%M:%S} UTC{stale}."
            )
    return "It comes with the engine."


def _strategies(catalogue: StrategyList) -> Table:
    table = Table("strategy", "parameter", "type", "default", "bounds", "description", box=_BOX)
    for strategy in catalogue.strategies:
        table.add_row(
            f"[bold]{escape(strategy.name)}[/]", "", "", "", "", escape(strategy.description)
        )
        for parameter in strategy.parameters:
            table.add_row("", *map(escape, _parameter_cells(parameter)))
    return table


def _parameter_cells(parameter: StrategyParameter) -> list[str]:
    return [
        parameter.name,
        parameter.type.lower(),
        default_text(parameter),
        bounds_text(parameter),
        parameter.description,
    ]


def _sources(catalogue: StrategyList) -> Table:
    table = Table("source", "strategies", "loaded", "modified", "sha256", "", box=_BOX)
    for source in catalogue.sources:
        names = [each.name for each in catalogue.strategies if each.source == source.module]
        table.add_row(
            escape(source.file),
            escape(", ".join(names)),
            f"{source.load_time:%Y-%m-%d %H:%M:%S}",
            f"{source.modification_time:%Y-%m-%d %H:%M:%S}",
            source.digest[:_DIGEST_DIGITS],
            "has changed since: SIGHUP or a restart loads it" if source.is_stale else "",
        )
    return table


def _metrics(catalogue: StrategyList) -> Table:
    table = Table("metric", "description", box=_BOX)
    for metric in catalogue.metrics:
        table.add_row(escape(metric.name), escape(metric.description))
    return table


def _symbols(catalogue: StrategyList) -> Table:
    zones = [_zone(symbol.first_bar_time) for symbol in catalogue.symbols]
    table = Table("symbol", "bars", "first", "last", *["zone"] * any(zones), "", box=_BOX)
    for symbol, zone in zip(catalogue.symbols, zones, strict=True):
        first, last = (
            "" if time is None else f"{time:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
            for time in (symbol.first_bar_time, symbol.last_bar_time)
        )
        remarks = symbol.error or "; ".join(symbol.notes)
        cells = [symbol.name, f"{symbol.bar_count:,}", first, last, *[zone] * any(zones), remarks]
        table.add_row(*map(escape, cells))
    return table


def _zone(time: datetime | None) -> str:
    """Return the name of a time's zone, unless that is UTC."""
    return "" if time is None or time.tzinfo is UTC else str(time.tzinfo)


def console_of_output() -> Console:
    """Return a console as wide as the terminal; without one nothing is cut off."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE)


def rendered(console: Console, table: Table) -> str:
    """Return a table as text, without spaces at the ends of lines."""
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n") + "\n"
