"""The ranking on standard output: a table that fits the terminal, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stratsweep._ranking_columns import RankingColumn, ranking_columns, summary_columns
from stratsweep._ranking_words import order_of, shortfalls, why_without_target
from stratsweep._rows import names_of
from stratsweep.cli.formatting import counted, format_span, in_lines, listed, wrapped
from stratsweep.cli.tables import console_of_output, rendered
from stratsweep.events import OptimizationResult, SymbolResult


def ranking_table(
    result: OptimizationResult, row_count: int, metric_names: Sequence[str] = ()
) -> str:
    """Return the best rows as a table: parameters, and as many metrics as fit.

    Rank, parameters, target and drawdown are never left out, and no cell is cut.

    Args:
        result: What was ranked.
        row_count: How many rows, as far as there are so many.
        metric_names: The metrics wanted; default: the target and the usual ones.
    """
    columns = ranking_columns(result, row_count, metric_names)
    console = console_of_output()
    terminal_width = console.width
    table, hidden = fitted_table(columns, console)
    row_count = len(columns[0].cells)
    lines = in_lines(_counts_and_order(result, row_count), terminal_width).split("\n")
    if result.without_target_count:
        lines.append(why_without_target(result))
    if hidden:
        lines.append(f"not shown in {terminal_width} columns: {listed(hidden)}")
    below = "\n".join(wrapped(line, terminal_width) for line in lines)
    return f"{rendered(console, table)}\n{below}\n"


def summary_table(ends: Sequence[SymbolResult]) -> str:
    """Return a row for each symbol that was optimized alone: what is best, and its figures."""
    console = console_of_output()
    table, _ = fitted_table(summary_columns(ends), console)
    return rendered(console, table)


def next_step(
    result: OptimizationResult, metric_names: Sequence[str], written: Sequence[Path]
) -> str:
    """Return one line on where to find the rows and metrics that a table does not show.

    Args:
        result: What was ranked.
        metric_names: The metrics that were wanted; empty for the usual ones.
        written: The files that it was written to.
    """
    files = ", ".join(map(str, written))
    parts = [f"written: {files}" if files else "all rows in a file: --output results.csv"]
    shown = {each.name for each in ranking_columns(result, 1, metric_names)}
    declared = [each.name for each in result.metrics] or sorted(
        names_of(row.metrics for row in result.ranked[:1])
    )
    others = [name for name in declared if name not in shown]
    if others:
        parts.append(f"other metrics: --columns {others[0]}{',…' if others[1:] else ''}")
    console = Console(stderr=True)
    return in_lines(parts, console.width if console.is_terminal else None)


def fitted_table(columns: Sequence[RankingColumn], console: Console) -> tuple[Table, list[str]]:
    """Return a table of the columns that fit, and the names of those that do not.

    Where there is no room for all, headings are broken at underscores, then columns that are not
    needed are left out, the last ones first. What is needed may be wider than the terminal, which
    then wraps its lines: a figure that was cut or folded would be another figure.
    """
    shown = list(columns)
    hidden: list[str] = []
    is_narrow = _width(shown, is_narrow=False) > console.width
    while is_narrow and _width(shown, is_narrow=True) > console.width:
        dispensable = [each for each in shown if not each.is_needed]
        if not dispensable:
            break
        shown.remove(dispensable[-1])
        hidden.insert(0, dispensable[-1].name)
    console.width = max(console.width, _width(shown, is_narrow=is_narrow))
    table = Table(box=box.SIMPLE_HEAD)
    for column in shown:
        table.add_column(
            escape("\n".join(_heading(column.name, is_narrow=is_narrow))),
            justify="left" if column.is_text else "right",
            no_wrap=True,
            style="bold" if column.is_parameter else "",
        )
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(escape, cells))
    return table, hidden


def _heading(name: str, *, is_narrow: bool) -> list[str]:
    """Return the lines of a heading, broken behind its underscores where there is little room."""
    return name.replace("_", "_\n").strip("\n").split("\n") if is_narrow else [name]


def _width(columns: Sequence[RankingColumn], *, is_narrow: bool) -> int:
    """How wide rich draws a table: to have it measured takes as long as to have it drawn."""
    between = 3  # a space on each side of a cell, and one of the box
    return 1 + sum(
        max(map(cell_len, [*_heading(each.name, is_narrow=is_narrow), *each.cells])) + between
        for each in columns
    )


def _counts_and_order(result: OptimizationResult, row_count: int) -> list[str]:
    parts = [
        f"{row_count:,} of {counted(result.succeeded_count, 'result')}",
        f"{result.failed_count:,} failed",
        *shortfalls(result),
        f"in {format_span(result.execution_duration)}",
    ]
    return [", ".join(parts), order_of(result)]
