"""A ranking as a person reads it: which columns there are, and the text of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stratsweep._formatting import ABSENT, format_figures, format_parameters, format_value
from stratsweep._rows import names_of
from stratsweep.events import OptimizationResult, SymbolResult
from stratsweep.outcomes import ParameterResult
from stratsweep.strategies import Metric

_HEADLINE_METRICS = (
    "sharpe_ratio",
    "total_return",
    "cagr",
    "max_drawdown",
    "trade_count",
    "win_rate",
)
_RISK = "max_drawdown"
_TRADES = "trade_count"


@dataclass(frozen=True, slots=True)
class RankingColumn:
    """One column.

    Attributes:
        name: Its heading.
        cells: A text for each row.
        is_parameter: Whether it has values of a parameter.
        is_text: Whether its cells begin on the left.
        is_needed: Whether it is to be shown where there is no room for all.
    """

    name: str
    cells: Sequence[str]
    is_parameter: bool = False
    is_text: bool = False
    is_needed: bool = True


def ranking_columns(
    result: OptimizationResult, row_count: int, metric_names: Sequence[str] = ()
) -> list[RankingColumn]:
    """Return rank, parameters and metrics of the best rows.

    Args:
        result: What was ranked.
        row_count: How many rows, as far as there are so many.
        metric_names: The metrics wanted, in this order; default: the target, and those that people
            look at first, or else all that there are.
    """
    rows = list(result.ranked[:row_count])
    target = result.config.optimization_target
    columns = [RankingColumn("rank", [str(row.rank) for row in rows])]
    for name in names_of(row.parameters for row in rows):
        values = [row.parameters.get(name) for row in rows]
        cells = ["" if value is None else format_value(value) for value in values]
        columns.append(RankingColumn(name, cells, is_parameter=True))
    for name in metric_names or _usual_metrics(rows, target):
        unit = metric_named(name, result.metrics).unit
        figures = format_figures([row.metrics.get(name) for row in rows], unit)
        columns.append(RankingColumn(name, figures, is_needed=name in (target, _RISK)))
    return columns


def summary_columns(ends: Sequence[SymbolResult]) -> list[RankingColumn]:
    """Return what is best for each symbol: parameters, target, drawdown, trades, and failures."""
    results = [end.result for end in ends]
    columns = [
        RankingColumn("symbol", [end.symbol for end in ends], is_text=True),
        RankingColumn(
            "best", list(map(_best_parameters, results)), is_text=True, is_parameter=True
        ),
    ]
    bests = [None if result is None else result.best for result in results]
    targets = [result.config.optimization_target for result in results if result is not None]
    for name in dict.fromkeys([*targets[:1], _RISK, _TRADES]):
        values = [None if best is None else best.metrics.get(name) for best in bests]
        if any(value is not None for value in values):
            declared = next((each.metrics for each in results if each is not None), ())
            figures = format_figures(values, metric_named(name, declared).unit)
            columns.append(RankingColumn(name, figures, is_needed=name != _TRADES))
    failed = [ABSENT if each is None else f"{each.failed_count:,}" for each in results]
    return [*columns, RankingColumn("failed", failed, is_needed=False)]


def _best_parameters(result: OptimizationResult | None) -> str:
    if result is None:
        return "refused"
    if result.best is None:
        return "nothing ranked"
    return format_parameters(result.best.parameters) or "defaults"


def metric_named(name: str, metrics: Sequence[Metric]) -> Metric:
    """Return a metric by name; one without a unit where none of that name is declared."""
    return next((each for each in metrics if each.name == name), Metric(name, ""))


def _usual_metrics(rows: Sequence[ParameterResult], target: str) -> list[str]:
    present = names_of(row.metrics for row in rows)
    headline = [name for name in _HEADLINE_METRICS if name in present]
    return [target, *(name for name in headline or sorted(present) if name != target)]
