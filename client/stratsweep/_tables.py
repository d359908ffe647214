"""A ranking in columns: the one shape behind data frames, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stratsweep.results import ParameterResult


def result_columns(rows: Iterable[ParameterResult]) -> dict[str, list[Any]]:
    """Return the columns rank, combination_index, every parameter, every metric.

    A metric that a row does not have is None. A parameter or metric whose name is taken by a column
    before it is called `parameter_NAME` or `metric_NAME`.
    """
    ranked = list(rows)
    columns: dict[str, list[Any]] = {
        "rank": [row.rank for row in ranked],
        "combination_index": [row.combination_index for row in ranked],
    }
    for name in names_of(row.parameters for row in ranked):
        label = f"parameter_{name}" if name in columns else name
        columns[label] = [row.parameters.get(name) for row in ranked]
    for name in sorted(names_of(row.metrics for row in ranked)):
        label = f"metric_{name}" if name in columns else name
        columns[label] = [row.metrics.get(name) for row in ranked]
    return columns


def names_of(mappings: Iterable[Iterable[str]]) -> list[str]:
    """Return every key once, in the order of first appearance."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))
