"""A result as a notebook shows it: a line on what was optimized, and the best rows as a table."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from stratsweep._ranking_columns import RankingColumn, ranking_columns
from stratsweep._ranking_words import order_of, shortfalls
from stratsweep.events import OptimizationResult

_ROWS = 20


def result_html(result: OptimizationResult) -> str:
    """Return a fragment of HTML."""
    columns = ranking_columns(result, _ROWS)
    row_count = len(columns[0].cells)
    text = (
        f"{result.config.strategy} on {', '.join(result.config.symbols)}{_dates(result)}: "
        f"{row_count:,} of {result.succeeded_count:,} results, {result.failed_count:,} failed"
    )
    text = ", ".join([text, *shortfalls(result), order_of(result)])
    if result.message:
        text += f"; nothing could be ranked: {result.message}"
    paragraph = f"<p>{escape(text)}</p>"
    return f"<div>{paragraph}{_table(columns) if row_count else ''}</div>"


def _dates(result: OptimizationResult) -> str:
    data = result.market_data
    if data is None:
        return ""
    return f", {data.first_bar_time.date()} to {data.last_bar_time.date()}"


def _table(columns: Iterable[RankingColumn]) -> str:
    heading = _row("th", [each.name for each in columns])
    rows = zip(*(each.cells for each in columns), strict=True)
    body = "".join(_row("td", cells) for cells in rows)
    return f"<table><thead>{heading}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, cells: Iterable[str]) -> str:
    style = ' style="text-align: right"'
    return f"<tr>{''.join(f'<{tag}{style}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
